"""The statement of a fair claim of deliveries: from the tenants' turns to what their lines send."""

from functools import cache
from typing import Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Executable,
    and_,
    bindparam,
    case,
    cast,
    func,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from common.domain.delivery import DeliveryState
from common.postgres.models import Delivery, Job, TenantDispatch, TenantOrigin, WebhookSecret
from common.postgres.repositories.columns import JOB_COLUMNS, is_found_in, spelled
from common.postgres.repositories.deliveries.claim_service import (
    LEASE,
    PER_ORIGIN,
    served,
    summed_up,
    turned,
)
from common.postgres.repositories.deliveries.origins import LONG_AGO, AttemptKind
from common.postgres.repositories.tenants.webhook_secrets import IS_LIVE

# What a row tells of a delivery, before `JOB_COLUMNS`.
CLAIMED: Final = ("id", "attempt", "event", "url", "failures", "secrets")

_MAY_BE_SERVED: Final = (
    TenantDispatch.has_due,
    TenantDispatch.tenant_id != func.all(bindparam("passing_over", type_=ARRAY(BigInteger))),
)
_LIVE_SECRETS: Final = (
    select(func.array_agg(aggregate_order_by(WebhookSecret.secret, WebhookSecret.id.desc())))
    .where(WebhookSecret.tenant_id == Job.tenant_id, IS_LIVE)
    .correlate(Job)
    .scalar_subquery()
)


@cache  # putting it together takes longer than running it
def line_claim(limit: int, kind: AttemptKind) -> Executable:
    """Give the statement that takes up to `limit` deliveries; see `deliveries.claim_deliveries`.

    Its rows: whether any tenant was waiting; tenant, whether it has more; origin, whether that has
    more; `CLAIMED` and `JOB_COLUMNS`. There is one for each delivery taken, for each line without,
    for each tenant without, and at least one. The size is part of the text: bound, it would get a
    generic plan.
    """
    size = spelled(limit)
    tenants = _tenants(kind, size)
    each = select(_part(size, func.count())).select_from(tenants).cte("each")
    near = _near(kind, tenants, each, size)
    lines = _lines(kind, near)
    ready = _ready(kind, lines, each, size)
    claimed = _claimed(ready)
    line = served(kind, summed_up(ready, claimed))
    turn = turned(kind, tenants, each, near, lines, line)
    theirs = and_(claimed.c.tenant_id == line.c.tenant_id, claimed.c.origin == line.c.origin)
    return (
        select(
            select(TenantDispatch.tenant_id).where(kind.turns, *_MAY_BE_SERVED).exists(),
            turn.c.tenant_id,
            turn.c.has_due,
            line.c.origin,
            line.c.has_more,
            *(claimed.c[name] for name in CLAIMED[:-1]),
            _LIVE_SECRETS.label(CLAIMED[-1]),
            *JOB_COLUMNS,
        )
        .select_from(
            select(spelled(1))
            .subquery("always")
            .outerjoin(turn, true())
            .outerjoin(line, line.c.tenant_id == turn.c.tenant_id)
            .outerjoin(claimed, theirs)
            .outerjoin(Job, Job.id == claimed.c.job_id)
        )
        .order_by(claimed.c.available_at)
    )


def _part(size: ColumnElement[int], of: ColumnElement[int]) -> ColumnElement[int]:
    """Divide a number of places, rounded up."""
    some = cast(func.greatest(of, spelled(1)), BigInteger())
    return ((cast(size, BigInteger()) + some - spelled(1)) // some).label("places")


def _tenants(kind: AttemptKind, size: ColumnElement[int]) -> CTE:
    """Lock the turns of the tenants served the longest ago."""
    return (
        select(TenantDispatch.tenant_id)
        .where(kind.turns, *_MAY_BE_SERVED)
        .order_by(TenantDispatch.served_at)
        .limit(size)
        .with_for_update(skip_locked=True)
        .cte("tenants")
    )


def _near(kind: AttemptKind, tenants: CTE, each: CTE, size: ColumnElement[int]) -> CTE:
    """Find each one's lines that are due, the longest due first, as many as it has places."""
    due = (
        select(TenantOrigin.tenant_id, TenantOrigin.origin)
        .where(TenantOrigin.tenant_id == tenants.c.tenant_id, kind.due_at <= func.now())
        .order_by(kind.due_at)
        .limit(size)
        .correlate(tenants)
        .lateral("due")
    )
    theirs = select(due).limit(select(each.c.places).scalar_subquery()).lateral("theirs")
    return (
        select(
            theirs.c.tenant_id,
            theirs.c.origin,
            func.count().over(partition_by=theirs.c.tenant_id).label("beside"),
        )
        .select_from(tenants.join(theirs, true()))
        .cte("near")
    )


def _lines(kind: AttemptKind, near: CTE) -> CTE:
    """Lock those that nobody else is at."""
    zero = spelled(0)
    room = case(
        (TenantOrigin.open_until > LONG_AGO, spelled(1)),  # half open: it is due
        else_=func.greatest(PER_ORIGIN - TenantOrigin.sending, zero),
    )
    same = and_(near.c.tenant_id == TenantOrigin.tenant_id, near.c.origin == TenantOrigin.origin)
    return (
        select(
            TenantOrigin.tenant_id,
            TenantOrigin.origin,
            room.label("room"),
            near.c.beside,
        )
        .join(near, same)
        .where(kind.due_at <= func.now())
        .with_for_update(skip_locked=True, of=TenantOrigin)
        .cte("lines")
    )


def _ready(kind: AttemptKind, lines: CTE, each: CTE, size: ColumnElement[int]) -> CTE:
    """Find what each line may send now: an equal part of its tenant's places, if it has room."""
    oldest = (
        select(Delivery.id)
        .where(
            Delivery.tenant_id == lines.c.tenant_id,
            Delivery.origin == lines.c.origin,
            *kind.waiting,
            Delivery.available_at <= func.now(),
        )
        .order_by(Delivery.available_at)
        .limit(size)
        .correlate(lines)
        .lateral("oldest")
    )
    places = func.least(
        lines.c.room, _part(select(each.c.places).scalar_subquery(), lines.c.beside)
    )
    theirs = select(oldest.c.id).limit(places).lateral("next")
    return (
        select(lines.c.tenant_id, lines.c.origin, places.label("places"), theirs.c.id)
        .select_from(lines.outerjoin(theirs, true()))
        .cte("ready")
    )


def _claimed(ready: CTE) -> CTE:
    # Whoever holds one of them has taken it since it was read, or waits for its line.
    locked = (
        select(Delivery.id, Delivery.available_at)
        .join(ready, ready.c.id == Delivery.id)
        .where(is_found_in(Delivery.state, DeliveryState.PENDING))
        .with_for_update(skip_locked=True, key_share=True, of=Delivery)
        .cte("locked")
    )
    return (
        update(Delivery)
        .where(Delivery.id == locked.c.id)
        .values(
            state=DeliveryState.SENDING,
            attempt=Delivery.attempt + 1,
            claimed_by=bindparam("by_dispatcher"),
            lease_expires_at=LEASE,
        )
        .returning(
            Delivery.id,
            Delivery.attempt,
            Delivery.event,
            Delivery.url,
            Delivery.failures,
            Delivery.job_id,
            Delivery.tenant_id,
            Delivery.origin,
            Delivery.available_at,
        )
        .cte("claimed")
    )
