"""All clients of Redis verify its certificate, with a private CA too."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError

from common.messaging.connection import connect
from common.settings import RedisSettings, Settings
from tests.conftest import Servers
from tests.hostile.servers.certificates import Authority
from tests.support.tcp_proxy import proxy
from worker.celery_app import create_app

# The certificate is for this name, which leads to the same port as the address.
NAME = "localhost"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def port(servers: Servers, authority: Authority) -> AsyncIterator[int]:
    """Yield the port of a Redis with TLS, which the wheel's server itself does not support."""
    async with proxy(servers.redis.port, authority.server(NAME)) as encrypted:
        yield encrypted.port


@pytest.fixture
def ca_file(tmp_path: Path, authority: Authority) -> Path:
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.pem)
    return file


def redis_settings(host: str, port: int, ca_file: Path | None) -> RedisSettings:
    return RedisSettings(url=SecretStr(f"rediss://{host}:{port}/0"), ca_file=ca_file)


async def connect_celery(settings: RedisSettings) -> None:
    every = Settings()
    every.redis = settings

    def ping() -> None:
        with create_app(every).connection_for_read() as connection:
            cast("Channel", connection.default_channel).client.ping()

    await asyncio.to_thread(ping)


async def test_a_certificate_of_a_private_authority_is_accepted(port: int, ca_file: Path) -> None:
    settings = redis_settings(NAME, port, ca_file)
    async with connect(settings) as client:
        assert await client.ping()
    await connect_celery(settings)


@pytest.mark.parametrize("host", [NAME, "127.0.0.1"])
async def test_any_other_certificate_is_rejected(port: int, ca_file: Path, host: str) -> None:
    """Without the CA its certificate is unknown; with it, the address is not in the certificate."""
    settings = redis_settings(host, port, None if host == NAME else ca_file)
    async with connect(settings) as client:
        with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.ping()
    with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
        await connect_celery(settings)
