"""SQL files are split into statements where Postgres would split them."""

import pytest

from migrations.sql_files import split_statements

FUNCTION = """
-- A body; with statements of its own.
CREATE FUNCTION count_jobs() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.text := 'it''s; $1';  -- the caller's
    RETURN NEW;
END
$body$;"""
TABLE = """
CREATE TABLE words (
    word text DEFAULT '--;' NOT NULL, -- isn't it; at least
    length integer
);"""


def test_semicolons_in_bodies_strings_and_comments_end_no_statement() -> None:
    assert split_statements(f"{TABLE}{FUNCTION}\n") == [TABLE, FUNCTION]


@pytest.mark.parametrize("rest", ["SELECT 1", "-- the end;"])
def test_what_follows_the_last_semicolon_is_an_error(rest: str) -> None:
    with pytest.raises(ValueError, match="semicolon"):
        split_statements(f"{TABLE}\n{rest}\n")
