"""Turns: so many things of one tenant, and of all together, are under way at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api.errors.api_error import TooManyAtOnceError


class ConcurrencyLimiter:
    """For requests that take long by their nature; each gateway has its own."""

    def __init__(self, *, of_a_tenant: int, of_all: int) -> None:
        self._of_a_tenant = of_a_tenant
        self._of_all = of_all
        self._taken: Counter[int] = Counter()

    @contextmanager
    def take(self, tenant_id: int) -> Iterator[None]:
        """Have a turn while the block lasts.

        Raises:
            TooManyAtOnceError: there is none.
        """
        if self._taken[tenant_id] >= self._of_a_tenant or self._taken.total() >= self._of_all:
            raise TooManyAtOnceError
        self._taken[tenant_id] += 1
        try:
            yield
        finally:
            self._taken[tenant_id] -= 1
            if not self._taken[tenant_id]:
                del self._taken[tenant_id]
