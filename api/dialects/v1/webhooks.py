"""Routes for a tenant's webhooks: delivery log, redelivery, and pings that test a receiver."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from api.body.json_documents import JsonDocument, UtcTime
from api.body.query_parameters import PageParameters
from api.dialects.v1.dependencies import PREFIX, CurrentTenant, TenantContext, json_body
from api.dialects.v1.webhook_sample import sample_body
from api.errors.openapi import document_route
from api.jobs.webhook_ping import PingResult
from common.domain.delivery import AttemptRecord, DeliveryRecord, DeliveryState, Event
from common.domain.errors import ConflictError, NotFoundError
from common.domain.record import MAX_TRACK_ID, TRACK_ID_LIMIT, is_track_id
from common.operations.paging import LARGEST_ID, Listed, parse_page
from common.postgres.repositories.deliveries import log as delivery_log
from common.postgres.repositories.deliveries import redelivery
from common.postgres.repositories.deliveries.log import DeliveryFilter
from common.runtime.clock import utc_now

# Statements per request at most; each releases the locks of the one before.
MAX_BATCHES: Final = 10
TOO_MANY_REQUESTS: Final = 429

router = APIRouter(prefix=f"{PREFIX}/webhooks", tags=["webhooks"])


class DeliveryParameters(PageParameters):
    """Query parameters of the delivery log: paging, and filters by job, `track_id` and state."""

    job_id: int | None = Field(None, ge=1, le=LARGEST_ID)
    track_id: str | None = Field(
        None,
        pattern=r"^[^\x00]*$",
        description="as the request sent it; 17 finds the number and the text",
    )
    state: DeliveryState | None = None


class FailedDeliveries(JsonDocument):
    """Request body: which failed deliveries to send again."""

    since: UtcTime = Field(
        description="only deliveries that failed at or after this time",
        examples=["2026-01-31T18:00:00Z"],
    )
    state: Literal["exhausted", "discarded"] | None = Field(
        None, description="only deliveries that ended in this state; both if left out"
    )


def _explain_track_id(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Apply the rule of requests that generate images, with one error for the whole union."""
    try:
        valid = validate(value)
    except ValidationError:
        valid = math.nan
    if valid is not None and not is_track_id(valid):
        raise PydanticCustomError(
            "track_id",
            "must be null, text of at most {characters} characters without NUL, "
            "or a number between -2^63 and 2^63",
            {"characters": MAX_TRACK_ID},
        )
    return valid


_TRACK_ID_SCHEMA: Final = {
    "anyOf": [
        {"type": "string", "maxLength": MAX_TRACK_ID},
        {
            "type": "number",
            "exclusiveMinimum": -TRACK_ID_LIMIT,
            "exclusiveMaximum": TRACK_ID_LIMIT,
        },
        {"type": "null"},
    ]
}


class PingRequest(JsonDocument):
    """Request body: the URL to send a webhook ping to, and the event it reports."""

    url: str = Field(examples=["https://example.com/hook"])
    event: Event = Event.SUCCEEDED
    track_id: Annotated[
        str | int | float | None,
        WrapValidator(_explain_track_id),
        # Written out, because a limit of a float would be rounded in the document.
        WithJsonSchema(_TRACK_ID_SCHEMA),
    ] = "test"


@dataclass(frozen=True, slots=True)
class DeliveryLog:
    """Response body: a delivery and its latest attempts, latest first."""

    delivery: DeliveryRecord
    attempts: list[AttemptRecord]


@dataclass(frozen=True, slots=True)
class Redelivered:
    """Response body: how many deliveries are sent again; if `more` is true, repeat the request."""

    redelivered: int
    more: bool


@router.get(
    "/deliveries", response_model=Listed[DeliveryRecord], **document_route(TOO_MANY_REQUESTS)
)
async def list_deliveries(
    context: CurrentTenant, query: Annotated[DeliveryParameters, Query()]
) -> Response:
    """List deliveries, latest job first, each with its last attempt.

    When filtered by `state`, a page can be short even if there is a next page.
    """
    position = parse_page(query.page, "deliveries")
    tenant_id = context.tenant_id
    chosen = DeliveryFilter(query.job_id, query.track_id, query.state)
    async with context.services.database.direct(tenant_id) as connection:
        found = await delivery_log.list_deliveries(
            connection, tenant_id, chosen, after=position.after, limit=position.limit
        )
    next_cursor = None if found.next_after is None else position.cursor_after(found.next_after)
    return context.json_result(Listed(found.deliveries, next_cursor))


