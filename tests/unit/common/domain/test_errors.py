import pytest

from common.domain.errors import pluralize


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), ("1", "1 job"), ("0.5", "0.5 jobs")],
)
def test_a_noun_agrees_with_its_number(number: int | str, expected: str) -> None:
    assert pluralize(number, "job") == expected
