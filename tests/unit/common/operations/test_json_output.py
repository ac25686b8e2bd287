"""JSON encoding of results."""

from dataclasses import dataclass
from decimal import Decimal

import pytest

from common.operations.json_output import encode_json
from common.operations.paging import Listed


@dataclass(frozen=True, slots=True)
class Line:
    amount: Decimal


def test_a_decimal_is_written_to_its_last_digit() -> None:
    exact = Decimal("12345678901234.000001")  # more than a float holds
    assert encode_json(Line(exact)) == b'{"amount":"12345678901234.000001"}'
    assert encode_json(Line(Decimal("1E+3"))) == b'{"amount":"1000"}'


def test_a_list_is_written_with_its_cursor() -> None:
    assert (
        encode_json(Listed([Line(Decimal(1))])) == b'{"items":[{"amount":"1"}],"next_cursor":null}'
    )
    assert encode_json(Listed([]), indented=True) == b'{\n  "items": [],\n  "next_cursor": null\n}'


def test_a_value_of_an_unknown_type_is_an_error() -> None:
    with pytest.raises(TypeError):
        encode_json(object())
