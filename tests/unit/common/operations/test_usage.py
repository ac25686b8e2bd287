"""The report as a table that programs and spreadsheets read."""

import csv
from datetime import date
from decimal import Decimal
from io import StringIO

import pytest

from common.operations.usage import UsageLine, to_csv

HEADER = "tenant,day,model,jobs,images,megapixel_steps,gpu_milliseconds,flagged_images"


def line(*, tenant: str = "alice", model: str = "sd15", used: str = "20.480000") -> UsageLine:
    return UsageLine(tenant, date(2026, 5, 4), model, 3, 6, Decimal(used), 1910, 2)


def read(written: str) -> list[list[str]]:
    return list(csv.reader(StringIO(written, newline="")))


def test_an_empty_report_has_its_header() -> None:
    assert to_csv([]) == f"{HEADER}\r\n"


def test_a_line_is_written_in_the_order_of_the_header() -> None:
    assert to_csv([line()]) == f"{HEADER}\r\nalice,2026-05-04,sd15,3,6,20.480000,1910,2\r\n"


@pytest.mark.parametrize("used", ["0.000001", "99999999999999.999999", "0E-6"])
def test_numbers_have_no_exponent(used: str) -> None:
    (_, row) = read(to_csv([line(used=used)]))
    assert "E" not in row[5]
    assert Decimal(row[5]) == Decimal(used)


@pytest.mark.parametrize(
    "model", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\n=1", "\uff1d1+1"]
)
def test_no_text_can_begin_a_formula(model: str) -> None:
    (_, row) = read(to_csv([line(tenant=model, model=model)]))
    assert row[0] == row[2]
    assert row[0].startswith("'")
    assert row[0].endswith("1") or row[0].endswith(")")


@pytest.mark.parametrize("model", ["a-b", "org/model@main", 'a "b", c', "two\nlines", "a\rb"])
def test_other_texts_are_written_unchanged(model: str) -> None:
    (_, row) = read(to_csv([line(model=model)]))
    assert row[2] == model
