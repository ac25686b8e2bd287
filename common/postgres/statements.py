"""Running a prepared statement straight on asyncpg, past SQLAlchemy's execution layer.

That layer costs the gateway more than Postgres does. Here a statement is compiled once and
then needs one round trip and nothing else; types are converted by SQLAlchemy's own converters.
It is meant for the few statements every request runs, which are built once as constants.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from asyncpg import Connection
from sqlalchemy import Dialect, Executable, Float
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Convert = Callable[[Any], Any] | None
Row = Sequence[Any]


class Executor(Protocol):
    """What runs a statement: SQLAlchemy's connection, or a direct one."""

    async def execute(self, statement: Any, parameters: Any, /) -> Any:
        """Run the statement with these values."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a direct statement gave."""

    rows: Sequence[Row]

    def first(self) -> Row | None:
        """Give the first row, None if there is none."""
        return self.rows[0] if self.rows else None

    def all(self) -> Sequence[Row]:
        """Give all rows."""
        return self.rows

    def scalar(self) -> Any:
        """Give the first column of the first row, None if there is none."""
        return self.rows[0][0] if self.rows else None


@dataclass(frozen=True, slots=True)
class _Prepared:
    text: str
    names: Sequence[str]
    constants: Mapping[str, Any]
    binders: Sequence[Convert]
    readers: Sequence[Convert]


class DirectStatements:
    """The statements compiled so far, by identity: they are constants of their modules."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared: dict[Executable, _Prepared] = {}

    def prepare(self, statement: Executable, names: Sequence[str]) -> _Prepared:
        """Compile a statement when it is first met."""
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
            return None  # as the driver gives it; SQLAlchemy's would ask for the column's type code
        return self._dialect_type(kind).result_processor(self._dialect, None)

    def _dialect_type(self, kind: TypeEngine[Any]) -> TypeEngine[Any]:
        return kind.dialect_impl(self._dialect)


class DirectConnection:
    """A connection on which each statement is its own transaction."""

    def __init__(self, driver: "Connection[Any]", statements: DirectStatements) -> None:
        self._driver = driver
        self._statements = statements

    async def execute(self, statement: Any, parameters: Mapping[str, Any], /) -> Rows:
        """Run a statement that is a module's constant, with values for all its parameters."""
        prepared = self._statements.prepare(statement, list(parameters))
        values_by_name = {**prepared.constants, **parameters}
        values = [
            values_by_name[name] if bind is None else bind(values_by_name[name])
            for name, bind in zip(prepared.names, prepared.binders, strict=True)
        ]
        found = await self._driver.fetch(prepared.text, *values)
        return Rows([_convert_row(row, prepared.readers) for row in found])


def _convert_row(row: Row, readers: Sequence[Convert]) -> Row:
    return [
        value if read is None else read(value) for value, read in zip(row, readers, strict=True)
    ]
