"""The doorbell: a ring wakes a worker or a dispatcher, which then looks for work in Postgres.

A ring contains only the name of a queue. Workers receive rings through Celery: a ring is one
message in the list that Celery's Redis transport reads. It is written here without Celery's
producer, which would take a tenth of the gateway's time and cannot limit the length of the list.
All rings of a queue are equivalent, so at most `ring_limit` of them are kept. Dispatchers read a
separate list.
"""

import base64
import json
from typing import Final
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.settings import RedisSettings

TASK_NAME: Final = "infill.ring"
DISPATCHER_LIST: Final = "infill:deliveries"

# The longest wait of a blocking command, as a part of the client's timeout.
_PATIENCE: Final = 0.5
# To Redis 0 means to wait without end, and it rounds to milliseconds.
_SHORTEST_WAIT_SECONDS: Final = 0.01

_RING = """
local room = tonumber(ARGV[1]) - redis.call('LLEN', KEYS[1])
for index = 2, math.min(#ARGV, room + 1) do redis.call('LPUSH', KEYS[1], ARGV[index]) end
"""

log = structlog.get_logger(__name__)


class Doorbell:
    """Sender of rings to workers and dispatchers; a failed ring only delays work and is logged."""

    def __init__(self, redis: "Redis", settings: RedisSettings) -> None:
        self._script = redis.register_script(_RING)
        self._redis = redis
        self._limit = settings.ring_limit
        self._longest_wait = settings.timeout_seconds * _PATIENCE

    async def ring_worker(self, queue: str, times: int = 1) -> bool:
        """Wake `times` worker threads that serve `queue`; return False if Redis is down."""
        messages = [celery_message(queue, uuid4().hex) for _ in range(min(times, self._limit))]
        return await self._ring(queue, *messages)

    async def ring_worker_up_to(self, queue: str, number: int) -> None:
        """Top up the queue's list to `number` rings, to replace rings that were lost."""
        try:
            missing = min(number, self._limit) - await self._redis.llen(queue)
            if missing > 0:
                rings = [celery_message(queue, uuid4().hex) for _ in range(missing)]
                await self._redis.lpush(queue, *rings)
        except (RedisError, OSError) as error:
            log.warning("ring_lost", queue=queue, error=type(error).__name__)

    async def ring_dispatcher(self) -> bool:
        """Wake one dispatcher; return False if Redis is down."""
        return await self._ring(DISPATCHER_LIST, b"ring")

    async def wait_for_dispatcher_ring(self, seconds: float) -> bool:
        """Wait up to `seconds` for a ring and remove all rings; return whether there was one.

        The wait may be shorter, because it must end before the Redis client times out.

        Raises:
            redis.exceptions.RedisError: Redis is unavailable.
        """
        patience = max(min(seconds, self._longest_wait), _SHORTEST_WAIT_SECONDS)
        if await self._redis.blpop([DISPATCHER_LIST], timeout=patience) is None:
            return False
        await self._redis.delete(DISPATCHER_LIST)
        return True

    async def _ring(self, name: str, *messages: bytes) -> bool:
        try:
            await self._script(keys=[name], args=[self._limit, *messages])
        except (RedisError, OSError) as error:
            log.warning("ring_lost", queue=name, error=type(error).__name__)
            return False
        return True


def celery_message(queue: str, identity: str) -> bytes:
    """Return a ring for `queue` as a Celery message (task protocol 2, kombu's Redis envelope).

    `identity` must be unique among the messages in Redis.
    """
    headers = {"lang": "py", "task": TASK_NAME, "id": identity, "root_id": identity, "retries": 0}
    properties = {
        "correlation_id": identity,
        "delivery_mode": 1,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": identity,
    }
    envelope = {
        "body": base64.b64encode(json.dumps([[queue], {}, {}]).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(envelope).encode()
