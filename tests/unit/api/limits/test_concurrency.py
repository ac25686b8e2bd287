import pytest

from api.errors.api_error import TooManyAtOnceError
from api.limits.concurrency import ConcurrencyLimiter


def test_a_tenant_has_its_own_slots() -> None:
    limiter = ConcurrencyLimiter(per_tenant=2, in_all=10)
    with limiter.slot(1), limiter.slot(1):
        with pytest.raises(TooManyAtOnceError), limiter.slot(1):
            pass
        with limiter.slot(2):
            pass
    with limiter.slot(1), limiter.slot(1):
        pass


def test_all_tenants_share_a_limit() -> None:
    limiter = ConcurrencyLimiter(per_tenant=2, in_all=3)
    with limiter.slot(1), limiter.slot(2), limiter.slot(3), pytest.raises(TooManyAtOnceError):
        limiter.slot(4).__enter__()


def test_an_error_frees_the_slot_and_no_tenant_is_remembered() -> None:
    limiter = ConcurrencyLimiter(per_tenant=1, in_all=1)
    for tenant_id in range(3):
        with pytest.raises(OSError, match="x"), limiter.slot(tenant_id):
            raise OSError("x")
    assert not limiter._running  # it would grow with every tenant
