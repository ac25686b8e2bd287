"""Token buckets shared by all gateways in Redis, or local to this process if Redis is down.

The library `throttled` stores one timestamp per bucket (GCRA, equivalent to a token bucket) and
uses the clock of Redis.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from redis.asyncio import Redis
from throttled.asyncio import (
    BaseStore,
    MemoryStore,
    RateLimitResult,
    RedisStore,
    RedisStoreBackend,
    per_min,
)
from throttled.asyncio.rate_limiter import GCRARateLimiter
from throttled.exceptions import BaseThrottledError
from throttled.types import AsyncRedisClientP

from common.runtime.availability import Availability
from common.runtime.clock import monotonic

WINDOW_SECONDS: Final = 60
# A healthy Redis responds in a millisecond; a request waits no longer than this.
REDIS_TIMEOUT_SECONDS: Final = 0.1
# While Redis is unavailable, one request per this time checks whether it is back.
PROBE_SECONDS: Final = 1.0
# Buckets kept in this process; beyond it, the least recently used are dropped and start full.
LOCAL_BUCKETS: Final = 10_000
KEY_PREFIX: Final = "infill"


class TokenBucket(NamedTuple):
    """A tenant's bucket: it holds up to `per_minute` tokens and refills at that rate."""

    tenant_id: int
    per_minute: int


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """Number of `tokens` taken, number `left` in the bucket, and `seconds` until the next token."""

    tokens: int
    left: int
    seconds: float


class TokenBuckets:
    """Token buckets in Redis, with local buckets as the fallback if Redis is down or slow."""

    def __init__(self, redis: "Redis") -> None:
        self._shared = _StoredBuckets(_SharedStore(redis))
        self._local = _StoredBuckets(MemoryStore(options={"MAX_SIZE": LOCAL_BUCKETS}))
        self._redis = Availability("redis")
        self._probe_at = 0.0

    async def take(self, bucket: TokenBucket, requested: int) -> TokenGrant:
        """Take `requested` tokens from the bucket, or fewer if it does not hold enough."""
        if self._redis.is_available or self._is_probe():
            try:
                async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                    grant = await self._shared.take(bucket, requested)
            except (BaseThrottledError, OSError) as error:
                self._probe_at = monotonic() + PROBE_SECONDS
                self._redis.mark_unavailable(error)
            else:
                self._redis.mark_available()
                return grant
        return await self._local.take(bucket, requested)

    def _is_probe(self) -> bool:
        """Return whether this request should check if Redis is back; others use local buckets."""
        now = monotonic()
        if now < self._probe_at:
            return False
        self._probe_at = now + PROBE_SECONDS
        return True


class _StoredBuckets:
    """Token buckets in one store (Redis or memory), with one limiter object per rate."""

    def __init__(self, store: BaseStore) -> None:
        self._store = store
        self._limiters: dict[int, GCRARateLimiter] = {}

    async def take(self, bucket: TokenBucket, requested: int) -> TokenGrant:
        limiter = self._limiters.get(bucket.per_minute)
        if limiter is None:
            limiter = GCRARateLimiter(
                per_min(bucket.per_minute), self._store, key_prefix=KEY_PREFIX
            )
            self._limiters[bucket.per_minute] = limiter
        key = str(bucket.tenant_id)
        result = await limiter.limit(key, requested)
        if result.limited and result.state.remaining:
            # Fewer than requested: take those that are left.
            requested = result.state.remaining
            result = await limiter.limit(key, requested)
        return _to_grant(bucket, result, 0 if result.limited else requested)


def _to_grant(bucket: TokenBucket, result: RateLimitResult, tokens: int) -> TokenGrant:
    state = result.state
    missing = bucket.per_minute - state.remaining - 1  # tokens short when the next one has come
    seconds = state.reset_after - missing * WINDOW_SECONDS / bucket.per_minute
    return TokenGrant(tokens, state.remaining, max(0.0, seconds))


class _SharedBackend(RedisStoreBackend):
    """Backend of the library `throttled` that uses our Redis client and its timeouts."""

    def __init__(self, redis: "Redis") -> None:
        super().__init__()
        self._redis = redis

    def get_client(self) -> AsyncRedisClientP:
        return cast("AsyncRedisClientP", self._redis)


class _SharedStore(RedisStore):
    def __init__(self, redis: "Redis") -> None:
        super().__init__()
        self._backend = _SharedBackend(redis)
