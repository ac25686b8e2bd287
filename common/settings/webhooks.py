"""When and how webhooks are sent."""

from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator

from common.settings.section import Section, section_config

MINUTE = 60.0
HOUR = 3600.0


class WebhookSettings(Section):
    """The delivery schedule and its limits."""

    model_config = section_config("INFILL_WEBHOOK_")

    retry_schedule_seconds: tuple[PositiveFloat, ...] = Field(
        default=(
            5.0,
            5 * MINUTE,
            30 * MINUTE,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            14 * HOUR,
            20 * HOUR,
            24 * HOUR,
        ),
        description="Waits after each failed attempt, as JSON; the last failure ends it. "
        "Together 75 hours: a weekend's outage at the receiver loses nothing.",
    )
    jitter: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Each wait is stretched or shrunk by up to this part, "
        "so that a recovering receiver is not hit at once.",
    )
    retry_after_limit_seconds: PositiveFloat = Field(
        default=10 * HOUR, description="Longest wait a receiver can ask for with Retry-After."
    )
    timeout_seconds: PositiveFloat = Field(
        default=15.0,
        description="Whole time of one attempt: DNS, connect, TLS, send, headers and body.",
    )
    response_bytes: PositiveInt = Field(
        default=4096, description="How much of the receiver's answer is read and kept."
    )
    concurrency: PositiveInt = Field(
        default=6000,
        description="Attempts one dispatcher has under way at once: a receiver that hangs holds "
        "one for 15 seconds. Each takes a file descriptor and about 30 kB.",
    )
    first_attempt_share: float = Field(
        default=0.25,
        ge=0,
        lt=1,
        description="Part of these that only first attempts may take, so that retries, which are "
        "many after an outage, hold up no fresh result.",
    )
    origin_concurrency: PositiveInt = Field(
        default=50,
        description="Attempts to one origin (scheme, host and port) of one tenant under way at "
        "once, over all dispatchers: enough for 500 a second where an answer takes 0.1 s, and "
        "little for a server to bear.",
    )
    breaker_window_seconds: PositiveFloat = Field(
        default=5 * MINUTE,
        description="Attempts to an origin are counted for so long, then from nothing: an hour of "
        "successes must not hide that it is down now.",
    )
    breaker_min_requests: PositiveInt = Field(
        default=10, description="With fewer attempts counted, an origin is not judged."
    )
    breaker_failure_ratio: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="An origin with so large a part failed is left in peace for a while; what is "
        "due for it waits, and loses no place in its schedule.",
    )
    breaker_open_seconds: PositiveFloat = Field(
        default=30.0,
        description="How long it is left in peace. Then one attempt is made: a success ends the "
        "peace, a failure begins it anew.",
    )
    lease_seconds: PositiveFloat = Field(
        default=60.0,
        description="A delivery claimed for this long is taken back; four times the time-out.",
    )
    poll_seconds: PositiveFloat = Field(
        default=1.0, description="How often a dispatcher looks without having been rung."
    )
    signing_key: SecretStr | None = Field(
        default=None,
        description="ed25519 key `whsk_…` for v1a signatures; empty sends v1 alone. "
        "`infill keys webhook` makes one.",
    )

    @model_validator(mode="after")
    def _lease_outlives_an_attempt(self) -> Self:
        """Building the body may take as long as the exchange."""
        if self.lease_seconds < 2 * self.timeout_seconds:
            raise ValueError(
                "INFILL_WEBHOOK_LEASE_SECONDS must be at least twice "
                "INFILL_WEBHOOK_TIMEOUT_SECONDS: else a slow receiver is sent the same for ever"
            )
        return self
