"""libpq's parameters in the URL against real servers: TLS, several hosts, names, options."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text

from common.domain.errors import ConfigurationError
from common.postgres.database import Database
from common.settings import DatabaseSettings
from deploy.cli.postgres_errors import explain_postgres_errors
from deploy.local.servers.ports import LOOPBACK, free_port
from tests.hostile.servers.certificates import Authority
from tests.integration.postgres.tls_front import TlsFront, tls_front
from tests.support.connections import serving
from tests.support.tcp_proxy import Proxy


async def ask(url: str, sql: str) -> Any:
    """Return the value of `sql`, over a database as a process opens it."""
    settings = DatabaseSettings(url=SecretStr(url), connect_timeout_seconds=30)
    database = Database(settings, application="test")
    try:
        async with database.statement() as connection:
            return (await connection.execute(text(sql))).scalar_one()
    finally:
        await database.aclose()


@dataclass(frozen=True, slots=True)
class TlsServer:
    """A Postgres behind a TLS front with a certificate for `localhost`."""

    database_url: str
    front: TlsFront
    authority: Authority
    authority_file: Path

    def url(self, host: str = "localhost", **parameters: str) -> str:
        """Return the URL with these parameters."""
        url = make_url(self.database_url).set(host=host, port=self.front.port)
        return f"{url.render_as_string(hide_password=False)}?{urlencode(parameters)}"


@pytest.fixture
async def tls_server(database_url: str, tmp_path: Path) -> AsyncIterator[TlsServer]:
    """Start the front, which accepts encrypted connections only."""
    authority = Authority(tmp_path)
    file = tmp_path / "authority.crt"
    file.write_bytes(authority.pem)
    async with tls_front(make_url(database_url).port or 0, authority.server("localhost")) as front:
        yield TlsServer(database_url, front, authority, file)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_connections_are_encrypted_and_verified(tls_server: TlsServer, mode: str) -> None:
    url = tls_server.url(sslmode=mode, sslrootcert=str(tls_server.authority_file))
    assert await ask(url, "SELECT 1") == 1
    assert tls_server.front.encrypted


async def test_encryption_without_verification(tls_server: TlsServer) -> None:
    assert await ask(tls_server.url(LOOPBACK, sslmode="require"), "SELECT 1") == 1
    assert await ask(tls_server.url(), "SELECT 1") == 1  # `prefer` is the default
    assert tls_server.front.encrypted


async def test_a_client_certificate_is_sent(database_url: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = authority.server("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.pem.decode())
    present = set(tmp_path.glob("*.pem"))
    authority.server("infill", for_clients=True)
    (certificate,) = set(tmp_path.glob("*.pem")) - present
    trusted = tmp_path / "authority.crt"
    trusted.write_bytes(authority.pem)
    async with tls_front(make_url(database_url).port or 0, context) as front:
        server = TlsServer(database_url, front, authority, trusted)
        files = {"sslcert": str(certificate), "sslkey": str(certificate)}
        url = server.url(sslmode="verify-full", sslrootcert=str(trusted), **files)
        assert await ask(url, "SELECT 1") == 1
        await explain(server.url(sslmode="verify-full", sslrootcert=str(trusted)))


async def explain(url: str) -> str:
    with pytest.raises(ConfigurationError) as caught, explain_postgres_errors():
        await ask(url, "SELECT 1")
    assert "\n" not in caught.value.message
    return caught.value.message


async def test_a_server_that_is_not_trusted_is_a_sentence(
    tls_server: TlsServer, tmp_path: Path
) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(Authority(tmp_path).pem)
    trusted = str(tls_server.authority_file)
    for wrong_authority in (str(other), "system"):
        url = tls_server.url(sslmode="verify-full", sslrootcert=wrong_authority)
        assert "certificate verify failed" in await explain(url)
    message = await explain(tls_server.url(LOOPBACK, sslmode="verify-full", sslrootcert=trusted))
    assert "IP address mismatch" in message
    assert str(make_url(tls_server.database_url).password) not in message
    # Without the name, the certificate is enough.
    url = tls_server.url(LOOPBACK, sslmode="verify-ca", sslrootcert=trusted)
    assert await ask(url, "SELECT 1") == 1


async def test_a_server_that_requires_encryption_is_a_sentence(tls_server: TlsServer) -> None:
    assert "no encryption" in await explain(tls_server.url(sslmode="disable"))


async def test_required_encryption_is_not_given_up(database_url: str) -> None:
    assert "SSL" in await explain(f"{database_url}?sslmode=require")


@pytest.mark.parametrize("attributes", ["any", "read-write", "primary"])
async def test_the_first_host_that_responds_is_used(
    database_url: str, attributes: str, database_proxy: Proxy
) -> None:
    url = make_url(database_url)
    database_proxy.stall()
    hosts = (f"{LOOPBACK}:{port}" for port in (free_port(), database_proxy.port, url.port))
    several = f"postgresql://{url.username}:{url.password}@{','.join(hosts)}/{url.database}"
    assert await ask(f"{several}?target_session_attrs={attributes}", "SELECT 1") == 1


async def test_a_read_only_server_is_passed_over(database_url: str) -> None:
    url = make_url(database_url)
    name = f"read_{uuid4().hex}"
    owner = await asyncpg.connect(database_url)
    await owner.execute(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'a/b@c'")
    await owner.execute(f"ALTER ROLE {name} SET default_transaction_read_only = on")
    read_only = f"postgresql://{name}:{quote('a/b@c', safe='')}@{url.host}:{url.port}/postgres"
    assert "target attribute" in await explain(f"{read_only}?target_session_attrs=read-write")
    assert await ask(read_only, "SHOW transaction_read_only") == "off"
    await owner.execute(f"DROP ROLE {name}")
    await owner.close()


async def test_name_options_and_timeout_reach_the_server(database_url: str) -> None:
    options = quote("-c search_path=elsewhere,public -c work_mem=8MB")
    url = f"{database_url}?application_name=shop&connect_timeout=7&options={options}"
    assert await ask(url, "SHOW application_name") == "shop"
    assert await ask(url, "SHOW search_path") == "elsewhere,public"
    assert await ask(url, "SHOW work_mem") == "8MB"
    assert await ask(database_url, "SHOW application_name") == "test"


async def test_a_socket_is_a_host(database_url: str) -> None:
    url = make_url(database_url)
    through = Proxy(url.port or 0)
    with TemporaryDirectory() as folder:  # a socket's path is limited to 107 characters
        start = partial(asyncio.start_unix_server, path=f"{folder}/.s.PGSQL.5432")
        async with serving(through.serve, start):
            given = f"postgresql://{url.username}:{url.password}@/{url.database}?host={folder}"
            assert await ask(given, "SELECT 1") == 1
    assert through.connections


async def test_a_wrong_password_and_database_are_sentences(database_url: str) -> None:
    url = make_url(database_url)
    wrong = url.set(password="wrong").render_as_string(hide_password=False)
    assert "password authentication failed" in await explain(wrong)
    missing = url.set(database="missing").render_as_string(hide_password=False)
    assert 'database "missing" does not exist' in await explain(missing)
