"""One attempt to deliver a webhook: build, sign, post, decide. No database here."""

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
from worker.dispatcher.payload import payload
from worker.dispatcher.schedule import (
    Answered,
    Decision,
    Outcome,
    Refused,
    Unanswered,
    ended_by,
    is_well,
    plan,
)

# A header of the answer by which a receiver can end a delivery, and what it says then.
RECEIVERS_WISH: Final = "webhook-delivery"
ABORT: Final = "abort-message"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one attempt and what follows from it."""

    decision: Decision
    log: AttemptLog
    is_well: bool | None  # the receiver


class Sender:
    """Sends webhooks through the guard; `key` adds `v1a` signatures."""

    def __init__(
        self,
        guard: Guard,
        storage: Storage,
        settings: WebhookSettings,
        key: Ed25519PrivateKey | None,
    ) -> None:
        self._poster = WebhookClient(guard, settings, key)
        self._storage = storage
        self._settings = settings

    async def attempt(self, due: DueDelivery) -> Attempt:
        """Send once; every kind of trouble becomes part of the answer, none is raised."""
        started_at, begun = utc_now(), monotonic()
        outcome, excerpt = await self._outcome(due)
        duration = timedelta(seconds=monotonic() - begun)
        jitter_draw = random.random()  # noqa: S311 - spreads load, guards nothing
        decision = plan(outcome, due.failures, utc_now(), jitter_draw, self._settings)
        return Attempt(
            decision,
            AttemptLog(
                started_at=started_at,
                duration=duration,
                status_code=outcome.status if isinstance(outcome, Answered) else None,
                error=_error(outcome),
                answer=excerpt.decode("utf-8", "replace"),
                ended_by=ended_by(decision),
            ),
            is_well(outcome),
        )

    async def _outcome(self, due: DueDelivery) -> tuple[Outcome, bytes]:
        try:
            answer = await self._post(due, await self._body(due))
        except AddressNotAllowedError:
            return Refused(), b""
        except FetchFailedError as error:
            return Unanswered(str(error.reason)), b""
        except StorageUnavailableError as error:
            log.warning("delivery_not_built", error=error.code, detail=error.detail)
            return Unanswered(error.code, is_ours=True), b""
        except Exception:
            # A fault of ours. It takes its turn in the schedule, so that it is neither lost
            # before it is mended nor tried without end.
            log.exception("delivery_attempt_crashed")
            return Unanswered("internal_error", is_ours=True), b""
        return _answered(answer), answer.excerpt

    async def _body(self, due: DueDelivery) -> bytes:
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await payload(due, self._storage)
        except TimeoutError as error:
            raise StorageUnavailableError("the image store is too slow") from error

    async def _post(self, due: DueDelivery, body: bytes) -> WebhookResponse:
        headers = self._poster.signed(due.claim.delivery_id, body, due.secrets)
        return await self._poster.post(due.url, headers, body)


def _answered(answer: WebhookResponse) -> Answered:
    told = answer.headers.get(RECEIVERS_WISH, "")
    return Answered(
        answer.status,
        answer.headers.get("retry-after"),
        is_unwanted=told.strip().lower() == ABORT,
    )


def _error(outcome: Outcome) -> str | None:
    if isinstance(outcome, Answered):
        return None
    return outcome.reason if isinstance(outcome, Unanswered) else AddressNotAllowedError.code
