"""Claim webhook deliveries, fairly between tenants and within the limits of each origin."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Boolean, Executable, Text, column
from sqlalchemy.dialects.postgresql import ARRAY

from common.domain.delivery import DeliveryClaim, Event
from common.domain.record import JobRecord
from common.postgres.models import Delivery, TenantDispatch, TenantOrigin
from common.postgres.repositories.deliveries.origins import OriginKey
from common.postgres.repositories.jobs.job_rows import JOB_COLUMNS, to_job_record
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A claimed delivery with all that is needed to send it.

    `secrets` are the tenant's live ones, newest first. `failures` is the place in the schedule.
    """

    claim: DeliveryClaim
    event: Event
    url: str
    failures: int
    job: JobRecord
    secrets: tuple[str, ...]


@dataclass(slots=True)
class ClaimedDeliveries:
    """Result of one claim: the deliveries, longest due first.

    `emptied` are the origins that seemed to have nothing more: what was being committed just then
    is found by `lines.look_again`. `has_more` means that another claim may find more.
    """

    taken: list[DueDelivery] = field(default_factory=list)
    emptied: set[OriginKey] = field(default_factory=set)
    has_more: bool = False


async def claim_deliveries(
    connection: Executor,
    *,
    dispatcher: str,
    limit: int,
    lease_seconds: float,
    per_origin: int,
    retries: bool,
    passing_over: Sequence[int] = (),
) -> ClaimedDeliveries:
    """Claim up to `limit` deliveries that are due: first attempts, or retries.

    They are of the tenants served longest ago: an equal share for each, divided equally between its
    origins, and for an origin its longest due. At most `per_origin` of a tenant's origin are under
    way at any time, and a single one while its circuit breaker is half open. Tenants and origins
    that another process has locked are passed over, so a claim never waits; so are the tenants in
    `passing_over`. The new attempt number of each delivery is the fence for every later write.
    """
    values = {
        "by_dispatcher": dispatcher,
        "lease_seconds": lease_seconds,
        "per_origin": per_origin,
        "passing_over": list(passing_over),
    }
    rows = (await connection.execute(_claim_statement(limit, retries), values)).all()
    due = ClaimedDeliveries()
    tenants = set()
    for tenants_wait, tenant_id, has_due, origin, has_more, *claimed in rows:
        if tenant_id is None:  # other dispatchers are serving all tenants that wait, if any do
            due.has_more = tenants_wait
            continue
        tenants.add(tenant_id)
        due.has_more |= has_due
        if origin is not None and not has_more:
            due.emptied.add((tenant_id, origin))
        if claimed[0] is not None:
            due.taken.append(_due(claimed))
    due.has_more |= len(tenants) == limit
    return due


def _due(row: Sequence[Any]) -> DueDelivery:
    delivery_id, attempt, event, url, failures, secrets, *job = row
    claim = DeliveryClaim(delivery_id, attempt)
    return DueDelivery(claim, Event(event), url, failures, to_job_record(job), tuple(secrets or ()))


# Once for each kind and limit: loading it takes longer than running it.
@cache
def _claim_statement(limit: int, retries: bool) -> Executable:  # noqa: FBT001 a key of the cache
    return load_sql(
        __package__,
        "claim_deliveries.sql",
        columns=(
            column("tenants_wait", Boolean()),
            TenantDispatch.tenant_id,
            TenantDispatch.has_due,
            TenantOrigin.origin,
            column("has_more", Boolean()),
            Delivery.id,
            Delivery.attempt,
            Delivery.event,
            Delivery.url,
            Delivery.failures,
            column("secrets", ARRAY(Text())),
            *JOB_COLUMNS,
        ),
        integers={"limit": limit, "retries": int(retries)},
    )
