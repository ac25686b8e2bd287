"""What a claim of deliveries writes down: in the lines it took from, and of the tenants' turns."""

from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Double,
    Integer,
    Subquery,
    and_,
    bindparam,
    case,
    false,
    func,
    or_,
    select,
    update,
)

from common.postgres.models import TenantDispatch, TenantOrigin
from common.postgres.repositories.columns import from_now, spelled
from common.postgres.repositories.deliveries.origins import LONG_AGO, NEVER, AttemptKind

PER_ORIGIN: Final = bindparam("per_origin", type_=Integer())
LEASE: Final = from_now(bindparam("lease_seconds", type_=Double()))
_ZERO: Final = spelled(0)


def summed_up(ready: CTE, claimed: CTE) -> Subquery:
    """Count for each line what was found and what of it was taken."""
    return (
        select(
            ready.c.tenant_id,
            ready.c.origin,
            ready.c.places,
            func.count(ready.c.id).label("found"),
            func.count(claimed.c.id).label("taken"),
        )
        .select_from(ready.outerjoin(claimed, claimed.c.id == ready.c.id))
        .group_by(ready.c.tenant_id, ready.c.origin, ready.c.places)
        .subquery("summed_up")
    )


def served(kind: AttemptKind, line: Subquery) -> CTE:
    """Count what was taken; note which lines are full, and which turned out to have no more."""
    is_half_open = TenantOrigin.open_until > LONG_AGO
    # Nobody else tries it while the one attempt is under way, or its dispatcher may live.
    probed = and_(is_half_open, line.c.taken > 0)
    sending = TenantOrigin.sending + line.c.taken
    return (
        update(TenantOrigin)
        .where(TenantOrigin.tenant_id == line.c.tenant_id, TenantOrigin.origin == line.c.origin)
        .values(
            {
                TenantOrigin.sending: sending,
                kind.due_column: kind.earliest(line),
                TenantOrigin.open_until: case((probed, LEASE), else_=TenantOrigin.open_until),
                TenantOrigin.held_until: case(
                    (probed, LEASE),
                    (is_half_open, TenantOrigin.open_until),
                    (sending >= PER_ORIGIN, NEVER),
                    else_=LONG_AGO,
                ),
            }
        )
        .returning(
            TenantOrigin.tenant_id,
            TenantOrigin.origin,
            kind.due_at.label("due_at"),
            (kind.due_column <= func.now()).label("has_more"),
            line.c.taken,
        )
        .cte("served")
    )


def turned(kind: AttemptKind, tenants: CTE, each: CTE, near: CTE, lines: CTE, served: CTE) -> CTE:
    """Write down whose turn it was, and who has nothing more to be sent now."""
    judged = _judged(kind, tenants, each, near, lines, served)
    return (
        update(TenantDispatch)
        .where(TenantDispatch.tenant_id == judged.c.tenant_id, kind.turns)
        .values(
            has_due=judged.c.has_due,
            due_at=judged.c.due_at,
            served_at=case(
                (judged.c.taken > _ZERO, func.clock_timestamp()), else_=TenantDispatch.served_at
            ),
        )
        .returning(TenantDispatch.tenant_id, TenantDispatch.has_due)
        .cte("turned")
    )


def _judged(
    kind: AttemptKind, tenants: CTE, each: CTE, near: CTE, lines: CTE, served: CTE
) -> Subquery:
    """Say of each tenant whether it has more, and if not, when it will.

    It has where there may be lines beyond its places, where others were at a line, and where a line
    that was served has more.
    """
    found, locked = _counted(near), _counted(lines)
    told = (
        select(
            served.c.tenant_id,
            func.min(served.c.due_at).label("due_at"),
            func.sum(served.c.taken).label("taken"),
        )
        .group_by(served.c.tenant_id)
        .subquery("told")
    )
    number = func.coalesce(found.c.number, _ZERO)
    has_due = or_(
        number >= select(each.c.places).scalar_subquery(),
        number > func.coalesce(locked.c.number, _ZERO),
        func.coalesce(told.c.due_at <= func.now(), false()),
    )
    due_at = func.coalesce(func.least(told.c.due_at, _later(kind, tenants)), NEVER)
    return (
        select(
            tenants.c.tenant_id,
            has_due.label("has_due"),
            due_at.label("due_at"),
            func.coalesce(told.c.taken, _ZERO).label("taken"),
        )
        .select_from(
            tenants.outerjoin(found, found.c.tenant_id == tenants.c.tenant_id)
            .outerjoin(locked, locked.c.tenant_id == tenants.c.tenant_id)
            .outerjoin(told, told.c.tenant_id == tenants.c.tenant_id)
        )
        .subquery("judged")
    )


def _counted(lines: CTE) -> Subquery:
    return (
        select(lines.c.tenant_id, func.count().label("number"))
        .group_by(lines.c.tenant_id)
        .subquery(f"{lines.name}_of_tenant")
    )


def _later(kind: AttemptKind, tenants: CTE) -> ColumnElement[Any]:
    """Give when the first of a tenant's other lines is due."""
    return (
        select(kind.due_at)
        .where(TenantOrigin.tenant_id == tenants.c.tenant_id, kind.due_at > func.now())
        .order_by(kind.due_at)
        .limit(spelled(1))
        .correlate(tenants)
        .scalar_subquery()
    )
