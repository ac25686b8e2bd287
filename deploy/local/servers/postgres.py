"""PostgreSQL on this machine, from its wheel."""

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

# Given on the command line, so that data made by an earlier release follow this one's settings.
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a socket's path may have 107 characters only; TCP will do
    "max_connections": "200",
    "max_wal_size": "1GB",
    "wal_level": "minimal",  # nobody replicates from here
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",  # one process less
    "io_method": "sync",  # three processes less; the page cache is fast enough for one machine
    "jit": "off",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
# For data that nobody will miss: tests.
FORGETFUL = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """Postgres with its data in `home`/postgres; `durable` off trades safety for speed."""

    home: Path
    port: int
    password: str
    durable: bool = True

    @property
    def data(self) -> Path:
        """Where the tables are."""
        return self.home.resolve() / "postgres"

    def url(self, database: str = USER) -> str:
        """Give the address of a database, password included."""
        return f"postgresql://{USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    async def prepare(self) -> None:
        """Make the data folder if there is none, and see that the old server is gone.

        Raises:
            ConfigurationError: the data cannot be used, or the port is taken.
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
        """Describe the process; it stops by SIGINT, which ends open connections."""
        programs = find_postgres_programs()
        settings = SETTINGS | {"port": str(self.port)} | ({} if self.durable else FORGETFUL)
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
        """Tell whether it takes statements.

        Raises:
            ConfigurationError: the data were made with another password.
        """
        try:
            connection = await asyncpg.connect(self.url("postgres"), timeout=CONNECT_SECONDS)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
            return False
        except asyncpg.InvalidPasswordError as error:
            raise ConfigurationError(
                f"the data in {self.data} were made with another password: "
                "give that one, or move the folder away to start afresh"
            ) from error
        await connection.close()
        return True

    async def ensure_database(self, name: str = USER) -> None:
        """Create the database `name` where it is missing."""
        connection = await asyncpg.connect(self.url("postgres"), timeout=CONNECT_SECONDS)
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
