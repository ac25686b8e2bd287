"""Webhook ping: send a sample webhook at once, signed and checked like a real one."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import structlog

from api.limits.concurrency import ConcurrencyLimiter
from common.domain.errors import AddressNotAllowedError, FetchFailedError, InvalidValueError
from common.outbound import Guard
from common.outbound.guard import WebhookResponse
from common.postgres.database import Database
from common.postgres.repositories.tenants.webhook_secrets import read_live_secrets
from common.runtime.clock import monotonic
from common.settings import WebhookSettings
from common.standard_webhooks.client import WebhookClient, load_installation_key

# Concurrent pings in this gateway. A receiver that hangs holds a request for the whole deadline
# of a webhook.
PINGS_PER_TENANT: Final = 2
PINGS_IN_ALL: Final = 50

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SentWebhook:
    """Headers and body of a ping exactly as sent, to compare with what was received."""

    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class PingResult:
    """Result of a webhook ping; `error` is a cause such as `timeout`, or null after a response."""

    webhook_id: UUID
    delivered: bool
    status_code: int | None
    error: str | None
    duration_ms: int
    answer: str
    sent: SentWebhook


class WebhookPing:
    """Sender of webhook pings, which are neither recorded nor retried.

    A ping is sent without a delivery row, because a row would require a job, and the tenant would
    have to wait for a dispatcher.
    """

    def __init__(self, database: Database, guard: Guard, settings: WebhookSettings) -> None:
        self._database = database
        self._guard = guard
        self._client = WebhookClient(guard, settings, load_installation_key(settings))
        self._limiter = ConcurrencyLimiter(per_tenant=PINGS_PER_TENANT, in_all=PINGS_IN_ALL)

    async def send(self, tenant_id: int, url: str, body: bytes) -> PingResult:
        """Send `body` to `url`, signed with the tenant's unexpired secrets; return the result.

        Raises:
            TooManyAtOnceError: the tenant's limit or the global limit of concurrent pings is
                reached.
            InvalidValueError: the URL is not allowed.
        """
        with self._limiter.slot(tenant_id):
            try:
                self._guard.check(url, webhook=True)  # reject it before signing anything
                async with self._database.direct(tenant_id) as connection:
                    secrets = await read_live_secrets(connection, tenant_id)
                result = await self._send(url, body, secrets)
            except AddressNotAllowedError as error:
                log.info("webhook_ping_rejected", detail=error.detail)
                raise InvalidValueError(
                    "url", f"must be an http or https URL with a public host: {error.message}"
                ) from error
        log.info("webhook_ping_sent", status_code=result.status_code, error=result.error)
        return result

    async def _send(self, url: str, body: bytes, secrets: tuple[str, ...]) -> PingResult:
        webhook_id = uuid4()
        headers = self._client.build_headers(webhook_id, body, secrets)
        response: WebhookResponse | None = None
        reason: str | None = None
        begun = monotonic()
        try:
            response = await self._client.post(url, headers, body)
        except FetchFailedError as error:
            reason = str(error.reason)
        return PingResult(
            webhook_id=webhook_id,
            delivered=response is not None and response.status in range(200, 300),
            status_code=None if response is None else response.status,
            error=reason,
            duration_ms=round((monotonic() - begun) * 1000),
            answer="" if response is None else response.excerpt.decode("utf-8", "replace"),
            sent=SentWebhook(headers, body.decode()),
        )
