# Versity's S3 gateway over a folder, as an ordinary user: a new volume inherits the folder's owner.
FROM versity/versitygw:v1.8.0
RUN adduser -D -H -u 10001 infill \
    && mkdir /data \
    && chown 10001:10001 /data
USER 10001:10001
VOLUME /data
EXPOSE 7070
