import pytest

from api.body.receiving.budget import UNIT_BYTES, BodyBudget, SharedBudget
from api.errors.api_error import BodyBudgetSpentError


def held_by(budget: SharedBudget, owner: str) -> int:
    held = 0
    while budget.take(owner, 1):
        held += 1
    return held


def test_one_owner_gets_a_half_and_others_find_room() -> None:
    budget = SharedBudget(96)
    assert [held_by(budget, owner) for owner in "abcd"] == [48, 24, 12, 6]


def test_released_bytes_can_be_taken_again() -> None:
    budget = SharedBudget(10)
    assert budget.take("a", 5)
    assert not budget.take("a", 1)
    budget.release("a", 5)
    assert budget.take("a", 5)


def test_bodies_without_a_key_leave_the_half_of_the_tenants_free() -> None:
    budget = BodyBudget(16 * UNIT_BYTES)
    for number in range(20):
        reservation = budget.reserve(f"192.0.2.{number}", None)
        with pytest.raises(BodyBudgetSpentError):
            reservation.grow_to(5 * UNIT_BYTES)
        try:
            reservation.grow_to(4 * UNIT_BYTES)
        except BodyBudgetSpentError:
            assert number > 0
    budget.reserve("192.0.2.1", 1).grow_to(4 * UNIT_BYTES)
    with pytest.raises(BodyBudgetSpentError):
        budget.reserve("192.0.2.1", 1).grow_to(1)


def test_a_body_whose_key_was_found_is_charged_to_the_tenant() -> None:
    budget = BodyBudget(8 * UNIT_BYTES)
    first = budget.reserve("192.0.2.1", None)
    first.grow_to(2 * UNIT_BYTES)
    first.assign(1)
    second = budget.reserve("192.0.2.1", None)
    second.grow_to(2 * UNIT_BYTES)
    with pytest.raises(BodyBudgetSpentError):
        second.assign(1)
    first.release()
    first.release()
    budget.reserve("192.0.2.1", 1).grow_to(2 * UNIT_BYTES)


def test_each_body_is_charged_whole_units() -> None:
    budget = BodyBudget(8 * UNIT_BYTES)
    reservation = budget.reserve(None, 1)
    for size in (1, 2, UNIT_BYTES):
        reservation.grow_to(size)
    budget.reserve(None, 1).grow_to(1)
    with pytest.raises(BodyBudgetSpentError):
        budget.reserve(None, 1).grow_to(1)


@pytest.mark.parametrize(
    ("first", "second", "is_one_client"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("not:an:address", "not:an:address", True),
    ],
)
def test_an_ipv6_network_is_one_client(first: str, second: str, *, is_one_client: bool) -> None:
    budget = BodyBudget(10 * UNIT_BYTES)
    budget.reserve(first, None).grow_to(2 * UNIT_BYTES)
    reservation = budget.reserve(second, None)
    if is_one_client:
        with pytest.raises(BodyBudgetSpentError):
            reservation.grow_to(UNIT_BYTES)
    else:
        reservation.grow_to(UNIT_BYTES)
