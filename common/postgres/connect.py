"""Open connections to Postgres, and prove that their sessions are as the statements need them.

Everything that a session needs is set by one batch of statements after the connection is open, not
by startup parameters, which PgBouncer rejects.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import asyncpg
import structlog
from asyncpg.exceptions import (
    DuplicatePreparedStatementError,
    InsufficientPrivilegeError,
    InvalidParameterValueError,
    InvalidSQLStatementNameError,
    RaiseError,
    TargetServerAttributeNotMatched,
)

from common.postgres.errors import PostgresRejectedError
from common.settings import DatabaseSettings
from common.settings.postgres_url import PostgresUrl, parse_postgres_url

DriverConnection: TypeAlias = "asyncpg.Connection[Any]"

SECONDS_TO_MILLISECONDS: Final = 1000
# Longest time in which an available server accepts a connection and runs a trivial statement.
MAX_PROBE_SECONDS: Final = 2.0

# Whatever the defaults of the database and of the account are.
SESSION: Final[Mapping[str, str]] = {
    # Our statements are small: compiling them takes longer than running them.
    "jit": "off",
    # The statements lock the rows that they change; stricter levels would only add failures.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "row_security": "on",
}
# The table does not exist before the first migration; there is nothing to protect then.
PROOF: Final = """
DO $$ BEGIN
    IF current_user <> {role}
        OR (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
        OR NOT coalesce(row_security_active(to_regclass('jobs')), true)
    THEN
        RAISE 'row-level security is not in force';
    END IF;
END $$
"""
BACKEND: Final = "SELECT pg_backend_pid()"
# Attempts to see a pooler use another server connection for the same client connection.
POOLER_ROUNDS: Final = 3

# Errors of Postgres if the role does not exist, or the account may not assume it.
ROLE_REJECTED: Final = (InvalidParameterValueError, InsufficientPrivilegeError)
ROLE_HINT: Final = "run `infill migrate`, and GRANT infill_gateway TO the account that logs in"
UNPROTECTED: Final = (
    "row-level security is not in force for the role {role}: it must not be a superuser, own "
    "tables or have BYPASSRLS"
)
POOLER_REJECTED: Final = (
    "the pooler in front of Postgres assigns server connections per transaction, which would mix "
    "up the sessions of tenants: set `pool_mode = session` for this database, or let "
    "INFILL_DATABASE_URL name Postgres itself"
)
# A prepared statement is missing or exists twice if the pooler has changed the server connection.
SESSION_LOST: Final = (DuplicatePreparedStatementError, InvalidSQLStatementNameError)
# The end of PgBouncer's error message for BEGIN, if it assigns connections per statement.
STATEMENT_MODE: Final = "statement pooling mode"

log = structlog.get_logger(__name__)


class Connector:
    """Opens connections to the configured server, the first of its hosts that accepts them."""

    def __init__(
        self, settings: DatabaseSettings, *, application: str, role: str | None = None
    ) -> None:
        """Prepare the parameters of all connections; see `Database` for the meaning of these."""
        url = parse_postgres_url(settings.url.get_secret_value())
        # Also without a time-out in the URL: an unlimited wait would occupy the pool forever.
        timeout = url.connect_timeout or settings.connect_timeout_seconds
        self._hosts = list(url.hosts)
        self._host_seconds = timeout if len(url.hosts) == 1 else min(timeout, MAX_PROBE_SECONDS)
        self.probe_seconds = min(timeout, MAX_PROBE_SECONDS * len(url.hosts))
        self._arguments = _driver_arguments(url, application) | {
            # The server cancels a slow statement; this ends the wait for a silent server.
            "command_timeout": settings.statement_timeout_seconds * 2,
        }
        timeout_ms = int(settings.statement_timeout_seconds * SECONDS_TO_MILLISECONDS)
        self._prepare_session = _session_script(timeout_ms, role)
        self._role = role
        self._keeps_sessions = False
        self.rejection: str | None = None

    async def connect(self) -> DriverConnection:
        """Return a new connection with its session prepared.

        Raises:
            PostgresRejectedError: a pooler does not keep sessions, or row-level security cannot be
                put in force; `rejection` is then the same text, until a connection succeeds.
        """
        connection = await self._open()
        try:
            if not self._keeps_sessions:
                await self._require_sessions(connection)
            await self._prepare(connection)
        except PostgresRejectedError as error:
            connection.terminate()
            self._reject(str(error))
            raise
        except BaseException:
            connection.terminate()
            raise
        self.rejection = None
        return connection

    async def _prepare(self, connection: DriverConnection) -> None:
        try:
            await connection.execute(self._prepare_session)
        except ROLE_REJECTED as error:
            raise PostgresRejectedError(f"{error}: {ROLE_HINT}") from error
        except RaiseError as error:
            raise PostgresRejectedError(UNPROTECTED.format(role=self._role)) from error

    def _reject(self, reason: str) -> None:
        # The watchdog tries again twice a second; the reason is logged once.
        if self.rejection != reason:
            self.rejection = reason
            log.error("database_rejected", reason=reason)

    async def _open(self) -> DriverConnection:
        """Return a connection to the first host that accepts it; begin with the one used last."""
        last_error: Exception | None = None
        for host, port in list(self._hosts):
            try:
                connection = await asyncpg.connect(
                    host=host, port=port, timeout=self._host_seconds, **self._arguments
                )
            except (
                OSError,
                TargetServerAttributeNotMatched,
                asyncpg.CannotConnectNowError,
            ) as error:
                last_error = last_error or error
            else:
                self._hosts.remove((host, port))
                self._hosts.insert(0, (host, port))
                return connection
        raise last_error or ConnectionError("no host is configured")

    async def _require_sessions(self, connection: DriverConnection) -> None:
        try:
            if await self._loses_session(connection):
                raise PostgresRejectedError(POOLER_REJECTED)
        except asyncpg.PostgresError as error:
            if isinstance(error, SESSION_LOST) or STATEMENT_MODE in str(error):
                raise PostgresRejectedError(POOLER_REJECTED) from error
            raise
        self._keeps_sessions = True

    async def _loses_session(self, connection: DriverConnection) -> bool:
        """Return whether a pooler serves one client connection by several server connections.

        A second client connection occupies a server connection by a transaction. If that is the
        first one's, or the first one's changes meanwhile, the pooler assigns them per transaction.
        """
        backend = await connection.fetchval(BACKEND)
        if backend == connection.get_server_pid():
            return False  # poolers invent the process number that clients see
        for _ in range(POOLER_ROUNDS):
            other = await self._open()
            try:
                async with other.transaction():
                    if backend == await other.fetchval(BACKEND):
                        return True
                    if backend != await connection.fetchval(BACKEND):
                        return True
                await asyncio.wait_for(other.close(), self._host_seconds)
            finally:
                other.terminate()
        return False


def _driver_arguments(url: PostgresUrl, application: str) -> dict[str, Any]:
    query = urlencode(url.driver_parameters)
    options = {} if url.options is None else {"options": url.options}
    return {
        "dsn": f"postgresql:///?{query}" if query else None,
        "user": url.user,
        "password": url.password,
        "database": url.database or url.user,
        "target_session_attrs": url.target_session_attrs,
        "server_settings": {"application_name": url.application_name or application, **options},
        **({"ssl": _trust_system(url.driver_parameters)} if url.system_authorities else {}),
    }


def _trust_system(parameters: Mapping[str, str]) -> ssl.SSLContext:
    """Return TLS settings that verify servers by the system's certificate authorities."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if "sslcert" in parameters:
        password = parameters.get("sslpassword", "")
        context.load_cert_chain(parameters["sslcert"], parameters.get("sslkey"), lambda: password)
    return context


def _session_script(statement_timeout_ms: int, role: str | None) -> str:
    """Return the statements that prepare a session, which take one round trip together."""
    settings = {**SESSION, "statement_timeout": str(statement_timeout_ms)}
    statements = [f"SET {name} = '{value}'" for name, value in settings.items()]
    if role is not None:
        statements += [f'SET ROLE "{role}"', PROOF.format(role=f"'{role}'")]
    return "; ".join(statements)
