"""The table of hostile cases is complete, and docs/security.md has its numbers."""

import re
from collections import Counter
from pathlib import Path

from tests.hostile.cases import TABLE, Where, shown

PAGE = Path(__file__).parents[4] / "docs/security.md"

# Number of cases that the specification of the guard names, by the stage that has to reject them.
# "At the hop" repeats every case of the first two stages.
DEMANDED = {Where.SUBMIT: 40, Where.CONNECT: 4, Where.CUT_OFF: 6}


def test_the_table_has_every_case_of_the_specification() -> None:
    assert Counter(case.where for case in TABLE if case.listed) == DEMANDED


def test_at_least_120_cases_are_not_of_the_specification() -> None:
    ours = [case for case in TABLE if not case.listed]
    assert len(ours) >= 120
    assert {case.where for case in ours} == set(Where)


def test_no_case_is_listed_twice() -> None:
    assert [given for given, number in Counter(c.given for c in TABLE).items() if number > 1] == []


def test_every_case_has_a_reason_and_can_be_shown() -> None:
    assert [case for case in TABLE if not case.why] == []
    assert all(len(shown(case).splitlines()) == 1 for case in TABLE)


def test_the_page_has_the_number_of_cases() -> None:
    listed = re.findall(
        r"^\| ([a-z, DNS]+) \| (\d+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    counted = {str(where): number for where, number in Counter(c.where for c in TABLE).items()}
    assert {where: int(number) for where, number in listed} == {**counted, "together": len(TABLE)}
