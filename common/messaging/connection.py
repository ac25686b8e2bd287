"""Create the pooled Redis client of a process."""

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from common.settings import RedisSettings

# Per process: our commands take a fraction of a millisecond, so a few connections serve many.
CONNECTIONS: Final = 20
# After these errors the connection is closed. An error response may mean that a failover has made
# another server the primary, which only a new connection reaches, because it resolves the address
# again. The error's type does not show this: Redis 6 reports READONLY from a script without a code.
DISCONNECTING_ERRORS: Final = (RedisConnectionError, ResponseError)


def connect(settings: RedisSettings) -> "Redis":
    """Return a Redis client that connects at first use, and reconnects after an outage.

    A command that fails is retried once, immediately, because after a restart or failover of Redis
    every pooled connection is broken and the first command on each of them fails. If all
    connections are in use, a command waits for a free one, because rings would be lost under load
    if it failed at once.
    """
    pool = BlockingConnectionPool.from_url(
        settings.url.get_secret_value(),
        **settings.tls_options,
        socket_timeout=settings.timeout_seconds,
        socket_connect_timeout=settings.timeout_seconds,
        retry=Retry(NoBackoff(), 1, supported_errors=DISCONNECTING_ERRORS),
        protocol=2,
        max_connections=CONNECTIONS,
        timeout=settings.timeout_seconds,
    )
    return Redis.from_pool(pool)
