"""Settings of the connections to Postgres, Redis and the object store."""

import re
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator

from common.settings.checks import BaseUrl, Endpoint
from common.settings.postgres_url import parse_postgres_url
from common.settings.section import Section, section_config

_HOST_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


class DatabaseSettings(Section):
    """Settings of the connections to Postgres, version 15 or newer."""

    model_config = section_config("INFILL_DATABASE_")

    url: SecretStr = Field(
        default=SecretStr("postgresql://infill@127.0.0.1:5432/infill"),
        description="URL of the Postgres database, `postgresql://user:password@host:port/name`, "
        "with the parameters of libpq, such as `?sslmode=verify-full&sslrootcert=system`.",
    )
    pool_size: PositiveInt = Field(
        default=10,
        description="Connections that one process keeps for its most frequent statements, and the "
        "maximum of a second pool for all others; a gateway uses one per running statement.",
    )
    connect_timeout_seconds: PositiveFloat = Field(
        default=5.0, description="Longest wait for a new connection or a free one of the pool."
    )
    statement_timeout_seconds: PositiveFloat = Field(
        default=10.0,
        description="Postgres cancels a statement that runs longer than this; migrations excepted.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        parse_postgres_url(url.get_secret_value())
        return url


class RedisSettings(Section):
    """Settings of Redis, version 6.2 or newer, which wakes processes but does not store jobs."""

    model_config = section_config("INFILL_REDIS_")

    url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="URL of the Redis database, `redis://[:password@]host:port/number`.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="File with CA certificates (PEM) for a `rediss://` URL, in addition to the "
        "system's; all processes verify the certificate and host name of Redis.",
    )
    timeout_seconds: PositiveFloat = Field(
        default=2.0,
        description="Longest wait for Redis; after that a ring is left to the sweeper, which "
        "repeats it.",
    )
    ring_limit: PositiveInt = Field(
        default=1000,
        description="Most rings in a queue's list; more add nothing, since each only says that "
        "there is work.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
            raise ValueError(
                "must begin with redis:// or rediss:// and a host, such as "
                "redis://127.0.0.1:6379/0; Sentinel and sockets are not supported"
            )
        if parts.query or parts.fragment:
            raise ValueError(
                "must have nothing after the number of the database; certificates are always "
                "verified, with the CAs in INFILL_REDIS_CA_FILE and those of the system"
            )
        return url

    @field_validator("ca_file")
    @classmethod
    def _check_ca_file(cls, file: Path | None) -> Path | None:
        if file is not None:
            try:
                ssl.create_default_context(cafile=file)
            except ssl.SSLError:
                raise ValueError("must contain PEM certificates") from None
            except OSError as error:
                raise ValueError(f"cannot be read: {error.strerror}") from None
        return file

    @property
    def tls_options(self) -> dict[str, Any]:
        """Options of redis-py and kombu that verify the certificate; empty for `redis://`."""
        if urlsplit(self.url.get_secret_value()).scheme != "rediss":
            return {}
        verified = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
        return verified if self.ca_file is None else {**verified, "ssl_ca_certs": str(self.ca_file)}


class StorageSettings(Section):
    """Settings of the S3-compatible object store: S3, R2, MinIO and others."""

    model_config = section_config("INFILL_S3_")

    endpoint_url: Endpoint | None = Field(
        default=None,
        description="Endpoint URL of the object store; empty means Amazon S3 in that region.",
    )
    region: str = Field(
        default="us-east-1", description="Region used in signatures; R2 requires `auto`."
    )
    bucket: str = Field(default="infill", description="Bucket for results and uploaded inputs.")
    addressing_style: Literal["path", "virtual"] = Field(
        default="path",
        description="Where requests and links have the bucket: in the path (`path`, which most "
        "stores serve) or in front of the endpoint's host name (`virtual`, which some require).",
    )
    access_key_id: str | None = Field(
        default=None,
        description="Access key id for the object store; empty means the credentials that boto3 "
        "finds: AWS_ACCESS_KEY_ID, a profile, the role of the container or machine.",
    )
    secret_access_key: SecretStr | None = Field(
        default=None,
        description="Secret access key for the object store, set together with the id.",
    )
    session_token: SecretStr | None = Field(
        default=None,
        description="Session token of a temporary access key; such a key is not renewed.",
    )
    public_base_url: BaseUrl | None = Field(
        default=None,
        description="Base URL under which objects are public (a CDN, r2.dev); "
        "empty means presigned links.",
    )
    presigned_endpoint_url: Endpoint | None = Field(
        default=None,
        description="Endpoint URL under which callers reach the object store, if it differs from "
        "ours, as in a container network; presigned links are signed for it.",
    )
    presigned_seconds: PositiveInt = Field(
        default=86_400,
        le=604_800,
        description="How long a presigned link is valid; S3 allows at most seven days. A link "
        "made with temporary credentials ends with them.",
    )
    cache_control: str = Field(
        default="public, max-age=31536000, immutable",
        description="Cache-Control header of results; caching forever is safe because an object "
        "key is never written twice.",
    )
    timeout_seconds: PositiveFloat = Field(
        default=30.0,
        description="Longest wait for a connection to the object store, and for each response.",
    )

    @property
    def fixed_keys(self) -> tuple[str, str] | None:
        """The access key id and its secret, or None if boto3 has to find credentials."""
        if self.access_key_id is None or self.secret_access_key is None:
            return None
        return self.access_key_id, self.secret_access_key.get_secret_value()

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError(
                "INFILL_S3_ACCESS_KEY_ID and INFILL_S3_SECRET_ACCESS_KEY are set only together"
            )
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("INFILL_S3_SESSION_TOKEN is set only with an access key")
        return self

    @model_validator(mode="after")
    def _check_addressing_style(self) -> Self:
        if self.addressing_style == "path":
            return self
        if not _HOST_LABEL.fullmatch(self.bucket):
            raise ValueError(
                "INFILL_S3_ADDRESSING_STYLE=virtual needs a bucket of lower-case letters, digits "
                "and hyphens, without dots"
            )
        if any(map(_is_address, (self.endpoint_url, self.presigned_endpoint_url))):
            raise ValueError(
                "INFILL_S3_ADDRESSING_STYLE=virtual needs an endpoint with a host name"
            )
        return self


def _is_address(url: str | None) -> bool:
    try:
        ip_address(urlsplit(url or "").hostname or "")
    except ValueError:
        return False
    return True
