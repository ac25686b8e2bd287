"""Limit of concurrent slow requests, per tenant and in all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api.errors.api_error import TooManyAtOnceError


class ConcurrencyLimiter:
    """Limits requests that are slow by nature, in this gateway process alone."""

    def __init__(self, *, per_tenant: int, in_all: int) -> None:
        self._per_tenant = per_tenant
        self._in_all = in_all
        self._running: Counter[int] = Counter()

    @contextmanager
    def slot(self, tenant_id: int) -> Iterator[None]:
        """Hold a slot while the block runs.

        Raises:
            TooManyAtOnceError: no slot is free, of the tenant's or of all.
        """
        if self._running[tenant_id] >= self._per_tenant or self._running.total() >= self._in_all:
            raise TooManyAtOnceError(per_tenant=self._per_tenant, in_all=self._in_all)
        self._running[tenant_id] += 1
        try:
            yield
        finally:
            self._running[tenant_id] -= 1
            if not self._running[tenant_id]:
                del self._running[tenant_id]  # or it would grow with every tenant
