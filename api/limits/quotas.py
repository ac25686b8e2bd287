"""Waiting jobs and monthly credits: whether a tenant has room for one more job."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Final, NamedTuple

from api.auth.api_keys import AuthenticatedTenant
from api.errors.api_error import CreditsSpentError, OverLimitError, QueueFullError
from api.jobs.eta import EtaEstimator
from api.limits.headers import RateLimitSnapshot
from api.limits.quota_usage import ENDLESS, QuotaAmount, QuotaUsage, Reservation
from common.domain.limits import Limits
from common.domain.record import NewJob
from common.postgres.database import Database
from common.postgres.repositories.usage.ledger import month_credits
from common.postgres.repositories.usage.quotas import count_unfinished, is_repetition
from common.runtime.clock import utc_now
from common.runtime.single_flight import remember

# Tenants whose account is kept; of others it is measured anew.
ACCOUNTS: Final = 10_000
MILLIONTHS: Final = 1_000_000
# What a structured field can hold, and far more than anybody has.
LARGEST_INTEGER: Final = 10**15 - 1


class _Key(NamedTuple):
    """Changed limits begin a new account: the one before was counted no further than its own."""

    tenant_id: int
    max_queued: int
    monthly_credits: float | None


class QuotaLimiter:
    """Holds each tenant with such limits against rows that are read about once a second.

    So the way of a request has no query of ours in it. What other gateways accept is seen at the
    next reading; nobody is refused on an old one.
    """

    def __init__(self, database: Database, estimates: EtaEstimator) -> None:
        self._database = database
        self._estimates = estimates
        self._accounts: dict[_Key, QuotaUsage] = {}

    async def admit(self, caller: AuthenticatedTenant, new_job: NewJob) -> Reservation:
        """Give the room for one more job, to be taken when it has been recorded.

        Raises:
            QueueFullError: as many jobs wait as may.
            CreditsSpentError: the job would cost more than is left of the month's credits.
        """
        limits = caller.limits
        if limits.max_queued is None:
            return ENDLESS  # there is no quota of credits without it
        key = _Key(caller.tenant_id, limits.max_queued, limits.monthly_credits)
        account = self._accounts.get(key) or self._open(key)
        job = QuotaAmount(1, _millionths(new_job.request.cost))
        for to_refuse in (False, True):
            await account.measure(partial(self._read, key), to_refuse=to_refuse)
            if _has_room(limits, account.load.plus(job)):
                return account.hold(job)
        if await self._is_repetition(caller, new_job):
            return ENDLESS  # it makes no job
        raise await self._refusal(caller, new_job, account.load)

    def _open(self, key: _Key) -> QuotaUsage:
        account = QuotaUsage()
        remember(self._accounts, key, account, most=ACCOUNTS)
        return account

    async def _read(self, key: _Key) -> QuotaAmount:
        async with self._database.direct(key.tenant_id) as connection:
            # In this new_job: a job that ends in between is counted twice, and not left out.
            unfinished = await count_unfinished(connection, key.tenant_id, most=key.max_queued)
            if key.monthly_credits is None:
                return QuotaAmount(unfinished.queued)
            spent = await month_credits(connection, key.tenant_id)
        return QuotaAmount(unfinished.queued, _millionths(unfinished.cost) + _millionths(spent))

    async def _is_repetition(self, caller: AuthenticatedTenant, new_job: NewJob) -> bool:
        if new_job.idempotency_key is None:
            return False
        async with self._database.direct(caller.tenant_id) as connection:
            return await is_repetition(connection, caller.tenant_id, new_job.idempotency_key)

    async def _refusal(
        self, caller: AuthenticatedTenant, new_job: NewJob, load: QuotaAmount
    ) -> OverLimitError:
        limits = caller.limits
        quota = limits.max_queued or 0
        if load.jobs >= quota:
            seconds = await self._seconds_to_a_start(caller.tenant_id, new_job.queue)
            return QueueFullError(RateLimitSnapshot("queued", quota, 0, seconds, unit="jobs"))
        allowed = limits.monthly_credits or 0.0
        left = max(0, _millionths(allowed) - load.credits)
        standing = RateLimitSnapshot(
            "credits",
            min(int(allowed), LARGEST_INTEGER),
            min(left // MILLIONTHS, LARGEST_INTEGER),
            seconds_to_next_month(utc_now()),
            unit="credits",
        )
        cost = _spelled(_millionths(new_job.request.cost))
        return CreditsSpentError(
            standing, cost=cost, left=_spelled(left), quota=_spelled(_millionths(allowed))
        )

    async def _seconds_to_a_start(self, tenant_id: int, queue: str) -> int:
        """Estimate when one of the waiting jobs will be started: they are, one after the other."""
        waiting, seconds = await self._estimates.waiting(tenant_id, queue)
        return max(1, math.ceil(seconds / max(1, waiting)))


def _has_room(limits: Limits, load: QuotaAmount) -> bool:
    """Tell whether a load, the new job within it, is allowed."""
    if limits.max_queued is not None and load.jobs > limits.max_queued:
        return False
    quota = limits.monthly_credits
    return quota is None or load.credits <= _millionths(quota)


def seconds_to_next_month(now: datetime) -> int:
    """Give the seconds until the credits of the next month are there, a month in UTC."""
    year, month = divmod(now.year * 12 + now.month, 12)
    return math.ceil((datetime(year, month + 1, 1, tzinfo=UTC) - now).total_seconds())


def _millionths(amount: float | Decimal) -> int:
    return round(amount * MILLIONTHS)


def _spelled(millionths: int) -> str:
    return f"{millionths / MILLIONTHS:.6f}".rstrip("0").rstrip(".")
