# A GPU worker. torch's wheel includes the CUDA 13.0 libraries it was built with; the base image
# declares the driver that the container runtime requires (580 or newer).
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/infill
ENV PATH=/opt/infill/bin:$PATH
WORKDIR /src
# A separate layer, since dependencies change seldom and take gigabytes.
COPY deploy/requirements/worker.txt worker.txt
RUN pip install -r worker.txt
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY common common
COPY worker worker
COPY deploy deploy
COPY migrations migrations
RUN pip install --no-deps .

FROM nvidia/cuda:13.0.2-base-ubuntu24.04
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /models --shell /usr/sbin/nologin infill \
    && install -d -o 10001 -g 10001 /models
COPY --from=build /opt/infill /opt/infill
# Downloaded weights and stand-ins built here are kept in the volume at /models.
ENV PATH=/opt/infill/bin:$PATH PYTHONUNBUFFERED=1 PYTHONUTF8=1 \
    HOME=/models HF_HOME=/models/hub INFILL_MODELS_DIRECTORY=/models/built
WORKDIR /models
USER 10001:10001
VOLUME /models
EXPOSE 9100
CMD ["infill", "worker"]
