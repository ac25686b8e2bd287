"""Taking webhook deliveries, fairly between tenants and within each origin's limits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from common.domain.delivery import DeliveryClaim, Event
from common.domain.record import JobRecord
from common.postgres.repositories.columns import job_record
from common.postgres.repositories.deliveries.claim_statement import CLAIMED, line_claim
from common.postgres.repositories.deliveries.origins import FIRSTS, RETRIES, OriginKey
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
    """What one claim took, the longest due first.

    `emptied` are the lines in which it saw nothing more: what was being committed just then is
    found by `lines.look_again`. `has_more` says that there may be more for the next claim.
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
    """Take up to `limit` deliveries that are due: first attempts, or retries.

    They are of the tenants served the longest ago, an equal part of each, and an equal part of each
    of its lines; of a line those that are longest due. No more than `per_origin` of a line are ever
    under way, and of one whose breaker is half open only one. Tenants and lines that another claim
    or a recording is just at are passed over, so nobody is waited for; and so are the tenants in
    `passing_over`.
    """
    values = {
        "by_dispatcher": dispatcher,
        "lease_seconds": lease_seconds,
        "per_origin": per_origin,
        "passing_over": list(passing_over),
    }
    rows = (
        await connection.execute(line_claim(limit, RETRIES if retries else FIRSTS), values)
    ).all()
    due = ClaimedDeliveries()
    tenants = set()
    for waiting, tenant_id, has_due, origin, has_more, *claimed in rows:
        if tenant_id is None:  # others are at all of them, if there are any
            due.has_more = waiting
            continue
        tenants.add(tenant_id)
        due.has_more |= has_due
        if origin is not None and not has_more:
            due.emptied.add((tenant_id, origin))
        if claimed[_ID] is not None:
            due.taken.append(_due(job_record(claimed[len(CLAIMED) :]), *claimed[: len(CLAIMED)]))
    due.has_more |= len(tenants) == limit
    return due


_ID: Final = CLAIMED.index("id")


def _due(
    job: JobRecord,
    delivery_id: UUID,
    attempt: int,
    event: str,
    url: str,
    failures: int,
    secrets: Any,
) -> DueDelivery:
    claim = DeliveryClaim(delivery_id, attempt)
    return DueDelivery(claim, Event(event), url, failures, job, tuple(secrets or ()))
