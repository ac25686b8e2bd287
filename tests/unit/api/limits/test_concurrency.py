import pytest

from api.errors.api_error import TooManyAtOnceError
from api.limits.concurrency import ConcurrencyLimiter


def test_one_tenant_has_so_many_and_leaves_others_theirs() -> None:
    turns = ConcurrencyLimiter(of_a_tenant=2, of_all=10)
    with turns.take(1), turns.take(1):
        with pytest.raises(TooManyAtOnceError), turns.take(1):
            pass
        with turns.take(2):
            pass
    with turns.take(1), turns.take(1):
        pass


def test_all_together_have_so_many() -> None:
    turns = ConcurrencyLimiter(of_a_tenant=2, of_all=3)
    with turns.take(1), turns.take(2), turns.take(3), pytest.raises(TooManyAtOnceError):
        turns.take(4).__enter__()


def test_who_fails_gives_the_turn_back_and_nobody_is_remembered() -> None:
    turns = ConcurrencyLimiter(of_a_tenant=1, of_all=1)
    for tenant_id in range(3):
        with pytest.raises(OSError, match="x"), turns.take(tenant_id):
            raise OSError("x")
    assert not turns._taken  # it would grow with every tenant
