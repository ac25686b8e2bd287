"""Settings of the gateway, of workers, of the models served, and of logs and metrics."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from common.domain.errors import ConfigurationError
from common.settings.checks import BaseUrl, Secret
from common.settings.section import Section, section_config

# A sender may hold a half of its half of the budget for bodies.
BODIES_IN_BUDGET: Final = 4


class GatewaySettings(Section):
    """Settings of the gateway, which serves the HTTP APIs."""

    public_url: BaseUrl = Field(
        default="http://127.0.0.1:8000",
        description="Base URL by which callers reach the gateway; `fetch_result` starts with it.",
    )
    sync_wait_seconds: NonNegativeFloat = Field(
        default=8.0,
        description="How long a POST waits for its job before it responds `processing`. It waits "
        "because many clients read `output[0]` without checking the status. Shorter than the read "
        "time-outs of HTTP clients, of which common ones are 10 s.",
    )
    dialects: tuple[Literal["v3", "openai"], ...] = Field(
        default=("v3", "openai"),
        description="Protocols served beside the native API, as JSON: `v3`, the Stable Diffusion "
        "API, and `openai`, the OpenAI Images API.",
    )
    openai_wait_seconds: NonNegativeFloat = Field(
        default=120.0,
        description="How long a request of the OpenAI Images API waits for its job; that protocol "
        "has no later fetch. After that the job is canceled, unless the request has a webhook or "
        "an `Idempotency-Key`; 0 means at once. Shorter than the time-outs of proxies in front of "
        "the gateway.",
    )
    max_body_bytes: PositiveInt = Field(
        default=56_000_000,
        description="Largest request body; two images of 20 MB in base64 fit.",
    )
    body_budget_bytes: PositiveInt = Field(
        default=448_000_000,
        description="Request bodies of more than 64 kB that a gateway holds at once, in temporary "
        "files: the default is room for eight of the largest size. A half is for bodies whose API "
        "key is known, the other half for bodies whose key has not arrived yet. A tenant, and a "
        "client without a key, holds at most a half of its half. At least four times "
        "`INFILL_MAX_BODY_BYTES`.",
    )
    api_key_pepper: Secret | None = Field(
        default=None,
        description="Secret mixed into the stored digests of API and admin keys; required by "
        "gateways and by the commands that create keys. Changing it invalidates all keys. At least "
        "16 characters, 10 of them different.",
    )
    admin_key: Secret | None = Field(
        default=None,
        description="A first admin key, in addition to those made with `infill admin-keys create`; "
        "empty disables the admin API. At least 16 characters, 10 of them different.",
    )
    auth_cache_seconds: NonNegativeFloat = Field(
        default=10.0,
        description="How long a gateway caches a looked-up API key; a revoked key is accepted for "
        "up to this long.",
    )

    allow_key_in_query: bool = Field(
        default=False,
        description="Whether `/api/v3` reads the API key from the field `key` of the query string, "
        "too. Off, because proxies and browsers record URLs; the gateway itself never logs them.",
    )

    @model_validator(mode="after")
    def _largest_body_fits(self) -> Self:
        if self.body_budget_bytes < BODIES_IN_BUDGET * self.max_body_bytes:
            raise ValueError(
                f"INFILL_BODY_BUDGET_BYTES must be at least {BODIES_IN_BUDGET} times "
                "INFILL_MAX_BODY_BYTES, or a body of the largest size would never fit"
            )
        return self

    def require_pepper(self) -> str:
        """Return the pepper, which has no default because a publicly known pepper would be useless.

        Raises:
            ConfigurationError: the pepper is not set.
        """
        if self.api_key_pepper is None:
            raise ConfigurationError(
                "INFILL_API_KEY_PEPPER is not set: set it to a long random text, for example from "
                "`openssl rand -hex 32`, and keep it, since changing it invalidates all keys"
            )
        return self.api_key_pepper.get_secret_value()


class WorkerSettings(Section):
    """Settings of a GPU worker."""

    model_config = section_config("INFILL_WORKER_")

    concurrency: PositiveInt = Field(
        default=8,
        description="Jobs of one tenant that a worker has claimed at once: those in the GPU's "
        "batch, and others that download or upload meanwhile. Each holds its images in memory. Of "
        "all tenants together, so many jobs are generated or uploaded. Gateways use it to estimate "
        "`eta`.",
    )
    stuck_seconds: PositiveFloat = Field(
        default=30.0,
        description="How long a canceled generation, or an upload at shutdown, may take to end; "
        "longer than the longest step or decoding. After that the engine counts as stuck: the "
        "worker releases its other claims and exits with 70, to be restarted.",
    )
    engine: str = Field(
        default="worker.engine.factory:create_engine",
        description="The engine, as `module:function` that creates it from settings and catalogue.",
    )
    device: str | None = Field(
        default=None, description="Torch device; empty means CUDA if available, otherwise CPU."
    )
    max_batch: PositiveInt = Field(
        default=16,
        description="Most images in one batch; memory may allow fewer. With about sixteen, a GPU "
        "is fully used: larger batches only make each step slower for every job in them.",
    )
    model_memory_gb: PositiveFloat | None = Field(
        default=None,
        description="Memory for the weights of loaded models, in GB of 10⁹ bytes; to load another "
        "model, the least recently used ones are evicted. Empty means 60 % of the GPU's memory, "
        "since generation needs the rest, or on a CPU half of the machine's memory.",
    )
    unloaded_model_wait_seconds: NonNegativeFloat = Field(
        default=30.0,
        description="Jobs of loaded models are taken first. The queue of a model that is not "
        "loaded waits at most this long while other queues are preferred. Longer than loading a "
        "model takes, otherwise the worker spends most of its time loading.",
    )
    shutdown_seconds: NonNegativeFloat = Field(
        default=20.0,
        description="On SIGTERM, how long running jobs may take to finish; the others are released "
        "without costing an attempt.",
    )
    waiting_image_bytes: NonNegativeInt = Field(
        default=256_000_000,
        description="Memory for generated images that wait for an unavailable object store; the "
        "others wait in temporary files, in the folder that `TMPDIR` names.",
    )
    store_wait_seconds: PositiveFloat = Field(
        default=1800.0,
        le=1800,  # a job's other images may be stored already, and count as orphans after an hour
        description="How long a worker keeps the images of a job while the object store is "
        "unavailable, half an hour at most. Then it releases the job without costing an attempt, "
        "and the images are generated again.",
    )
    store_retry_seconds: PositiveFloat = Field(
        default=15.0,
        le=600,
        description="Longest pause between two tries of an unavailable object store; the first "
        "pauses are shorter. A job whose images could not be read or stored is claimed again "
        "after so long.",
    )


class ModelSettings(Section):
    """Settings of the models: which are served, and where their files are."""

    model_config = section_config("INFILL_MODELS_")

    file: Path | None = Field(
        default=None, description="Path of the models file; empty means the one in the package."
    )
    # Absolute, because a relative path could not be told from a name on the hub.
    directory: Annotated[Path, AfterValidator(Path.absolute)] = Field(
        default=Path.home() / ".cache" / "infill" / "models",
        description="Folder for models that are built on this machine, such as stand-ins.",
    )
    serve: tuple[str, ...] = Field(
        default=(), description="Names of the models to serve, as JSON; empty means all."
    )


class TelemetrySettings(Section):
    """Settings of logging, and of the status server of workers and dispatchers."""

    log_level: str = Field(default="INFO", description="Lowest level that is logged.")
    status_host: str = Field(
        default="127.0.0.1",
        description="Address on which worker and dispatcher serve /healthz, /readyz and /metrics.",
    )
    status_port: NonNegativeInt = Field(
        default=0, description="Port of the status server; 0 disables it."
    )
