"""A tenant's webhooks: what became of them, which to send again, and whether a receiver works."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, Field

from api.body.json_documents import JsonDocument
from api.body.query_parameters import PageParameters
from api.dialects.v1.dependencies import PREFIX, CurrentTenant, TenantContext, json_body
from api.dialects.v1.webhook_sample import sample_body
from api.errors.openapi import document_route
from api.jobs.webhook_ping import PingResult
from common.domain.delivery import DeliveryState, Event
from common.domain.delivery_record import AttemptRecord, DeliveryRecord
from common.domain.errors import ConflictError, NotFoundError
from common.domain.record import MAX_TRACK_ID, TRACK_ID_LIMIT
from common.operations.paging import LARGEST_ID, Listed, parse_page
from common.postgres.repositories.deliveries import log as delivery_log
from common.postgres.repositories.deliveries import redelivery
from common.postgres.repositories.deliveries.log import DeliveryFilter
from common.runtime.clock import utc_now

# So many statements one request makes at most: each lets go of what the one before held.
BATCHES: Final = 10
TOO_MANY_REQUESTS: Final = 429

router = APIRouter(prefix=f"{PREFIX}/webhooks", tags=["webhooks"])


class DeliveryParameters(PageParameters):
    """Which deliveries are wanted."""

    job_id: int | None = Field(None, ge=1, le=LARGEST_ID)
    track_id: str | None = Field(
        None,
        pattern=r"^[^\x00]*$",
        description="as the request spelled it: 17 is found as a number and as text",
    )
    state: DeliveryState | None = None


class Failed(JsonDocument):
    """Which failed deliveries are to be sent again."""

    since: AwareDatetime = Field(
        description="when they failed at the earliest", examples=["2026-01-31T18:00:00Z"]
    )
    state: Literal["exhausted", "discarded"] | None = Field(
        None, description="those alone that ended so; else both"
    )


class PingRequest(JsonDocument):
    """A receiver to be tried out, and the event to tell it."""

    url: str = Field(examples=["https://example.com/hook"])
    event: Event = Event.SUCCEEDED
    track_id: (
        Annotated[str, Field(max_length=MAX_TRACK_ID)]
        | Annotated[int, Field(gt=-TRACK_ID_LIMIT, lt=TRACK_ID_LIMIT)]
        | Annotated[float, Field(allow_inf_nan=False)]
        | None
    ) = "test"


@dataclass(frozen=True, slots=True)
class DeliveryLog:
    """A delivery, with its latest attempts, the last one first."""

    delivery: DeliveryRecord
    attempts: list[AttemptRecord]


@dataclass(frozen=True, slots=True)
class Redelivered:
    """How many are sent again; where there are `more`, the same request goes on with them."""

    redelivered: int
    more: bool


@router.get(
    "/deliveries", response_model=Listed[DeliveryRecord], **document_route(TOO_MANY_REQUESTS)
)
async def list_deliveries(
    admitted: CurrentTenant, asked: Annotated[DeliveryParameters, Query()]
) -> Response:
    """List deliveries, latest job first, each with its last attempt.

    With a `state`, of very many deliveries, a page may be short while there is a next one.
    """
    place = parse_page(asked.page, "deliveries")
    tenant_id = admitted.caller.tenant_id
    chosen = DeliveryFilter(asked.job_id, asked.track_id, asked.state)
    async with admitted.services.database.direct(tenant_id) as connection:
        found = await delivery_log.list_deliveries(
            connection, tenant_id, chosen, after=place.after, limit=place.limit
        )
    following = None if found.reached is None else place.cursor_to(found.reached)
    return admitted.json_result(Listed(found.deliveries, following))


@router.get(
    "/deliveries/{delivery_id}", response_model=DeliveryLog, **document_route(TOO_MANY_REQUESTS)
)
async def show_delivery(admitted: CurrentTenant, delivery_id: UUID) -> Response:
    """Show a delivery with its latest attempts, and what the receiver answered to each."""
    delivery = await _find(admitted, delivery_id)
    async with admitted.services.database.direct(admitted.caller.tenant_id) as connection:
        attempts = await delivery_log.read_attempts(connection, delivery_id)
    return admitted.json_result(DeliveryLog(delivery, attempts))


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryRecord,
    **document_route(409, TOO_MANY_REQUESTS),
)
async def redeliver(admitted: CurrentTenant, delivery_id: UUID) -> Response:
    """Send one again under the same `webhook-id`, or now what waits for its next attempt."""
    tenant_id = admitted.caller.tenant_id
    async with admitted.services.database.direct(tenant_id) as connection:
        done = await redelivery.redeliver(connection, tenant_id, delivery_id)
    delivery = await _find(admitted, delivery_id)
    if not done:
        raise _why_not(delivery)
    await admitted.services.doorbell.ring_dispatcher()
    return admitted.json_result(delivery, status=202)


@router.post(
    "/redeliver",
    status_code=202,
    response_model=Redelivered,
    **document_route(TOO_MANY_REQUESTS, body=Failed),
)
async def redeliver_failed(
    admitted: CurrentTenant, failed: Annotated[Failed, Depends(json_body(Failed))]
) -> Response:
    """Send again what ended without a success since a time, the first first."""
    tenant_id = admitted.caller.tenant_id
    state = None if failed.state is None else DeliveryState(failed.state)
    total, more = 0, True
    with admitted.services.redeliveries.take(tenant_id):
        for _ in range(BATCHES):
            async with admitted.services.database.direct(tenant_id) as connection:
                number = await redelivery.redeliver_failed(
                    connection, tenant_id, since=failed.since, state=state
                )
            total, more = total + number, number == redelivery.BATCH
            if number:
                await admitted.services.doorbell.ring_dispatcher()
            if not more:
                break
    return admitted.json_result(Redelivered(total, more), status=202)


@router.post(
    "/test", response_model=PingResult, **document_route(TOO_MANY_REQUESTS, body=PingRequest)
)
async def try_receiver(
    admitted: CurrentTenant, trial: Annotated[PingRequest, Depends(json_body(PingRequest))]
) -> Response:
    """Send a sample to a receiver, signed like any webhook, and show what it answered.

    Nothing is recorded or repeated. The sample is of a job with the id 0, which there is not.
    """
    body = sample_body(trial.event, trial.track_id, utc_now())
    result = await admitted.services.trials.send(admitted.caller.tenant_id, trial.url, body)
    return admitted.json_result(result)


async def _find(admitted: TenantContext, delivery_id: UUID) -> DeliveryRecord:
    tenant_id = admitted.caller.tenant_id
    async with admitted.services.database.direct(tenant_id) as connection:
        delivery = await delivery_log.find_delivery(connection, tenant_id, delivery_id)
    if delivery is None:
        raise NotFoundError(f"there is no delivery with the id {delivery_id}")
    return delivery


def _why_not(delivery: DeliveryRecord) -> ConflictError:
    if delivery.attempts >= redelivery.MOST_ATTEMPTS:
        return ConflictError(
            f"delivery {delivery.id} has been tried {delivery.attempts} times, and is not again: "
            f"POST to /api/v3/fetch/{delivery.job_id} gives the same"
        )
    return ConflictError(f"delivery {delivery.id} is being sent at this moment")
