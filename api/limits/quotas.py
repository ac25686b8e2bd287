"""Quotas for waiting jobs and monthly credits, checked before a job is recorded."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Final

from api.auth.api_keys import AuthenticatedTenant
from api.errors.api_error import CreditsSpentError, OverLimitError, QueueFullError
from api.jobs.eta import EtaEstimator
from api.limits.headers import RateLimitSnapshot
from api.limits.quota_usage import (
    UNLIMITED,
    Measurement,
    QuotaAmount,
    QuotaScope,
    QuotaUsage,
    Reservation,
)
from common.domain.limits import Limits
from common.domain.record import NewJob
from common.postgres.database import Database
from common.postgres.repositories.usage.ledger import read_month_credits
from common.postgres.repositories.usage.quotas import count_unfinished, is_idempotency_key_used
from common.runtime.clock import utc_now
from common.runtime.single_flight import Reading, SingleFlightCache, put_bounded

# Number of tenants whose usage is kept in memory; the usage of others is measured again.
KEPT_USAGES: Final = 10_000
# Parts of a measurement's time to live: an older one may accept a job, but not reject it.
TO_ACCEPT: Final = 1.0
TO_REJECT: Final = 0.1
MILLIONTHS: Final = 1_000_000
# The largest integer of a structured field (RFC 9651), and far more than any quota.
LARGEST_INTEGER: Final = 10**15 - 1


class QuotaLimiter:
    """Limiter that checks each tenant's quotas against its usage, measured about once a second.

    Most requests are therefore checked without a query. Jobs accepted by other gateways are
    included from the next measurement on. A job is rejected only on the basis of a recent
    measurement.
    """

    def __init__(self, database: Database, eta_estimator: EtaEstimator) -> None:
        self._database = database
        self._eta_estimator = eta_estimator
        self._usages: dict[QuotaScope, QuotaUsage] = {}
        self._measurements = SingleFlightCache(self._measure, capacity=KEPT_USAGES)

    async def reserve(self, tenant: AuthenticatedTenant, new_job: NewJob) -> Reservation:
        """Reserve a waiting job and its credits; call `keep` on the result after recording the job.

        Raises:
            QueueFullError: the tenant's limit of waiting jobs has been reached.
            CreditsSpentError: the job would cost more credits than the tenant has left this month.
        """
        limits = tenant.limits
        if limits.max_queued is None:
            return UNLIMITED  # a quota of credits requires one of waiting jobs
        usage = self._find_usage(
            QuotaScope(tenant.tenant_id, limits.max_queued, limits.monthly_credits)
        )
        job = QuotaAmount(1, _to_millionths(new_job.request.cost))
        for max_age in (TO_ACCEPT, TO_REJECT):
            measurement = (await self._measurements.get(usage, max_age=max_age)).value
            if _is_within(limits, usage.total(measurement).plus(job)):
                return usage.reserve(job)
        if await self._is_repetition(new_job):
            return UNLIMITED  # it makes no job
        raise await self._to_error(tenant, new_job, usage.total(measurement))

    def _find_usage(self, scope: QuotaScope) -> QuotaUsage:
        usage = self._usages.get(scope)
        if usage is None:
            usage = QuotaUsage(scope)
            put_bounded(self._usages, scope, usage, capacity=KEPT_USAGES)
        return usage

    async def _measure(self, usage: QuotaUsage) -> Reading[Measurement]:
        return await usage.measure(partial(self._read_amount, usage.scope))

    async def _read_amount(self, scope: QuotaScope) -> QuotaAmount:
        async with self._database.direct(scope.tenant_id) as connection:
            # In this order, a job that ends in between is counted twice, and never left out.
            unfinished = await count_unfinished(connection, scope.tenant_id, limit=scope.max_queued)
            if scope.monthly_credits is None:
                return QuotaAmount(unfinished.queued)
            spent = await read_month_credits(connection, scope.tenant_id)
        return QuotaAmount(
            unfinished.queued, _to_millionths(unfinished.cost) + _to_millionths(spent)
        )

    async def _is_repetition(self, new_job: NewJob) -> bool:
        if new_job.idempotency_key is None:
            return False
        async with self._database.direct(new_job.tenant_id) as connection:
            return await is_idempotency_key_used(
                connection, new_job.tenant_id, new_job.idempotency_key
            )

    async def _to_error(
        self, tenant: AuthenticatedTenant, new_job: NewJob, usage: QuotaAmount
    ) -> OverLimitError:
        limits = tenant.limits
        max_queued = limits.max_queued or 0
        if usage.jobs >= max_queued:
            seconds = await self._seconds_to_next_start(tenant.tenant_id, new_job.queue)
            return QueueFullError(RateLimitSnapshot("queued", max_queued, 0, seconds, unit="jobs"))
        allowed = limits.monthly_credits or 0.0
        left = max(0, _to_millionths(allowed) - usage.credits)
        rate_limit = RateLimitSnapshot(
            "credits",
            min(int(allowed), LARGEST_INTEGER),
            min(left // MILLIONTHS, LARGEST_INTEGER),
            seconds_to_next_month(utc_now()),
            unit="credits",
        )
        return CreditsSpentError(
            rate_limit,
            cost=_decimal_text(_to_millionths(new_job.request.cost)),
            left=_decimal_text(left),
            quota=_decimal_text(_to_millionths(allowed)),
        )

    async def _seconds_to_next_start(self, tenant_id: int, queue: str) -> int:
        """Estimate the seconds until the tenant's next job starts, if starts are evenly spaced."""
        waiting, seconds = await self._eta_estimator.estimate_backlog(tenant_id, queue)
        return max(1, math.ceil(seconds / max(1, waiting)))


def _is_within(limits: Limits, amount: QuotaAmount) -> bool:
    """Return whether `amount`, the usage including the new job, is within the limits."""
    if limits.max_queued is not None and amount.jobs > limits.max_queued:
        return False
    allowed = limits.monthly_credits
    return allowed is None or amount.credits <= _to_millionths(allowed)


def seconds_to_next_month(now: datetime) -> int:
    """Return the seconds from `now` until the next month begins in UTC, rounded up."""
    year, month = divmod(now.year * 12 + now.month, 12)
    return math.ceil((datetime(year, month + 1, 1, tzinfo=UTC) - now).total_seconds())


def _to_millionths(amount: float | Decimal) -> int:
    return round(amount * MILLIONTHS)


def _decimal_text(millionths: int) -> str:
    return f"{millionths / MILLIONTHS:.6f}".rstrip("0").rstrip(".")
