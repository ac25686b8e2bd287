"""What recorded attempts mean for their lines: room, and the state of the breaker."""

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
    func,
    not_,
    or_,
    select,
)

from common.postgres.models import TenantOrigin
from common.postgres.repositories.columns import from_now, spelled
from common.postgres.repositories.deliveries.origins import LONG_AGO, NEVER

_ZERO: Final = spelled(0)
_WINDOW_BEGAN: Final = from_now(bindparam("window_seconds", type_=Double()))
_OPEN_UNTIL: Final = from_now(bindparam("open_seconds", type_=Double()))


def judged_lines(moved: CTE) -> CTE:
    """Lock the lines of recorded attempts, in the order of their keys; say what becomes of each.

    While a breaker is open or half open, a success closes it and a failure opens it anew.
    """
    ended = _ended(moved)
    is_over = TenantOrigin.counted_since <= _WINDOW_BEGAN
    requests = case((is_over, _ZERO), else_=TenantOrigin.requests) + ended.c.well + ended.c.failed
    failed = case((is_over, _ZERO), else_=TenantOrigin.failed) + ended.c.failed
    was_closed = TenantOrigin.open_until == LONG_AGO
    too_many = and_(
        requests >= bindparam("least_requests", type_=Integer()),
        failed >= requests * bindparam("failed_part", type_=Double()),
    )
    opens = and_(ended.c.failed > _ZERO, or_(~was_closed, too_many))
    closes = and_(~was_closed, ended.c.well > _ZERO)
    open_until = case((closes, LONG_AGO), (opens, _OPEN_UNTIL), else_=TenantOrigin.open_until)
    since = case((or_(closes, is_over), func.now()), else_=TenantOrigin.counted_since)
    same = and_(TenantOrigin.tenant_id == ended.c.tenant_id, TenantOrigin.origin == ended.c.origin)
    return (
        select(
            TenantOrigin.tenant_id,
            TenantOrigin.origin,
            func.greatest(TenantOrigin.sending - ended.c.ended, _ZERO).label("sending"),
            since.label("counted_since"),
            case((closes, _ZERO), else_=requests).label("requests"),
            case((closes, _ZERO), else_=failed).label("failed"),
            open_until.label("open_until"),
            and_(was_closed, opens).label("has_opened"),
            (TenantOrigin.held_until > func.now()).label("was_held"),
        )
        .join(ended, same)
        .order_by(TenantOrigin.tenant_id, TenantOrigin.origin)
        .with_for_update(of=TenantOrigin)
        .cte("judged")
    )


def _ended(moved: CTE) -> Subquery:
    return (
        select(
            moved.c.tenant_id,
            moved.c.origin,
            func.count().label("ended"),
            func.count().filter(moved.c.is_well).label("well"),
            func.count().filter(not_(moved.c.is_well)).label("failed"),
        )
        .group_by(moved.c.tenant_id, moved.c.origin)
        .subquery("ended")
    )


def held_until(sending: ColumnElement[int], open_until: ColumnElement[Any]) -> ColumnElement[Any]:
    """Say when a line may send next, of what is under way and of its breaker."""
    is_full = sending >= bindparam("per_origin", type_=Integer())
    return case((open_until > LONG_AGO, open_until), (is_full, NEVER), else_=LONG_AGO)
