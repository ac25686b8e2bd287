"""SQL expressions that several repositories share."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeVarTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Interval,
    Select,
    String,
    func,
    literal_column,
)
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.elements import KeyedColumnElement

Ts = TypeVarTuple("Ts")


def is_one_of(
    column: KeyedColumnElement[Any] | Any, states: Iterable[StrEnum]
) -> ColumnElement[bool]:
    """Return the condition that `column` equals one of `states`, written as SQL literals.

    With bind parameters, the planner would not know the states and could not use a partial index
    (`WHERE state = …`).
    """
    literals = [literal_column(f"'{state.value}'", String()) for state in sorted(states)]
    if len(literals) == 1:
        return column == literals[0]
    return column.in_(literals)


def from_now(seconds: float | ColumnElement[float]) -> ColumnElement[Any]:
    """Return the SQL expression for the database's current time plus `seconds`.

    Leases use only the database's clock, because the clocks of different machines may differ.
    """
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds, type_=Interval())


def select_page(
    statement: Select[*Ts],
    key: InstrumentedAttribute[int],
    after: int | None,
    limit: int,
    *,
    newest_first: bool = False,
) -> Select[*Ts]:
    """Return `statement`, ordered by `key` and restricted to up to `limit` rows after `after`.

    `after` is the key of the last row of the previous page, or None for the first page.
    """
    if after is not None:
        statement = statement.where(key < after if newest_first else key > after)
    return statement.order_by(key.desc() if newest_first else key).limit(limit)


def literal_int(value: int) -> ColumnElement[int]:
    """Return an integer as an SQL literal.

    Use it for LIMIT: with a bind parameter, Postgres would choose a generic plan.
    """
    return literal_column(str(int(value)), BigInteger())
