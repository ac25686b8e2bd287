"""Every `.sql` file of the package is used, valid on a real Postgres, and uses existing states."""

import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import ColumnClause, column
from sqlalchemy.engine import Dialect, make_url

import common
from common.domain.delivery import DeliveryState, Event
from common.domain.job import JobState
from common.postgres.sql_text import load_sql
from common.postgres.statements import DirectStatements

DIALECT: Dialect = make_url("postgresql+asyncpg://").get_dialect()()
ANY: list[ColumnClause[Any]] = [column("any")]
ROOT = Path(common.__file__).parent
FILES = sorted(ROOT.rglob("*.sql"))
STATES = {*map(str, JobState), *map(str, DeliveryState)}
PLACEHOLDER = re.compile(r"\{(\w+)\}")
# `state = 'queued'`, `lower(job.state) = 'queued'`, `state IN ('queued', 'running')`.
OF_STATE = re.compile(r"\bstate\)?\s*(?:=|<>|!=|(?:NOT )?IN)\s*(\([^()]*\)|'[^']*')")
LITERAL = re.compile(r"'([^']*)'")
EVENT = re.compile(r"'(job\.\w+)'")

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def states_in(written: str) -> list[str]:
    return [state for found in OF_STATE.findall(written) for state in LITERAL.findall(found)]


def test_state_literals_are_found_in_every_form() -> None:
    written = (
        "WHERE a.state = 'one' AND lower(b.state) = 'two' AND state NOT IN ('three', 'four') "
        "AND state <> 'five' AND estate = 'none' AND error_code = 'none'"
    )
    assert states_in(written) == ["one", "two", "three", "four", "five"]


@each_file
def test_states_and_events_in_the_text_exist(file: Path) -> None:
    written = file.read_text()
    assert set(states_in(written)) <= STATES
    assert set(EVENT.findall(written)) <= set(Event)


def test_some_file_names_a_state() -> None:
    assert {state for file in FILES for state in states_in(file.read_text())} > {"queued"}


@each_file
def test_a_module_of_its_folder_loads_it(file: Path) -> None:
    assert any(f'"{file.name}"' in module.read_text() for module in file.parent.glob("*.py"))


@each_file
async def test_postgres_accepts_it(file: Path, database_url: str) -> None:
    package = ".".join(file.parent.relative_to(ROOT.parent).parts)
    integers = dict.fromkeys(PLACEHOLDER.findall(file.read_text()), 1)
    prepared = DirectStatements(DIALECT).prepare(
        load_sql(package, file.name, columns=ANY, integers=integers), ()
    )
    connection = await asyncpg.connect(database_url)
    try:
        # Raises where a name is unknown, or where the type of a parameter cannot be inferred.
        statement = await connection.prepare(prepared.text)
        assert len(statement.get_parameters()) == len(set(prepared.names))
    finally:
        await connection.close()
