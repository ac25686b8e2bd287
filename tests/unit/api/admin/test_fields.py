"""Whole numbers written with a fraction of zero, and the documented limits."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from api.admin.fields import LimitsObject
from api.admin.jobs import Priority
from common.domain.limits import NAMES


def test_whole_numbers_may_be_written_with_a_fraction_of_zero() -> None:
    priority = Priority.model_validate_json('{"priority": 5.0}').priority
    assert (priority, type(priority)) == (5, int)
    limits = TypeAdapter(LimitsObject).validate_json('{"max_running": 4.0, "weight": 0.5}')
    assert limits == {"max_running": 4, "weight": 0.5}
    assert [type(value) for value in limits.values()] == [int, float]


@pytest.mark.parametrize("value", ["5.5", '"5"', "true", "1e999"])
def test_other_values_are_no_priorities(value: str) -> None:
    with pytest.raises(ValidationError):
        Priority.model_validate_json(f'{{"priority": {value}}}')


def test_every_limit_is_documented() -> None:
    schema: dict[str, Any] = TypeAdapter(LimitsObject).json_schema()
    assert set(schema["properties"]) == NAMES
