"""One attempt to deliver a webhook: build, sign, post, decide; does not use the database."""

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.domain.errors import (
    AddressNotAllowedError,
    FetchFailedError,
    StorageUnavailableError,
)
from common.object_store.storage import Storage
from common.outbound import Guard, WebhookResponse
from common.postgres.repositories.deliveries.claim import DueDelivery
from common.postgres.repositories.deliveries.record import AttemptLog
from common.runtime.clock import monotonic, utc_now
from common.settings import WebhookSettings
from common.standard_webhooks.client import WebhookClient
from worker.dispatcher.payload import build_payload
from worker.dispatcher.schedule import (
    Blocked,
    Decision,
    NoResponse,
    Outcome,
    Responded,
    decide,
    end_reason,
    is_healthy,
)

# The response header by which a receiver can end a delivery, and the value that does.
CONTROL_HEADER: Final = "webhook-delivery"
ABORT: Final = "abort-message"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The record of one delivery attempt, and the decision that follows from it."""

    decision: Decision
    log: AttemptLog
    is_healthy: bool | None  # of the receiver; None if unknown


class Sender:
    """Sends a webhook once and decides what follows; if `key` is set, it also signs with `v1a`."""

    def __init__(
        self,
        guard: Guard,
        storage: Storage,
        settings: WebhookSettings,
        key: Ed25519PrivateKey | None,
    ) -> None:
        self._client = WebhookClient(guard, settings, key)
        self._storage = storage
        self._settings = settings

    async def send(self, due: DueDelivery) -> Attempt:
        """Send the webhook of `due` once and return the attempt.

        Errors are recorded in the attempt and not raised.
        """
        started_at, begun = utc_now(), monotonic()
        outcome, excerpt = await self._outcome(due)
        duration = timedelta(seconds=monotonic() - begun)
        jitter_draw = random.random()  # noqa: S311 - spreads load, guards nothing
        decision = decide(outcome, due.failures, utc_now(), jitter_draw, self._settings)
        return Attempt(
            decision,
            AttemptLog(
                started_at=started_at,
                duration=duration,
                status_code=outcome.status if isinstance(outcome, Responded) else None,
                error=_error(outcome),
                answer=excerpt.decode("utf-8", "replace"),
                ended_by=end_reason(decision),
            ),
            is_healthy(outcome),
        )

    async def _outcome(self, due: DueDelivery) -> tuple[Outcome, bytes]:
        try:
            response = await self._post(due, await self._body(due))
        except AddressNotAllowedError:
            return Blocked(), b""
        except FetchFailedError as error:
            return NoResponse(str(error.reason)), b""
        except StorageUnavailableError as error:
            log.warning("delivery_body_failed", error=error.code, detail=error.detail)
            return NoResponse(error.code, is_ours=True), b""
        except Exception:
            # A bug of ours. It follows the retry schedule, so that the delivery is neither lost
            # before the bug is fixed nor tried without end.
            log.exception("delivery_attempt_crashed")
            return NoResponse("internal_error", is_ours=True), b""
        return _to_outcome(response), response.excerpt

    async def _body(self, due: DueDelivery) -> bytes:
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await build_payload(due, self._storage)
        except TimeoutError as error:
            raise StorageUnavailableError("the image store is too slow") from error

    async def _post(self, due: DueDelivery, body: bytes) -> WebhookResponse:
        headers = self._client.build_headers(due.claim.delivery_id, body, due.secrets)
        return await self._client.post(due.url, headers, body)


def _to_outcome(response: WebhookResponse) -> Responded:
    control = response.headers.get(CONTROL_HEADER, "")
    return Responded(
        response.status,
        response.headers.get("retry-after"),
        is_unwanted=control.strip().lower() == ABORT,
    )


def _error(outcome: Outcome) -> str | None:
    if isinstance(outcome, Responded):
        return None
    return outcome.reason if isinstance(outcome, NoResponse) else AddressNotAllowedError.code
