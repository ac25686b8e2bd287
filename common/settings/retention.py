"""Settings of retention: how long data is kept before it is deleted."""

from typing import Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator, model_validator

from common.settings.section import Section, section_config

HOUR = 3_600.0
DAY = 24 * HOUR


class RetentionSettings(Section):
    """Retention times in seconds; 0 keeps the data forever."""

    model_config = section_config("INFILL_RETENTION_")

    object_seconds: NonNegativeFloat = Field(
        default=30 * DAY,
        description="How long the images of an ended job are kept, including its inputs; "
        "0 keeps them forever.",
    )
    job_seconds: NonNegativeFloat = Field(
        default=90 * DAY,
        description="How long an ended job can be fetched; its deliveries are deleted with it, "
        "its usage is kept. 0 keeps jobs forever.",
    )
    delivery_seconds: NonNegativeFloat = Field(
        default=30 * DAY,
        description="How long an ended webhook delivery is kept; 0 keeps it as long as its job.",
    )
    attempt_seconds: NonNegativeFloat = Field(
        default=14 * DAY,
        description="How long the log of each delivery attempt is kept; "
        "0 keeps it as long as the delivery.",
    )
    orphan_seconds: NonNegativeFloat = Field(
        default=DAY,
        description="Age at which objects that no job refers to are deleted: those of failed and "
        "superseded attempts, and of requests that were never recorded. At least an hour; 0 keeps "
        "them forever.",
    )
    interval_seconds: PositiveFloat = Field(
        default=60.0, description="How often a dispatcher looks for data to delete."
    )

    @field_validator("orphan_seconds")
    @classmethod
    def _longer_than_a_request(cls, seconds: float) -> float:
        """Reject an age below an hour, because a younger object's job may not be recorded yet.

        Images are stored a few minutes, at most, before their job is recorded. Their age is
        measured by the store's clock, which differs from ours by at most a quarter of an hour;
        otherwise the store would reject our signatures.
        """
        if 0 < seconds < HOUR:
            raise ValueError("must be at least an hour (3600), or 0: younger objects may be in use")
        return seconds

    @model_validator(mode="after")
    def _images_go_before_their_job(self) -> Self:
        """Reject settings that delete a job's row before its images.

        Without the row, the keys of the images would be unknown.
        """
        if self.job_seconds and not 0 < self.object_seconds <= self.job_seconds:
            raise ValueError(
                "INFILL_RETENTION_OBJECT_SECONDS must not be longer than "
                "INFILL_RETENTION_JOB_SECONDS: the images of a job are deleted before its row"
            )
        return self
