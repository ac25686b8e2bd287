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
    """A claimed delivery, with everything needed to send it.

    `secrets` are the tenant's live webhook secrets, newest first. `failures` is the number of
    failed attempts since the retry schedule started, which is the index into the schedule.
    """

    claim: DeliveryClaim
    event: Event
    url: str
    failures: int
    job: JobRecord
    secrets: tuple[str, ...]


@dataclass(slots=True)
class ClaimedDeliveries:
    """Result of one claim: the claimed deliveries, those due for the longest time first.

    `origins_to_recheck` are the origins that had no other due deliveries when the claim started;
    pass them to `origins.recheck_origins`, which finds deliveries committed since then. `has_more`
    means that another claim may find more deliveries.
    """

    deliveries: list[DueDelivery] = field(default_factory=list)
    origins_to_recheck: set[OriginKey] = field(default_factory=set)
    has_more: bool = False


async def claim_deliveries(
    connection: Executor,
    *,
    dispatcher: str,
    limit: int,
    lease_seconds: float,
    per_origin: int,
    retries: bool,
    skip_tenants: Sequence[int] = (),
) -> ClaimedDeliveries:
    """Claim up to `limit` due deliveries: retries if `retries` is true, otherwise first attempts.

    Tenants served longest ago come first. Each gets an equal share of the claim, divided equally
    between its origins; for each origin, the deliveries due longest are claimed first. At most
    `per_origin` deliveries of a tenant to one origin are sent at the same time, and only one while
    the origin's circuit breaker is half open. The tenants in `skip_tenants` are skipped, and so are
    tenants and origins that another process has locked, so a claim never waits for a lock. Each
    claim increments the delivery's attempt number, which fences all later writes.
    """
    values = {
        "by_dispatcher": dispatcher,
        "lease_seconds": lease_seconds,
        "per_origin": per_origin,
        "skip_tenants": list(skip_tenants),
    }
    rows = (await connection.execute(_claim_statement(limit, retries), values)).all()
    claimed = ClaimedDeliveries()
    tenants = set()
    for tenants_wait, tenant_id, has_due, origin, has_more, *delivery in rows:
        if tenant_id is None:  # other dispatchers are serving the waiting tenants, if there are any
            claimed.has_more = tenants_wait
            continue
        tenants.add(tenant_id)
        claimed.has_more |= has_due
        if origin is not None and not has_more:
            claimed.origins_to_recheck.add((tenant_id, origin))
        if delivery[0] is not None:
            claimed.deliveries.append(_to_due_delivery(delivery))
    claimed.has_more |= len(tenants) == limit
    return claimed


def _to_due_delivery(row: Sequence[Any]) -> DueDelivery:
    delivery_id, attempt, event, url, failures, secrets, *job = row
    claim = DeliveryClaim(delivery_id, attempt)
    return DueDelivery(claim, Event(event), url, failures, to_job_record(job), tuple(secrets or ()))


# Loaded once for each kind and limit: loading it takes longer than running it.
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
