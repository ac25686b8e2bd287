"""The Redis server of the local stack, from its Python wheel."""

from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.processes.child import Child
from deploy.local.servers.binaries import find_redis_server
from deploy.local.servers.ports import LOOPBACK, check_port_free

RESPONSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class RedisServer:
    """Redis without persistence, because all permanent data is in Postgres."""

    home: Path
    port: int

    def url(self, number: int = 0) -> str:
        """Return the URL of the Redis database `number` (0 to 15)."""
        return f"redis://{LOOPBACK}:{self.port}/{number}"

    async def prepare(self) -> None:
        """Create the server's folder, and check that its port is free.

        Raises:
            ConfigurationError: the port is taken.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        check_port_free(self.port, "Redis")

    def child(self) -> Child:
        """Return the description of the server's process."""
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(self._directory),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "logfile": "",  # standard output
        }
        options = [word for key, value in settings.items() for word in (f"--{key}", value)]
        return Child(
            name="redis",
            command=(str(find_redis_server()), *options),
            directory=self._directory,
            ready=self.is_ready,
        )

    async def is_ready(self) -> bool:
        """Return whether the server accepts commands."""
        async with Redis.from_url(self.url(), socket_timeout=RESPONSE_SECONDS) as client:
            try:
                return bool(await client.ping())
            except (RedisError, OSError):
                return False

    @property
    def _directory(self) -> Path:
        return self.home.resolve() / "redis"
