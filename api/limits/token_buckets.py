"""Token buckets: in Redis for all gateways, in this process while Redis is away.

They are kept by `throttled`, as one time per bucket (GCRA, which admits exactly what a bucket of
tokens does) and by the clock of Redis.
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
# A Redis that is there answers in a millisecond; a request is not held up for longer than this.
PATIENCE_SECONDS: Final = 0.1
# While Redis is away, one request in so many seconds asks whether it is back.
PROBE_SECONDS: Final = 1.0
# Buckets kept in this process; of more tenants than that, those seen longest ago start full.
LOCAL_BUCKETS: Final = 10_000
KEY_PREFIX: Final = "infill"


class TokenBucket(NamedTuple):
    """One tenant's: it holds `per_minute` tokens, and as many come in a minute."""

    tenant_id: int
    per_minute: int


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What a bucket gave: `tokens` of those wanted; `left` in it; the `seconds` until the next."""

    tokens: int
    left: int
    seconds: float


class TokenBuckets:
    """Draws tokens; never raises for want of Redis, and hardly waits for it."""

    def __init__(self, redis: "Redis") -> None:
        self._shared = _Kept(_SharedStore(redis))
        self._local = _Kept(MemoryStore(options={"MAX_SIZE": LOCAL_BUCKETS}))
        self._redis = Availability("redis")
        self._probe_at = 0.0

    async def draw(self, bucket: TokenBucket, wanted: int) -> TokenGrant:
        """Draw `wanted` tokens, or as many as there are."""
        if self._redis.is_available or self._is_probe():
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    drawn = await self._shared.draw(bucket, wanted)
            except (BaseThrottledError, OSError) as error:
                self._probe_at = monotonic() + PROBE_SECONDS
                self._redis.mark_unavailable(error)
            else:
                self._redis.mark_available()
                return drawn
        return await self._local.draw(bucket, wanted)

    def _is_probe(self) -> bool:
        """Tell whether it is this request's turn to ask; the others go on without."""
        now = monotonic()
        if now < self._probe_at:
            return False
        self._probe_at = now + PROBE_SECONDS
        return True


class _Kept:
    """Buckets of one store, by how many tokens they hold."""

    def __init__(self, store: BaseStore) -> None:
        self._store = store
        self._limiters: dict[int, GCRARateLimiter] = {}

    async def draw(self, bucket: TokenBucket, wanted: int) -> TokenGrant:
        limiter = self._limiters.get(bucket.per_minute)
        if limiter is None:
            limiter = GCRARateLimiter(
                per_min(bucket.per_minute), self._store, key_prefix=KEY_PREFIX
            )
            self._limiters[bucket.per_minute] = limiter
        key = str(bucket.tenant_id)
        result = await limiter.limit(key, wanted)
        if result.limited and result.state.remaining:
            # Too few for all who want one: what there is goes to the first of them.
            wanted = result.state.remaining
            result = await limiter.limit(key, wanted)
        return _drawn(bucket, result, 0 if result.limited else wanted)


def _drawn(bucket: TokenBucket, result: RateLimitResult, tokens: int) -> TokenGrant:
    state = result.state
    missing = bucket.per_minute - state.remaining - 1  # when the next token will have come
    seconds = state.reset_after - missing * WINDOW_SECONDS / bucket.per_minute
    return TokenGrant(tokens, state.remaining, max(0.0, seconds))


class _SharedBackend(RedisStoreBackend):
    """The library's, over the connections we have, with their limits of time."""

    def __init__(self, redis: "Redis") -> None:
        super().__init__()
        self._redis = redis

    def get_client(self) -> AsyncRedisClientP:
        return cast("AsyncRedisClientP", self._redis)


class _SharedStore(RedisStore):
    def __init__(self, redis: "Redis") -> None:
        super().__init__()
        self._backend = _SharedBackend(redis)
