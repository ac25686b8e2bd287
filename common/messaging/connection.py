"""The connection pool to Redis."""

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from common.settings import RedisSettings

# Per process: our commands take a fraction of a millisecond, so a few connections serve many.
CONNECTIONS: Final = 20


def connect(settings: RedisSettings) -> "Redis":
    """Return a client that connects when first used, and again after Redis was unavailable.

    A failed command is retried once, at once: after a restart of Redis every pooled connection is
    dead, and the first command over each would fail although Redis is back. When all connections
    are in use a command waits for one: to fail at once would lose rings under load.
    """
    pool = BlockingConnectionPool.from_url(
        settings.url.get_secret_value(),
        socket_timeout=settings.timeout_seconds,
        socket_connect_timeout=settings.timeout_seconds,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        protocol=2,
        max_connections=CONNECTIONS,
        timeout=settings.timeout_seconds,
    )
    return Redis.from_pool(pool)
