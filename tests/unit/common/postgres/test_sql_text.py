"""Loading statements kept as text."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect, make_url

from common.postgres.sql_text import load_sql
from common.postgres.statements import DirectStatements

PACKAGE = "statements_of_a_test"
DIALECT: Dialect = make_url("postgresql+asyncpg://").get_dialect()()
TEXT = """\
-- Its comments are for readers, may name a :parameter or a {placeholder},
WITH some AS (
    -- and are left out.
    SELECT id, result FROM jobs WHERE result = :result AND queue = :queue LIMIT {limit}
)
SELECT id, result FROM some
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    home = tmp_path / PACKAGE
    home.mkdir()
    (home / "__init__.py").touch()
    (home / "some.sql").write_text(TEXT)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop(PACKAGE, None)


def test_comments_are_removed_and_integers_inserted() -> None:
    written = str(load_sql(PACKAGE, "some.sql", integers={"limit": 7}))
    assert "--" not in written
    assert written.startswith("WITH some AS (\n    SELECT")
    assert "LIMIT 7\n" in written


def test_a_direct_connection_converts_the_values() -> None:
    statement = load_sql(
        PACKAGE,
        "some.sql",
        columns=(column("id", BigInteger()), column("result", JSONB())),
        types={"result": JSONB()},
        integers={"limit": 7},
    )
    prepared = DirectStatements(DIALECT).prepare(statement, ["queue", "result"])
    assert prepared.names == ["result", "queue"]
    to_json, as_it_is = prepared.binders
    assert as_it_is is None
    assert to_json is not None
    assert to_json({"seed": 1}) == '{"seed": 1}'
    assert len(prepared.readers) == 2


@pytest.mark.parametrize("integers", [{}, {"limit": 1, "offset": 1}, {"size": 1}])
def test_integers_that_do_not_match_the_placeholders_are_an_error(integers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"some\.sql"):
        load_sql(PACKAGE, "some.sql", integers=integers)


@pytest.mark.parametrize("value", ["1; DROP TABLE jobs", 1.5, True])
def test_only_integers_are_written_into_the_text(value: int) -> None:
    with pytest.raises(TypeError, match="limit"):
        load_sql(PACKAGE, "some.sql", integers={"limit": value})
