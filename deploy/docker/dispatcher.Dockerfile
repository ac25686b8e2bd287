# The webhook dispatcher; one of them is elected to do maintenance too. No torch.
FROM python:3.12-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/infill
ENV PATH=/opt/infill/bin:$PATH
WORKDIR /src
# A separate layer, since dependencies change seldom.
COPY deploy/requirements/base.txt base.txt
RUN pip install -r base.txt
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY common common
COPY worker worker
COPY deploy deploy
COPY migrations migrations
RUN pip install --no-deps .

FROM python:3.12-slim-trixie
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin infill
COPY --from=build /opt/infill /opt/infill
ENV PATH=/opt/infill/bin:$PATH PYTHONUNBUFFERED=1 PYTHONUTF8=1
WORKDIR /
USER 10001:10001
EXPOSE 9100
CMD ["infill", "dispatcher"]
