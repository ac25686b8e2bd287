"""Rate limit: each rate-limited request takes a token from its tenant's bucket."""

import asyncio
import math
from collections.abc import Iterator
from typing import Final

from redis.asyncio import Redis

from api.auth.api_keys import AuthenticatedTenant
from api.errors.api_error import RateExceededError
from api.limits.headers import RateLimitSnapshot
from api.limits.token_buckets import WINDOW_SECONDS, TokenBucket, TokenBuckets, TokenGrant

POLICY: Final = "requests"

# Resolves to whether the request got a token, and the state of the limit after that.
PendingToken = asyncio.Future[tuple[bool, RateLimitSnapshot]]


class RateLimiter:
    """Rate limiter with token buckets in Redis; a tenant's concurrent requests share a round trip.

    Requests of a busy tenant are batched, because the round trip is the most expensive part of all
    limit checks.
    """

    def __init__(self, redis: "Redis") -> None:
        self._buckets = TokenBuckets(redis)
        self._pending: dict[TokenBucket, list[PendingToken]] = {}
        self._round_trips: dict[TokenBucket, asyncio.Task[None]] = {}

    async def take_token(self, tenant: AuthenticatedTenant) -> RateLimitSnapshot | None:
        """Take a token; return the state of the rate limit, or None if requests are unlimited.

        Raises:
            RateExceededError: the tenant's bucket is empty.
        """
        per_minute = tenant.limits.requests_per_minute
        if per_minute is None:
            return None
        allowed, rate_limit = await self._enqueue(TokenBucket(tenant.tenant_id, per_minute))
        if not allowed:
            raise RateExceededError(rate_limit)
        return rate_limit

    def _enqueue(self, bucket: TokenBucket) -> PendingToken:
        pending: PendingToken = asyncio.get_running_loop().create_future()
        self._pending.setdefault(bucket, []).append(pending)
        if bucket not in self._round_trips:
            self._round_trips[bucket] = asyncio.create_task(self._serve_pending(bucket))
        return pending

    async def _serve_pending(self, bucket: TokenBucket) -> None:
        while batch := self._pending.pop(bucket, None):
            try:
                _hand_out(bucket, batch, await self._buckets.take(bucket, len(batch)))
            except Exception as error:  # noqa: BLE001 - each request raises it
                for pending in _not_done(batch):
                    pending.set_exception(error)
        del self._round_trips[bucket]


def _hand_out(bucket: TokenBucket, batch: list[PendingToken], grant: TokenGrant) -> None:
    """Grant the tokens to the requests in the batch in order of arrival, and reject the rest."""
    seconds = max(1, math.ceil(grant.seconds))
    for index, pending in enumerate(batch):
        left = grant.left + max(0, grant.tokens - index - 1)
        rate_limit = RateLimitSnapshot(
            POLICY, bucket.per_minute, left, seconds, window=WINDOW_SECONDS
        )
        if not pending.done():
            pending.set_result((index < grant.tokens, rate_limit))


def _not_done(batch: list[PendingToken]) -> Iterator[PendingToken]:
    """Yield the requests that have not been cancelled or resolved."""
    return (pending for pending in batch if not pending.done())
