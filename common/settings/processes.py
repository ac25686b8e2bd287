"""What each process needs to know of itself."""

from pathlib import Path

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr

from common.domain.errors import ConfigurationError
from common.settings.section import Section, section_config


class GatewaySettings(Section):
    """The HTTP face."""

    public_url: str = Field(
        default="http://127.0.0.1:8000",
        description="Address callers reach the gateway under; `fetch_result` starts with it.",
    )
    sync_wait_seconds: NonNegativeFloat = Field(
        default=20.0,
        description="How long a POST waits for its job before it answers `processing`; "
        "many clients read `output[0]` straight away.",
    )
    max_body_bytes: PositiveInt = Field(
        default=56_000_000,
        description="Largest request body; two images of 20 MB as base64 fit.",
    )
    api_key_pepper: SecretStr | None = Field(
        default=None,
        description="Secret mixed into the stored digests of API and admin keys; required by "
        "gateways and by what makes keys. Changing it voids all keys.",
    )
    admin_key: SecretStr | None = Field(
        default=None,
        description="First key of the admin routes, beside those made with "
        "`infill admin-keys create`; empty closes the routes.",
    )
    auth_cache_seconds: NonNegativeFloat = Field(
        default=10.0, description="How long a looked-up API key is trusted; a revoked one lives so."
    )

    def require_pepper(self) -> str:
        """Give the pepper; there is no default, since one the world knows protects nothing.

        Raises:
            ConfigurationError: it is not set.
        """
        if self.api_key_pepper is None:
            raise ConfigurationError(
                "INFILL_API_KEY_PEPPER is not set: give it a long random text, "
                "`openssl rand -hex 32` makes one, and keep it, since another voids all keys"
            )
        return self.api_key_pepper.get_secret_value()


class WorkerSettings(Section):
    """A GPU worker."""

    model_config = section_config("INFILL_WORKER_")

    concurrency: PositiveInt = Field(
        default=8,
        description="Claims held at once: a batch that draws on a GPU, and beside it those that "
        "download or upload; each holds its pictures in memory. Gateways reckon with it for `eta`.",
    )
    stuck_seconds: PositiveFloat = Field(
        default=30.0,
        description="How long a drawing told to stop, or an upload at shutdown, may take to end: "
        "more than the longest step or decoding. Past it the engine counts as stuck, and the "
        "worker gives its other claims back and exits with 70, to be started anew.",
    )
    engine: str = Field(
        default="worker.engine.factory:create_engine",
        description="What draws: `module:function` that makes an engine of settings and catalogue.",
    )
    device: str | None = Field(
        default=None, description="Torch device; empty means CUDA where there is one, else CPU."
    )
    max_batch: PositiveInt = Field(
        default=16,
        description="Images that take a step together at most; memory may let fewer. Beyond some "
        "sixteen a GPU is full, and each step only takes longer for everybody in it.",
    )
    model_memory_gb: PositiveFloat | None = Field(
        default=None,
        description="Memory for the weights of loaded models, in GB of 10⁹ bytes; where another is "
        "asked for, the one that was not used for longest makes room. Empty means 60 % of the "
        "GPU's memory, since images on their way need the rest, or half of a CPU's machine.",
    )
    unloaded_model_wait_seconds: NonNegativeFloat = Field(
        default=30.0,
        description="Jobs of loaded models are taken first. A queue that others were preferred "
        "to for so long is asked first, loaded or not: more than the seconds that loading takes, "
        "or these become most of the work.",
    )
    shutdown_seconds: NonNegativeFloat = Field(
        default=20.0,
        description="On SIGTERM, how long running jobs may take to finish; "
        "the rest are given back at no cost of attempt.",
    )


class ModelSettings(Section):
    """The models this installation serves."""

    model_config = section_config("INFILL_MODELS_")

    file: Path | None = Field(
        default=None, description="The models file; empty means the one shipped with Infill."
    )
    directory: Path = Field(
        default=Path.home() / ".cache" / "infill" / "models",
        description="Where models built on this machine are kept.",
    )
    serve: tuple[str, ...] = Field(
        default=(), description="Names of the models to serve, as JSON; empty means all."
    )


class TelemetrySettings(Section):
    """Logs and numbers."""

    log_level: str = Field(default="INFO", description="Least severe level that is logged.")
    status_host: str = Field(
        default="127.0.0.1",
        description="Address on which worker and dispatcher answer /healthz, /readyz and /metrics.",
    )
    status_port: NonNegativeInt = Field(
        default=0, description="Port for the same; 0 switches it off."
    )
