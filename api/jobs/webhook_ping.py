"""Trying a receiver out: one webhook signed, guarded and timed like any other, at once."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import structlog

from api.limits.concurrency import ConcurrencyLimiter
from common.domain.errors import AddressNotAllowedError, FetchFailedError, InvalidValueError
from common.outbound import Answer, Guard
from common.postgres.database import Database
from common.postgres.repositories.tenants.webhook_secrets import live_secrets
from common.runtime.clock import monotonic
from common.settings import WebhookSettings
from common.standard_webhooks.client import WebhookClient, load_installation_key

# Under way at once in this gateway: of one tenant, and of all together. A receiver that hangs
# holds a request for the whole deadline of a webhook.
OF_A_TENANT: Final = 2
OF_ALL: Final = 50

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SentWebhook:
    """What went out, byte for byte, to compare with what arrived."""

    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class PingResult:
    """What the receiver said; `error` is one word, null where an answer came."""

    webhook_id: UUID
    delivered: bool
    status_code: int | None
    error: str | None
    duration_ms: int
    answer: str
    sent: SentWebhook


class WebhookPing:
    """Sends test calls; nothing of them is recorded, and nothing is repeated.

    A row would be one of a job there is not, and a dispatcher would have to be waited for. So
    the caller gets the outcome, and that is all there is of it.
    """

    def __init__(self, database: Database, guard: Guard, settings: WebhookSettings) -> None:
        self._database = database
        self._guard = guard
        self._poster = WebhookClient(guard, settings, load_installation_key(settings))
        self._turns = ConcurrencyLimiter(of_a_tenant=OF_A_TENANT, of_all=OF_ALL)

    async def send(self, tenant_id: int, url: str, body: bytes) -> PingResult:
        """Send a webhook to `url`, signed with all that the tenant's webhooks are signed with.

        Raises:
            TooManyAtOnceError: as many of the tenant's are under way as may be.
            InvalidValueError: the address is not allowed.
        """
        with self._turns.take(tenant_id):
            try:
                self._guard.check(url, webhook=True)  # before anything is signed for it
                async with self._database.direct(tenant_id) as connection:
                    secrets = await live_secrets(connection, tenant_id)
                result = await self._send(url, body, secrets)
            except AddressNotAllowedError as error:
                log.info("webhook_test_refused", detail=error.detail)
                raise InvalidValueError(
                    "url", f"must be a public http or https URL: {error.message}"
                ) from error
        log.info("webhook_tested", status_code=result.status_code, error=result.error)
        return result

    async def _send(self, url: str, body: bytes, secrets: tuple[str, ...]) -> PingResult:
        webhook_id = uuid4()
        headers = self._poster.build_headers(webhook_id, body, secrets)
        answer: Answer | None = None
        reason: str | None = None
        begun = monotonic()
        try:
            answer = await self._poster.post(url, headers, body)
        except FetchFailedError as error:
            reason = str(error.reason)
        return PingResult(
            webhook_id=webhook_id,
            delivered=answer is not None and answer.status in range(200, 300),
            status_code=None if answer is None else answer.status,
            error=reason,
            duration_ms=round((monotonic() - begun) * 1000),
            answer="" if answer is None else answer.excerpt.decode("utf-8", "replace"),
            sent=SentWebhook(headers, body.decode()),
        )
