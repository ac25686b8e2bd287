"""The Postgres server of the local stack, from its Python wheel."""

from dataclasses import dataclass
from pathlib import Path
from signal import Signals

import asyncpg

from common.domain.errors import ConfigurationError
from deploy.local.processes.child import Child
from deploy.local.servers.account import choose_account
from deploy.local.servers.binaries import find_postgres_programs
from deploy.local.servers.cluster import check_version, create_cluster, wait_for_release
from deploy.local.servers.ports import LOOPBACK, check_port_free

USER = "infill"
CONNECT_SECONDS = 5.0

# Passed on the command line, so that they also apply to data made before they changed.
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a socket's path is limited to 107 characters; TCP suffices
    "max_connections": "200",
    "max_wal_size": "1GB",
    "wal_level": "minimal",  # no replication
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",  # saves a process
    "io_method": "sync",  # saves three processes; the page cache is fast enough for one machine
    "jit": "off",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
# For data that may be lost, as in tests.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """Postgres with its data in `home`/postgres.

    If `durable` is false, it is faster but can lose data if the machine crashes.
    """

    home: Path
    port: int
    password: str
    durable: bool = True

    @property
    def data(self) -> Path:
        """The path of the data folder."""
        return self.home.resolve() / "postgres"

    def url(self, database: str = USER) -> str:
        """Return the URL of `database`, including the password."""
        return f"postgresql://{USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    async def prepare(self) -> None:
        """Create the data folder if it is missing, wait until no server uses it, check the port.

        Raises:
            ConfigurationError: the data is unusable, or the port is taken.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        account = choose_account(self.data, find_postgres_programs())
        if self.data.exists():
            check_version(self.data)
            await wait_for_release(self.data)
        else:
            await create_cluster(self.data, USER, self.password, account)
        check_port_free(self.port, "Postgres")

    def child(self) -> Child:
        """Return the description of the server's process.

        It is stopped with SIGINT, so that Postgres shuts down even if connections are open.
        """
        programs = find_postgres_programs()
        settings = SETTINGS | {"port": str(self.port)} | ({} if self.durable else NOT_DURABLE)
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return Child(
            name="postgres",
            command=(str(programs / "postgres"), "-D", str(self.data), *options),
            account=choose_account(self.data, programs),
            ready=self.is_ready,
            stop_signal=Signals.SIGINT,
            death_signal=Signals.SIGINT,
        )

    async def is_ready(self) -> bool:
        """Return whether the server accepts connections.

        Raises:
            ConfigurationError: the data was created with another password.
        """
        try:
            connection = await asyncpg.connect(self.url("postgres"), timeout=CONNECT_SECONDS)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
            return False
        except asyncpg.InvalidPasswordError as error:
            raise ConfigurationError(
                f"the data in {self.data} was created with another password: "
                "use that one, or move the folder away to start with an empty database"
            ) from error
        await connection.close()
        return True

    async def ensure_database(self, name: str = USER) -> None:
        """Create the database `name` if it is missing."""
        connection = await asyncpg.connect(self.url("postgres"), timeout=CONNECT_SECONDS)
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
