"""Where the truth, the doorbell and the pictures live."""

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr

from common.settings.section import Section, section_config


class DatabaseSettings(Section):
    """Postgres 15 or newer."""

    model_config = section_config("INFILL_DATABASE_")

    url: SecretStr = Field(
        default=SecretStr("postgresql://infill@127.0.0.1:5432/infill"),
        description="Postgres address, `postgresql://user:password@host:port/name`.",
    )
    pool_size: PositiveInt = Field(
        default=10,
        description="Connections one process keeps for its hot statements, and as many again at "
        "most for all others; a gateway uses one per statement under way.",
    )
    connect_timeout_seconds: PositiveFloat = Field(
        default=5.0, description="How long to wait for a new connection or a free one."
    )
    statement_timeout_seconds: PositiveFloat = Field(
        default=10.0, description="Postgres ends a statement of ours that runs longer than this."
    )


class RedisSettings(Section):
    """Redis 6.2 or newer: the doorbell. It may lose everything without harm."""

    model_config = section_config("INFILL_REDIS_")

    url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis address, `redis://[:password@]host:port/number`.",
    )
    timeout_seconds: PositiveFloat = Field(
        default=2.0,
        description="Longest wait for Redis; a ring that takes longer is left to the sweeper.",
    )
    ring_limit: PositiveInt = Field(
        default=1000,
        description="Rings kept per queue; more would only say again what one says: look.",
    )


class StorageSettings(Section):
    """Any S3-compatible object store: S3, R2, MinIO and others."""

    model_config = section_config("INFILL_S3_")

    endpoint_url: str | None = Field(
        default=None, description="Endpoint of the store; empty means Amazon's own for the region."
    )
    region: str = Field(default="us-east-1", description="Region to sign for; R2 wants `auto`.")
    bucket: str = Field(default="infill", description="Bucket for results and uploaded inputs.")
    access_key_id: str = Field(default="infill", description="Access key id.")
    secret_access_key: SecretStr = Field(
        default=SecretStr("infill-local"), description="Secret access key."
    )
    public_base_url: str | None = Field(
        default=None,
        description="Base address under which objects are public (a CDN, r2.dev); "
        "empty means presigned links.",
    )
    presigned_endpoint_url: str | None = Field(
        default=None,
        description="Endpoint callers reach the store under, where it is another than ours, "
        "as in a container network; presigned links are signed for it.",
    )
    presigned_seconds: PositiveInt = Field(
        default=86_400,
        le=604_800,
        description="Life of a presigned link; the protocol's limit is seven days.",
    )
    cache_control: str = Field(
        default="public, max-age=31536000, immutable",
        description="Cache-Control of results; an object key is never written twice.",
    )
    timeout_seconds: PositiveFloat = Field(
        default=30.0, description="Longest wait for the store to connect, and for each answer."
    )
