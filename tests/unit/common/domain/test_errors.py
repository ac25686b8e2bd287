import pytest

from common.domain.errors import pluralize


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), ("1", "1 job"), ("0.5", "0.5 jobs")],
)
def test_a_number_with_what_it_counts(number: int | str, told: str) -> None:
    assert pluralize(number, "job") == told
