"""Tokens: in Redis for all gateways, in the process without Redis, and never a long wait."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from structlog.testing import capture_logs

from api.auth.api_keys import AuthenticatedTenant
from api.errors.api_error import RateExceededError
from api.limits.headers import RateLimitSnapshot
from api.limits.rates import RateLimiter
from api.limits.token_buckets import TokenBucket, TokenBuckets, TokenGrant
from common.domain.limits import Limits
from common.messaging.connection import connect
from common.runtime.clock import monotonic
from common.settings import RedisSettings
from tests.support.tcp_proxy import Proxy, proxy

BUCKET = TokenBucket(7, 10)  # a token in six seconds
KEY = "infill:v1:gcra:7"
TENANT = AuthenticatedTenant(7, Limits(requests_per_minute=10))


def client(url: str) -> "Redis":
    return connect(RedisSettings(url=SecretStr(url), timeout_seconds=30.0))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    async with client(redis_url) as opened:
        yield opened


@pytest.fixture
async def redis_proxy(redis_url: str) -> AsyncIterator[Proxy]:
    """Yield a proxy to Redis that can be stalled."""
    port = urlsplit(redis_url).port
    assert port is not None
    async with proxy(port) as opened:
        yield opened


@pytest.fixture
async def proxied_redis(redis_url: str, redis_proxy: Proxy) -> AsyncIterator["Redis"]:
    """Yield a client of Redis through the proxy."""
    port = urlsplit(redis_url).port
    async with client(redis_url.replace(str(port), str(redis_proxy.port))) as opened:
        yield opened


@pytest.fixture
async def unavailable_redis() -> AsyncIterator["Redis"]:
    async with client("redis://127.0.0.1:1/0") as opened:
        yield opened


async def age(redis: "Redis", seconds: float) -> None:
    """Make the bucket look as if it had refilled for `seconds`."""
    full_at = await redis.get(KEY)
    assert full_at is not None
    await redis.set(KEY, float(full_at) - seconds, keepttl=True)


async def test_a_bucket_holds_a_minutes_tokens_and_they_come_back_one_by_one(
    redis: "Redis",
) -> None:
    buckets = TokenBuckets(redis)
    for left in range(9, -1, -1):
        grant = await buckets.take(BUCKET, 1)
        assert (grant.tokens, grant.left) == (1, left)
        assert 4 < grant.seconds <= 6
    empty = await buckets.take(BUCKET, 1)
    assert (empty.tokens, empty.left) == (0, 0)
    assert 4 < empty.seconds <= 6
    await age(redis, 6)
    assert (await buckets.take(BUCKET, 1)).tokens == 1
    assert (await buckets.take(BUCKET, 1)).tokens == 0
    await age(redis, 13)
    assert (await buckets.take(BUCKET, 1)).left == 1


async def test_all_gateways_share_one_bucket(redis: "Redis") -> None:
    assert (await TokenBuckets(redis).take(BUCKET, 6)).tokens == 6
    assert (await TokenBuckets(redis).take(BUCKET, 4)).left == 0
    assert (await TokenBuckets(redis).take(BUCKET, 1)).tokens == 0


async def test_a_bucket_that_is_full_again_is_no_key_in_redis(redis: "Redis") -> None:
    await TokenBuckets(redis).take(BUCKET, 10)
    assert await redis.keys() == [KEY.encode()]
    assert 55 < await redis.ttl(KEY) <= 60


async def test_a_tenant_has_a_bucket_of_its_own(redis: "Redis") -> None:
    buckets = TokenBuckets(redis)
    assert (await buckets.take(BUCKET, 10)).left == 0
    assert (await buckets.take(TokenBucket(8, 10), 1)).left == 9


async def test_a_request_for_more_tokens_than_are_left_gets_all_of_them(
    redis: "Redis", unavailable_redis: "Redis"
) -> None:
    for buckets in (TokenBuckets(redis), TokenBuckets(unavailable_redis)):
        assert (await buckets.take(BUCKET, 25)).tokens == 10
        assert (await buckets.take(BUCKET, 25)).tokens == 0


async def test_concurrent_requests_share_a_round_trip_and_the_tokens_left(
    redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter, submitted = RateLimiter(redis), []
    take = limiter._buckets.take

    async def counted(bucket: TokenBucket, wanted: int) -> TokenGrant:
        submitted.append(wanted)
        return await take(bucket, wanted)

    monkeypatch.setattr(limiter._buckets, "take", counted)
    responses = await asyncio.gather(
        *(limiter.take_token(TENANT) for _ in range(13)), return_exceptions=True
    )
    assert submitted == [13]
    admitted = [response for response in responses if isinstance(response, RateLimitSnapshot)]
    assert [rate_limit.remaining for rate_limit in admitted] == list(range(9, -1, -1))
    rejected = [response for response in responses if isinstance(response, RateExceededError)]
    assert [error.rate_limit.remaining for error in rejected] == [0, 0, 0]
    assert {error.rate_limit.seconds for error in rejected} == {6}
    assert not limiter._round_trips
    assert not limiter._pending


async def test_a_cancelled_request_is_skipped(redis: "Redis") -> None:
    limiter = RateLimiter(redis)
    submitting = [asyncio.ensure_future(limiter.take_token(TENANT)) for _ in range(3)]
    await asyncio.sleep(0)
    submitting[1].cancel()
    first, third = await asyncio.gather(submitting[0], submitting[2])
    assert first is not None
    assert third is not None
    assert (first.remaining, third.remaining) == (9, 7)


async def test_an_unexpected_error_is_raised_for_every_request(
    redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = RateLimiter(redis)

    async def fail(bucket: TokenBucket, wanted: int) -> TokenGrant:
        raise LookupError(bucket, wanted)

    monkeypatch.setattr(limiter._buckets, "take", fail)
    submitting = [asyncio.ensure_future(limiter.take_token(TENANT)) for _ in range(3)]
    await asyncio.sleep(0)
    submitting[1].cancel()
    failed = await asyncio.gather(*submitting, return_exceptions=True)
    assert [type(error) for error in failed] == [LookupError, asyncio.CancelledError, LookupError]
    monkeypatch.undo()
    assert await limiter.take_token(TENANT) is not None


async def test_a_tenant_without_the_limit_costs_nothing(unavailable_redis: "Redis") -> None:
    with capture_logs() as lines:
        assert (
            await RateLimiter(unavailable_redis).take_token(AuthenticatedTenant(7, Limits()))
            is None
        )
    assert not lines


async def test_the_limit_holds_while_redis_is_unavailable(unavailable_redis: "Redis") -> None:
    limiter = RateLimiter(unavailable_redis)
    with capture_logs() as lines:
        for left in range(9, -1, -1):
            rate_limit = await limiter.take_token(TENANT)
            assert rate_limit is not None
            assert rate_limit.remaining == left
        with pytest.raises(RateExceededError) as rejected:
            await limiter.take_token(TENANT)
    assert 4 <= rejected.value.rate_limit.seconds <= 6
    assert [line["event"] for line in lines] == ["dependency_unavailable"]  # once


async def test_a_silent_redis_is_checked_once_a_second_at_most(
    proxied_redis: "Redis", redis_proxy: Proxy
) -> None:
    buckets = TokenBuckets(proxied_redis)
    assert (await buckets.take(BUCKET, 1)).left == 9
    redis_proxy.stall()
    with capture_logs() as lines:
        # Redis has 30 s by its own setting; nothing here waits for it so long.
        async with asyncio.timeout(10):
            await buckets.take(BUCKET, 1)
            until = buckets._probe_at
            for _ in range(5):
                await buckets.take(BUCKET, 1)
            assert buckets._probe_at == until  # it was not asked again
            buckets._probe_at = monotonic() - 1
            assert (await buckets.take(BUCKET, 1)).tokens == 1
            assert buckets._probe_at > until
        redis_proxy.resume()
        buckets._probe_at = monotonic() - 1
        # A late response to an earlier command is not taken for the response to this one.
        assert (await buckets.take(BUCKET, 1)).left >= 6
        assert (await buckets.take(BUCKET, 1)).left >= 5
    assert [line["event"] for line in lines] == ["dependency_unavailable", "dependency_available"]


async def test_other_requests_do_not_wait_for_the_check_of_redis(
    proxied_redis: "Redis", redis_proxy: Proxy
) -> None:
    buckets = TokenBuckets(proxied_redis)
    redis_proxy.stall()
    await buckets.take(BUCKET, 1)
    buckets._probe_at = monotonic() - 1
    probe = asyncio.create_task(buckets.take(BUCKET, 1))
    await asyncio.sleep(0)
    assert (await buckets.take(BUCKET, 1)).tokens == 1
    assert not probe.done()
    assert (await probe).tokens == 1


async def test_an_emptied_redis_is_used_at_once(redis: "Redis") -> None:
    buckets = TokenBuckets(redis)
    await buckets.take(BUCKET, 10)
    await redis.flushall()
    await redis.script_flush()
    assert (await buckets.take(BUCKET, 1)).left == 9


async def test_a_redis_that_rejects_writes_counts_as_unavailable(redis: "Redis") -> None:
    await redis.set(KEY, "nonsense")
    assert (await TokenBuckets(redis).take(BUCKET, 1)).left == 9
