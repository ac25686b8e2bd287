"""Tokens: in Redis for all gateways, in the process while Redis is away, and never a long wait."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from structlog.testing import capture_logs

from api.auth.api_keys import AuthenticatedTenant
from api.errors.api_errors import RateExceededError
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
CALLER = AuthenticatedTenant(7, Limits(requests_per_minute=10))


def client(url: str) -> "Redis":
    return connect(RedisSettings(url=SecretStr(url), timeout_seconds=30.0))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    async with client(redis_url) as opened:
        yield opened


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Proxy]:
    """A way to Redis that can stall."""
    port = urlsplit(redis_url).port
    assert port is not None
    async with proxy(port) as opened:
        yield opened


@pytest.fixture
async def far(redis_url: str, line: Proxy) -> AsyncIterator["Redis"]:
    """Redis at the other end of that line."""
    port = urlsplit(redis_url).port
    async with client(redis_url.replace(str(port), str(line.port))) as opened:
        yield opened


@pytest.fixture
async def nowhere() -> AsyncIterator["Redis"]:
    async with client("redis://127.0.0.1:1/0") as opened:
        yield opened


async def age(redis: "Redis", seconds: float) -> None:
    """Let the bucket refill for a while."""
    full_at = await redis.get(KEY)
    assert full_at is not None
    await redis.set(KEY, float(full_at) - seconds, keepttl=True)


async def test_a_bucket_holds_a_minutes_tokens_and_they_come_back_one_by_one(
    redis: "Redis",
) -> None:
    buckets = TokenBuckets(redis)
    for left in range(9, -1, -1):
        drawn = await buckets.draw(BUCKET, 1)
        assert (drawn.tokens, drawn.left) == (1, left)
        assert 4 < drawn.seconds <= 6
    empty = await buckets.draw(BUCKET, 1)
    assert (empty.tokens, empty.left) == (0, 0)
    assert 4 < empty.seconds <= 6
    await age(redis, 6)
    assert (await buckets.draw(BUCKET, 1)).tokens == 1
    assert (await buckets.draw(BUCKET, 1)).tokens == 0
    await age(redis, 13)
    assert (await buckets.draw(BUCKET, 1)).left == 1


async def test_all_gateways_draw_from_one_bucket(redis: "Redis") -> None:
    assert (await TokenBuckets(redis).draw(BUCKET, 6)).tokens == 6
    assert (await TokenBuckets(redis).draw(BUCKET, 4)).left == 0
    assert (await TokenBuckets(redis).draw(BUCKET, 1)).tokens == 0


async def test_a_bucket_that_is_full_again_is_no_key_in_redis(redis: "Redis") -> None:
    await TokenBuckets(redis).draw(BUCKET, 10)
    assert await redis.keys() == [KEY.encode()]
    assert 55 < await redis.ttl(KEY) <= 60


async def test_a_tenant_has_a_bucket_of_its_own(redis: "Redis") -> None:
    buckets = TokenBuckets(redis)
    assert (await buckets.draw(BUCKET, 10)).left == 0
    assert (await buckets.draw(TokenBucket(8, 10), 1)).left == 9


async def test_of_too_few_tokens_all_are_given(redis: "Redis", nowhere: "Redis") -> None:
    for buckets in (TokenBuckets(redis), TokenBuckets(nowhere)):
        assert (await buckets.draw(BUCKET, 25)).tokens == 10
        assert (await buckets.draw(BUCKET, 25)).tokens == 0


async def test_requests_at_once_share_an_exchange_and_get_what_there_is(
    redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, asked = RateLimiter(redis), []
    draw = rates._buckets.draw

    async def counted(bucket: TokenBucket, wanted: int) -> TokenGrant:
        asked.append(wanted)
        return await draw(bucket, wanted)

    monkeypatch.setattr(rates._buckets, "draw", counted)
    answers = await asyncio.gather(
        *(rates.admit(CALLER) for _ in range(13)), return_exceptions=True
    )
    assert asked == [13]
    admitted = [answer for answer in answers if isinstance(answer, RateLimitSnapshot)]
    assert [standing.remaining for standing in admitted] == list(range(9, -1, -1))
    refused = [answer for answer in answers if isinstance(answer, RateExceededError)]
    assert [error.standing.remaining for error in refused] == [0, 0, 0]
    assert {error.standing.seconds for error in refused} == {6}
    assert not rates._drawing
    assert not rates._waiting


async def test_one_who_hangs_up_is_passed_over(redis: "Redis") -> None:
    rates = RateLimiter(redis)
    asking = [asyncio.ensure_future(rates.admit(CALLER)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[1].cancel()
    first, third = await asyncio.gather(asking[0], asking[2])
    assert first is not None
    assert third is not None
    assert (first.remaining, third.remaining) == (9, 7)


async def test_a_mistake_of_ours_is_each_requests_own(
    redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = RateLimiter(redis)

    async def fail(bucket: TokenBucket, wanted: int) -> TokenGrant:
        raise LookupError(bucket, wanted)

    monkeypatch.setattr(rates._buckets, "draw", fail)
    asking = [asyncio.ensure_future(rates.admit(CALLER)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[1].cancel()
    failed = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(error) for error in failed] == [LookupError, asyncio.CancelledError, LookupError]
    monkeypatch.undo()
    assert await rates.admit(CALLER) is not None


async def test_a_tenant_without_the_limit_costs_nothing(nowhere: "Redis") -> None:
    with capture_logs() as lines:
        assert await RateLimiter(nowhere).admit(AuthenticatedTenant(7, Limits())) is None
    assert not lines


async def test_redis_away_is_no_outage_and_no_end_of_the_limit(nowhere: "Redis") -> None:
    rates = RateLimiter(nowhere)
    with capture_logs() as lines:
        for left in range(9, -1, -1):
            standing = await rates.admit(CALLER)
            assert standing is not None
            assert standing.remaining == left
        with pytest.raises(RateExceededError) as refused:
            await rates.admit(CALLER)
    assert 4 <= refused.value.standing.seconds <= 6
    assert [line["event"] for line in lines] == ["dependency_unavailable"]  # once


async def test_a_silent_redis_is_waited_for_once_a_second_at_most(
    far: "Redis", line: Proxy
) -> None:
    buckets = TokenBuckets(far)
    assert (await buckets.draw(BUCKET, 1)).left == 9
    line.stall()
    with capture_logs() as lines:
        # Redis has 30 s by its own setting; nothing here waits for it so long.
        async with asyncio.timeout(10):
            await buckets.draw(BUCKET, 1)
            until = buckets._probe_at
            for _ in range(5):
                await buckets.draw(BUCKET, 1)
            assert buckets._probe_at == until  # it was not asked again
            buckets._probe_at = monotonic() - 1
            assert (await buckets.draw(BUCKET, 1)).tokens == 1
            assert buckets._probe_at > until
        line.resume()
        buckets._probe_at = monotonic() - 1
        # What had been said before the silence ended is not taken for the answer.
        assert (await buckets.draw(BUCKET, 1)).left >= 6
        assert (await buckets.draw(BUCKET, 1)).left >= 5
    assert [line["event"] for line in lines] == ["dependency_unavailable", "dependency_available"]


async def test_while_one_asks_whether_redis_is_back_the_others_go_on(
    far: "Redis", line: Proxy
) -> None:
    buckets = TokenBuckets(far)
    line.stall()
    await buckets.draw(BUCKET, 1)
    buckets._probe_at = monotonic() - 1
    probe = asyncio.create_task(buckets.draw(BUCKET, 1))
    await asyncio.sleep(0)
    assert (await buckets.draw(BUCKET, 1)).tokens == 1
    assert not probe.done()
    assert (await probe).tokens == 1


async def test_a_redis_that_forgot_everything_goes_on_at_once(redis: "Redis") -> None:
    buckets = TokenBuckets(redis)
    await buckets.draw(BUCKET, 10)
    await redis.flushall()
    await redis.script_flush()
    assert (await buckets.draw(BUCKET, 1)).left == 9


async def test_a_redis_that_takes_no_writes_counts_as_away(redis: "Redis") -> None:
    await redis.set(KEY, "nonsense")
    assert (await TokenBuckets(redis).draw(BUCKET, 1)).left == 9
