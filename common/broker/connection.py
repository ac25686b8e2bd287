"""The connection to Redis."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from common.settings import RedisSettings


def connect(settings: RedisSettings) -> "Redis":
    """Give a client; it connects when first used, and again after Redis went away.

    One immediate second try: after a restart of Redis every pooled connection is dead, and
    the first command over each would fail although Redis is back.
    """
    return Redis.from_url(
        settings.url.get_secret_value(),
        socket_timeout=settings.timeout_seconds,
        socket_connect_timeout=settings.timeout_seconds,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        protocol=2,
    )
