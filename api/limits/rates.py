"""Requests per minute: one token for every request that is to make a job."""

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

Answer = asyncio.Future[tuple[bool, RateLimitSnapshot]]


class RateLimiter:
    """Takes tokens; requests of one tenant that come at once take theirs together.

    The exchange with Redis costs the gateway more than all else about limits: this way a busy
    tenant's many requests share it.
    """

    def __init__(self, redis: "Redis") -> None:
        self._buckets = TokenBuckets(redis)
        self._waiting: dict[TokenBucket, list[Answer]] = {}
        self._drawing: dict[TokenBucket, asyncio.Task[None]] = {}

    async def admit(self, caller: AuthenticatedTenant) -> RateLimitSnapshot | None:
        """Take a token, and tell how many are left; None for a tenant without such a limit.

        Raises:
            RateExceededError: there is no token.
        """
        per_minute = caller.limits.requests_per_minute
        if per_minute is None:
            return None
        allowed, standing = await self._take(TokenBucket(caller.tenant_id, per_minute))
        if not allowed:
            raise RateExceededError(standing)
        return standing

    def _take(self, bucket: TokenBucket) -> Answer:
        answer: Answer = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(bucket, []).append(answer)
        if bucket not in self._drawing:
            self._drawing[bucket] = asyncio.create_task(self._draw_for_all(bucket))
        return answer

    async def _draw_for_all(self, bucket: TokenBucket) -> None:
        while answers := self._waiting.pop(bucket, None):
            try:
                _answer(bucket, answers, await self._buckets.draw(bucket, len(answers)))
            except Exception as error:  # noqa: BLE001 - it is each request's own to tell
                for answer in _unanswered(answers):
                    answer.set_exception(error)
        del self._drawing[bucket]


def _answer(bucket: TokenBucket, answers: list[Answer], drawn: TokenGrant) -> None:
    """Give the tokens to those who came first."""
    seconds = max(1, math.ceil(drawn.seconds))
    for index, answer in enumerate(answers):
        left = drawn.left + max(0, drawn.tokens - index - 1)
        standing = RateLimitSnapshot(
            POLICY, bucket.per_minute, left, seconds, window=WINDOW_SECONDS
        )
        if not answer.done():
            answer.set_result((index < drawn.tokens, standing))


def _unanswered(answers: list[Answer]) -> Iterator[Answer]:
    """Pass over those whose request was given up meanwhile."""
    return (answer for answer in answers if not answer.done())
