"""Run precompiled SQLAlchemy statements directly on asyncpg, for speed.

In the gateway, SQLAlchemy's execution layer takes more time than Postgres does. Here a statement is
compiled once and then takes one round trip; SQLAlchemy's own converters convert the values. This is
used for the few statements that every request runs, which are module constants.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from asyncpg import Connection, DeadlockDetectedError, SerializationError
from sqlalchemy import Dialect, Executable, Float
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Convert = Callable[[Any], Any] | None
Row = Sequence[Any]

# Postgres rolled the statement back because of others that ran beside it.
CONTENTION_ERRORS: Final = (SerializationError, DeadlockDetectedError)
# The longest random pause before each repetition after contention.
PAUSES_SECONDS: Final = (0.02, 0.1, 0.4)


class Executor(Protocol):
    """A connection that executes statements: SQLAlchemy's or a `DirectConnection`."""

    async def execute(self, statement: Any, parameters: Any, /) -> Any:
        """Execute the statement with these parameters and return its result."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of a direct statement, with the subset of SQLAlchemy's interface that we use."""

    rows: Sequence[Row]

    def first(self) -> Row | None:
        """Return the first row, or None if there is none."""
        return self.rows[0] if self.rows else None

    def all(self) -> Sequence[Row]:
        """Return all rows."""
        return self.rows

    def scalar(self) -> Any:
        """Return the first column of the first row, or None if there is no row."""
        return self.rows[0][0] if self.rows else None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A compiled statement: SQL text, parameter order, and converters of parameters and columns."""

    text: str
    names: Sequence[str]
    constants: Mapping[str, Any]
    binders: Sequence[Convert]
    readers: Sequence[Convert]


class DirectStatements:
    """Cache of compiled statements, keyed by the identity of the statement object."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared: dict[Executable, _Prepared] = {}

    def prepare(self, statement: Executable, names: Sequence[str]) -> _Prepared:
        """Return the compiled statement, compiling it at first use.

        `names` are the names of all its parameters.
        """
        known = self._prepared.get(statement)
        if known is None:
            known = self._prepared[statement] = self._compile(statement, names)
        return known

    def _compile(self, statement: Any, names: Sequence[str]) -> _Prepared:
        compiled: SQLCompiler = statement.compile(dialect=self._dialect, column_keys=list(names))
        order = compiled.positiontup or []
        return _Prepared(
            text=str(compiled),
            names=order,
            constants={name: compiled.binds[name].effective_value for name in order},
            binders=[
                self._dialect_type(compiled.binds[name].type).bind_processor(self._dialect)
                for name in order
            ],
            readers=[self._find_reader(column.type) for column in statement.exported_columns],
        )

    def _find_reader(self, kind: TypeEngine[Any]) -> Convert:
        if isinstance(kind, Float):
            return None  # the driver's value is right; SQLAlchemy's converter needs a type code
        return self._dialect_type(kind).result_processor(self._dialect, None)

    def _dialect_type(self, kind: TypeEngine[Any]) -> TypeEngine[Any]:
        return kind.dialect_impl(self._dialect)


class DirectConnection:
    """A connection for precompiled statements, each of which is its own transaction."""

    def __init__(self, driver: "Connection[Any]", statements: DirectStatements) -> None:
        self._driver = driver
        self._statements = statements

    async def execute(self, statement: Any, parameters: Mapping[str, Any], /) -> Rows:
        """Execute a statement that is a module constant, with a value for each parameter.

        After a deadlock or a serialization failure the statement is repeated a few times, which is
        safe because it was a transaction of its own, and Postgres has rolled it back.
        """
        prepared = self._statements.prepare(statement, list(parameters))
        values_by_name = {**prepared.constants, **parameters}
        values = [
            values_by_name[name] if bind is None else bind(values_by_name[name])
            for name, bind in zip(prepared.names, prepared.binders, strict=True)
        ]
        found = await self._fetch(prepared.text, values)
        return Rows([_convert_row(row, prepared.readers) for row in found])

    async def _fetch(self, text: str, values: Sequence[Any]) -> list[Any]:
        for pause in PAUSES_SECONDS:
            try:
                return list(await self._driver.fetch(text, *values))
            except CONTENTION_ERRORS:
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 guards nothing
        return list(await self._driver.fetch(text, *values))


def _convert_row(row: Row, readers: Sequence[Convert]) -> Row:
    return [
        value if read is None else read(value) for value, read in zip(row, readers, strict=True)
    ]
