"""How long things are kept."""

from typing import Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator, model_validator

from common.settings.section import Section, section_config

HOUR = 3_600.0
DAY = 24 * HOUR


class RetentionSettings(Section):
    """What is deleted, and when; 0 keeps a thing for ever."""

    model_config = section_config("INFILL_RETENTION_")

    object_seconds: NonNegativeFloat = Field(
        default=30 * DAY,
        description="How long the pictures of an ended job are kept, its inputs too; "
        "0 keeps them for ever.",
    )
    job_seconds: NonNegativeFloat = Field(
        default=90 * DAY,
        description="How long an ended job can be fetched; its deliveries go with it. "
        "Usage is kept. 0 keeps jobs for ever.",
    )
    delivery_seconds: NonNegativeFloat = Field(
        default=30 * DAY,
        description="How long an ended delivery is kept; 0 keeps it as long as its job.",
    )
    attempt_seconds: NonNegativeFloat = Field(
        default=14 * DAY,
        description="How long the log of single attempts to deliver is kept; "
        "0 keeps it as long as the delivery.",
    )
    orphan_seconds: NonNegativeFloat = Field(
        default=DAY,
        description="Objects this old that no job names are deleted: those of failed and "
        "superseded attempts, and of requests that were never recorded. An hour at least; "
        "0 keeps them for ever.",
    )
    interval_seconds: PositiveFloat = Field(
        default=60.0, description="How often it is looked for what may go."
    )

    @field_validator("orphan_seconds")
    @classmethod
    def _longer_than_a_request(cls, seconds: float) -> float:
        """A request's pictures are stored minutes before its job is recorded, at the most.

        The store's clock says how old they are; it differs from ours by a quarter of an hour at
        most, else it would refuse our signatures.
        """
        if 0 < seconds < HOUR:
            raise ValueError("must be an hour (3600) at least: younger objects may be in use; or 0")
        return seconds

    @model_validator(mode="after")
    def _pictures_go_before_their_job(self) -> Self:
        """Without its row nobody would know them any more."""
        if self.job_seconds and not 0 < self.object_seconds <= self.job_seconds:
            raise ValueError(
                "INFILL_RETENTION_OBJECT_SECONDS must not be longer than "
                "INFILL_RETENTION_JOB_SECONDS: the pictures of a job go before its row"
            )
        return self