@router.get(
    "/deliveries/{delivery_id}", response_model=DeliveryLog, **document_route(TOO_MANY_REQUESTS)
)
async def show_delivery(context: CurrentTenant, delivery_id: UUID) -> Response:
    """Show a delivery with its latest attempts and the receiver's responses."""
    delivery = await _find(context, delivery_id)
    async with context.services.database.direct(context.tenant_id) as connection:
        attempts = await delivery_log.read_attempts(connection, delivery_id)
    return context.json_result(DeliveryLog(delivery, attempts))


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryRecord,
    **document_route(409, TOO_MANY_REQUESTS),
)
async def redeliver(context: CurrentTenant, delivery_id: UUID) -> Response:
    """Send a delivery again with the same `webhook-id`, or at once if it is waiting for a retry."""
    tenant_id = context.tenant_id
    async with context.services.database.direct(tenant_id) as connection:
        done = await redelivery.redeliver(connection, tenant_id, delivery_id)
    delivery = await _find(context, delivery_id)
    if not done:
        raise _to_conflict(delivery)
    await context.services.doorbell.ring_dispatcher()
    return context.json_result(delivery, status=202)


@router.post(
    "/redeliver",
    status_code=202,
    response_model=Redelivered,
    **document_route(TOO_MANY_REQUESTS, body=FailedDeliveries),
)
async def redeliver_failed(
    context: CurrentTenant,
    failed: Annotated[FailedDeliveries, Depends(json_body(FailedDeliveries))],
) -> Response:
    """Send again all deliveries that have failed since a given time, oldest failure first."""
    tenant_id = context.tenant_id
    state = None if failed.state is None else DeliveryState(failed.state)
    total, more = 0, True
    with context.services.redelivery_limiter.slot(tenant_id):
        for _ in range(MAX_BATCHES):
            async with context.services.database.direct(tenant_id) as connection:
                number = await redelivery.redeliver_failed(
                    connection, tenant_id, since=failed.since, state=state
                )
            total, more = total + number, number == redelivery.MAX_REDELIVERIES
            if number:
                await context.services.doorbell.ring_dispatcher()
            if not more:
                break
    return context.json_result(Redelivered(total, more), status=202)


@router.post(
    "/test", response_model=PingResult, **document_route(TOO_MANY_REQUESTS, body=PingRequest)
)
async def ping_receiver(
    context: CurrentTenant, ping: Annotated[PingRequest, Depends(json_body(PingRequest))]
) -> Response:
    """Send a sample webhook to a URL, signed like a real one, and show the receiver's response.

    The ping is neither recorded nor retried. The sample's job id is 0, which no real job has.
    """
    body = sample_body(ping.event, ping.track_id, utc_now())
    result = await context.services.webhook_ping.send(context.tenant_id, ping.url, body)
    return context.json_result(result)


async def _find(context: TenantContext, delivery_id: UUID) -> DeliveryRecord:
    tenant_id = context.tenant_id
    async with context.services.database.direct(tenant_id) as connection:
        delivery = await delivery_log.find_delivery(connection, tenant_id, delivery_id)
    if delivery is None:
        raise NotFoundError(f"there is no delivery with the id {delivery_id}")
    return delivery


def _to_conflict(delivery: DeliveryRecord) -> ConflictError:
    if delivery.attempts >= redelivery.MAX_ATTEMPTS:
        return ConflictError(
            f"delivery {delivery.id} cannot be sent again: it has reached the maximum of "
            f"{redelivery.MAX_ATTEMPTS} attempts. Get the job's result with "
            f"POST /api/v3/fetch/{delivery.job_id}"
        )
    return ConflictError(f"delivery {delivery.id} is being sent right now")
