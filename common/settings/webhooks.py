"""Settings of webhook deliveries: retry schedule, limits, circuit breaker and signing."""

from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator

from common.settings.section import Section, section_config

MINUTE = 60.0
HOUR = 3600.0


class WebhookSettings(Section):
    """Settings of webhook deliveries: retry schedule, limits, circuit breaker and signing."""

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
        description="Retry schedule: the wait after each failed attempt, as JSON; one more failure "
        "exhausts the delivery. The default sums up to 75 hours, so that a receiver that is down "
        "for a weekend loses nothing.",
    )
    jitter: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Fraction by which each wait is randomly lengthened or shortened, so that "
        "retries do not hit a recovering receiver all at once.",
    )
    retry_after_limit_seconds: PositiveFloat = Field(
        default=10 * HOUR,
        description="Longest wait that a receiver can request with a Retry-After header.",
    )
    timeout_seconds: PositiveFloat = Field(
        default=15.0,
        description="Longest time of one attempt, from DNS to the end of the response.",
    )
    response_bytes: PositiveInt = Field(
        default=4096,
        description="How much of the receiver's response body is read and logged.",
    )
    concurrency: PositiveInt = Field(
        default=6000,
        description="Most attempts one dispatcher makes at once. High, because a receiver that "
        "hangs occupies one for 15 seconds; each takes a file descriptor and about 30 kB.",
    )
    first_attempt_share: float = Field(
        default=0.25,
        ge=0,
        lt=1,
        description="Fraction of these attempts reserved for first attempts, so that the many "
        "retries after an outage do not delay new results.",
    )
    origin_concurrency: PositiveInt = Field(
        default=50,
        description="Most attempts to one origin (scheme, host and port) of one tenant at once, "
        "over all dispatchers: enough for 500 a second if a response takes 0.1 s, and a small load "
        "for a server.",
    )
    breaker_window_seconds: PositiveFloat = Field(
        default=5 * MINUTE,
        description="Circuit breaker: how long attempts to an origin are counted before the count "
        "starts again from zero. Short, so that earlier successes do not hide an outage.",
    )
    breaker_min_requests: PositiveInt = Field(
        default=10,
        description="Circuit breaker: fewer counted attempts than this never open it.",
    )
    breaker_failure_ratio: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Circuit breaker: it opens when at least this fraction of the counted attempts "
        "failed. Deliveries to the origin then wait, without using up their retry schedule.",
    )
    breaker_open_seconds: PositiveFloat = Field(
        default=30.0,
        description="Circuit breaker: how long it stays open. Then one attempt is made: a success "
        "closes it, a failure keeps it open for as long again.",
    )
    lease_seconds: PositiveFloat = Field(
        default=60.0,
        description="A delivery claimed for this long is considered lost with its dispatcher, and "
        "becomes pending again; four times the time-out.",
    )
    poll_seconds: PositiveFloat = Field(
        default=1.0,
        description="How often a dispatcher looks for due deliveries without having been rung.",
    )
    signing_key: SecretStr | None = Field(
        default=None,
        description="ed25519 key `whsk_…` for v1a signatures, as made by `infill keys webhook`; "
        "empty sends v1 signatures only.",
    )

    @model_validator(mode="after")
    def _lease_outlives_an_attempt(self) -> Self:
        """Reject a lease that could expire while a webhook's body is built and sent."""
        if self.lease_seconds < 2 * self.timeout_seconds:
            raise ValueError(
                "INFILL_WEBHOOK_LEASE_SECONDS must be at least twice "
                "INFILL_WEBHOOK_TIMEOUT_SECONDS: otherwise a slow receiver gets the same webhook "
                "again and again"
            )
        return self
