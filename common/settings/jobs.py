"""How long jobs are held, how often they are tried."""

from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from common.settings.section import Section, section_config


class JobSettings(Section):
    """Leases, attempts and sweeping of jobs."""

    model_config = section_config("INFILL_JOB_")

    max_attempts: PositiveInt = Field(
        default=3,
        le=1000,  # each give-back adds one, and the column ends at 32,767
        description="Attempts a job gets; a claim given back at shutdown costs none.",
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
        default=2.0,
        description="How often the sweeper looks for lost leases and lost rings, "
        "and a worker for work that nobody rang for.",
    )
    max_run_seconds: PositiveFloat = Field(
        default=900.0,
        description="Longest time one attempt may take to fetch, draw and upload; past it the job "
        "has failed. Waiting for the engine does not count.",
    )
    max_queue_seconds: PositiveFloat = Field(
        default=86_400.0,
        description="A job still waiting this long after it was accepted has failed.",
    )

    @model_validator(mode="after")
    def _lease_outlives_a_missed_beat(self) -> Self:
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise ValueError(
                "INFILL_JOB_LEASE_SECONDS must be at least twice INFILL_JOB_HEARTBEAT_SECONDS: "
                "else live claims are taken back"
            )
        return self
