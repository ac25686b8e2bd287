"""How long jobs are held, how often they are tried."""

from pydantic import Field, PositiveFloat, PositiveInt

from common.settings.section import Section, prefixed


class JobSettings(Section):
    """Leases, attempts and sweeping of jobs."""

    model_config = prefixed("INFILL_JOB_")

    max_attempts: PositiveInt = Field(
        default=3, description="Attempts a job gets; a claim given back at shutdown costs none."
    )
    lease_seconds: PositiveFloat = Field(
        default=60.0,
        description="A claim not renewed for this long is taken back: the worker is dead.",
    )
    heartbeat_seconds: PositiveFloat = Field(
        default=15.0, description="How often a worker renews its claims; a quarter of the lease."
    )
    retry_seconds: PositiveFloat = Field(
        default=2.0, description="Wait before the second attempt; doubles with each further one."
    )
    sweep_seconds: PositiveFloat = Field(
        default=5.0, description="How often the sweeper looks for lost leases and lost rings."
    )
