"""Settings of jobs: leases, attempts and sweeping."""

from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from common.settings.section import Section, section_config


class JobSettings(Section):
    """Settings of jobs: leases, attempts and sweeping."""

    model_config = section_config("INFILL_JOB_")

    max_attempts: PositiveInt = Field(
        default=3,
        le=1000,  # each release at shutdown adds one, and the column ends at 32,767
        description="Maximum attempts of a job; a claim released at shutdown does not count.",
    )
    lease_seconds: PositiveFloat = Field(
        default=60.0,
        description="A claim not renewed for this long is considered lost with its worker, and the "
        "job is requeued; four heartbeats.",
    )
    heartbeat_seconds: PositiveFloat = Field(
        default=15.0,
        description="How often a worker renews its claims; a quarter of the lease, so that a "
        "delayed heartbeat does not lose them.",
    )
    retry_seconds: PositiveFloat = Field(
        default=2.0,
        description="Wait before the second attempt; it doubles with each further one, up to ten "
        "minutes.",
    )
    sweep_seconds: PositiveFloat = Field(
        default=2.0,
        description="How often the sweeper looks for expired leases and lost rings, and a worker "
        "with a free slot looks for jobs without having been rung.",
    )
    max_run_seconds: PositiveFloat = Field(
        default=900.0,
        description="Longest time one attempt may take to fetch, generate and encode; after that "
        "the job fails. Waiting for the engine does not count, nor does the upload.",
    )
    max_queue_seconds: PositiveFloat = Field(
        default=86_400.0,
        description="A job that still waits this long after it was accepted fails.",
    )

    @model_validator(mode="after")
    def _lease_outlives_a_missed_beat(self) -> Self:
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise ValueError(
                "INFILL_JOB_LEASE_SECONDS must be at least twice INFILL_JOB_HEARTBEAT_SECONDS: "
                "otherwise claims of live workers expire"
            )
        return self
