"""Limit on concurrent slow requests, per tenant and in total."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api.errors.api_error import TooManyAtOnceError


class ConcurrencyLimiter:
    """Limiter of concurrent slow requests within this gateway process, per tenant and in total."""

    def __init__(self, *, per_tenant: int, in_all: int) -> None:
        self._per_tenant = per_tenant
        self._in_all = in_all
        self._running: Counter[int] = Counter()

    @contextmanager
    def slot(self, tenant_id: int) -> Iterator[None]:
        """Occupy one of the tenant's slots for slow requests while the `with` block runs.

        Raises:
            TooManyAtOnceError: the tenant's limit or the process-wide limit has been reached.
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
