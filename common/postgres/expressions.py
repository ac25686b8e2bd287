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
    """Return the condition that `column` has one of `states`, written as literals.

    A bound parameter would hide the state from the planner, which uses a partial index
    (`WHERE state = …`) only if it sees the state.
    """
    literals = [literal_column(f"'{state.value}'", String()) for state in sorted(states)]
    if len(literals) == 1:
        return column == literals[0]
    return column.in_(literals)


def from_now(seconds: float | ColumnElement[float]) -> ColumnElement[Any]:
    """Return the time `seconds` from now by the database's clock, the only clock used for leases.

    Clocks of different machines may disagree.
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
    """Return `statement` limited to one page: up to `limit` rows behind `after`, ordered by `key`.

    `after` is the key of the previous page's last row, None for the first page.
    """
    if after is not None:
        statement = statement.where(key < after if newest_first else key > after)
    return statement.order_by(key.desc() if newest_first else key).limit(limit)


def literal_int(value: int) -> ColumnElement[int]:
    """Return an integer as a literal: a bound limit would make Postgres choose a generic plan."""
    return literal_column(str(int(value)), BigInteger())
