"""Adding the usage ledger up, and reading it: the daily totals and what is not in them yet.

Every reading is one statement, so it sees a moment: an entry is in the totals or among those that
are marked as not folded, and never in both.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    FromClause,
    Select,
    bindparam,
    cast,
    delete,
    func,
    literal,
    select,
    true,
    type_coerce,
    union_all,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import NULLTYPE

from common.postgres.models import DailyUsage, Tenant, UnfoldedUsage, UsageEntry
from common.postgres.models.usage import MEGAPIXEL_STEPS
from common.postgres.repositories.columns import spelled
from common.postgres.statements import Executor


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What one tenant used of one model on one day, a day in UTC.

    `flagged_images` are those of `images` that were found unsafe.
    """

    tenant: str
    day: date
    model: str
    jobs: int
    images: int
    megapixel_steps: Decimal
    gpu_milliseconds: int
    flagged_images: int


async def fold_usage(connection: AsyncConnection, *, limit: int) -> int:
    """Add up to `limit` entries to the daily totals, and give how many there were.

    Mark and total change in one statement: whoever dies in it has folded nothing, and no entry
    is added twice.
    """
    return int((await connection.execute(_folding(limit))).scalar_one())


async def read_usage(
    connection: AsyncConnection, tenant_id: int | None, since: date, until: date
) -> list[UsageLine]:
    """Give what was used from `since` to `until`, both included; of all tenants, if None is named.

    Sorted by tenant, day and model.
    """
    values: dict[str, Any] = {"since": since, "until": until}
    if tenant_id is not None:
        values["of_tenant"] = tenant_id
    rows = await connection.execute(_reading(one=tenant_id is not None), values)
    return [UsageLine(*row) for row in rows]


async def month_credits(connection: Executor, tenant_id: int) -> Decimal:
    """Give the megapixel-steps a tenant has used in this month of the calendar, in UTC."""
    used: Decimal = (await connection.execute(_MONTH, {"of_tenant": tenant_id})).scalar()
    return used


# The statements, put together once: that takes longer than running them.

_AMOUNTS: Final = ("jobs", "images", "megapixel_steps", "gpu_milliseconds", "flagged_images")
_MONTH_BEGINS: Final = func.date_trunc("month", func.now(), "UTC")
_OF_TENANT: Final = bindparam("of_tenant", type_=BigInteger())


def _entry(marked: ColumnElement[int] | InstrumentedAttribute[int]) -> FromClause:
    """Look a marked entry up in the ledger.

    One by one, which the limit forces: the ledger grows for ever, and a planner that thinks the
    marks many would read through it.
    """
    return (
        select(
            UsageEntry.tenant_id,
            cast(func.timezone("UTC", UsageEntry.created_at), Date).label("day"),
            UsageEntry.model,
            literal(1, BigInteger()).label("jobs"),
            UsageEntry.images,
            UsageEntry.megapixel_steps,
            UsageEntry.gpu_milliseconds,
            UsageEntry.flagged_images,
            UsageEntry.created_at,
        )
        .where(UsageEntry.job_id == marked)
        .limit(spelled(1))
        .lateral("entry")
    )


@cache
def _folding(limit: int) -> Select[Any]:
    # Two who fold at once, as while a lock changes hands, step around each other.
    first = (
        select(UnfoldedUsage.job_id)
        .order_by(UnfoldedUsage.job_id)
        .limit(spelled(limit))
        .with_for_update(skip_locked=True)
        .cte("first")
    )
    taken = (
        delete(UnfoldedUsage)
        .where(UnfoldedUsage.job_id == first.c.job_id)
        .returning(UnfoldedUsage.job_id)
        .cte("taken")
    )
    entry = _entry(taken.c.job_id)
    key = (entry.c.tenant_id, entry.c.day, entry.c.model)
    summed = (
        select(*key, *(func.sum(entry.c[name]) for name in _AMOUNTS))
        .join_from(taken, entry, true())
        .group_by(*key)
        .order_by(*key)  # so that two who add to the same totals wait, and do not deadlock
    )
    adding = postgresql.insert(DailyUsage).from_select(
        ["tenant_id", "day", "model", *_AMOUNTS], summed
    )
    added = adding.on_conflict_do_update(
        index_elements=[DailyUsage.tenant_id, DailyUsage.day, DailyUsage.model],
        set_={name: DailyUsage.__table__.c[name] + adding.excluded[name] for name in _AMOUNTS},
    ).cte("added")
    return select(func.count()).select_from(taken).add_cte(added)


@cache
def _reading(*, one: bool) -> Select[Any]:
    period = bindparam("since", type_=Date()), bindparam("until", type_=Date())
    entry = _entry(UnfoldedUsage.job_id)
    unfolded = (
        select(entry.c.tenant_id, entry.c.day, entry.c.model, *(entry.c[n] for n in _AMOUNTS))
        .join_from(UnfoldedUsage, entry, true())
        .where(entry.c.day.between(*period))
    )
    columns = DailyUsage.__table__.c
    folded = select(
        columns.tenant_id, columns.day, columns.model, *(columns[name] for name in _AMOUNTS)
    ).where(columns.day.between(*period))
    if one:
        folded = folded.where(DailyUsage.tenant_id == _OF_TENANT)
        unfolded = unfolded.where(UnfoldedUsage.tenant_id == _OF_TENANT)
    used = union_all(folded, unfolded).subquery("used")
    # By their bytes, whatever the database's language.
    order = (Tenant.name.collate("C"), used.c.day, used.c.model.collate("C"))
    return (
        select(
            Tenant.name,
            used.c.day,
            used.c.model,
            *(cast(func.sum(used.c[name]), used.c[name].type) for name in _AMOUNTS),
        )
        .join_from(used, Tenant, Tenant.id == used.c.tenant_id)
        .group_by(Tenant.name, used.c.day, used.c.model)
        .order_by(*order)
    )


def _sum_of(statement: Select[Decimal]) -> ColumnElement[Decimal]:
    return func.coalesce(statement.scalar_subquery(), cast(0, MEGAPIXEL_STEPS))


_FOLDED_THIS_MONTH: Final = select(func.sum(DailyUsage.megapixel_steps)).where(
    DailyUsage.tenant_id == _OF_TENANT,
    DailyUsage.day >= cast(func.timezone("UTC", _MONTH_BEGINS), Date),
)
_MARKED: Final = _entry(UnfoldedUsage.job_id)
_UNFOLDED_THIS_MONTH: Final = (
    select(func.sum(_MARKED.c.megapixel_steps))
    .join_from(UnfoldedUsage, _MARKED, true())
    .where(UnfoldedUsage.tenant_id == _OF_TENANT, _MARKED.c.created_at >= _MONTH_BEGINS)
)
# Without a type: the driver gives a Decimal, and on a direct connection SQLAlchemy's reader of
# numbers does not know what it is given.
_MONTH: Final = select(
    type_coerce(_sum_of(_FOLDED_THIS_MONTH) + _sum_of(_UNFOLDED_THIS_MONTH), NULLTYPE)
)
