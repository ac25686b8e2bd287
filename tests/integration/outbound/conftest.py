from collections.abc import AsyncIterator

import pytest

from common.outbound import Guard
from common.settings import OutboundSettings
from tests.hostile.servers.certificates import Authority
from tests.hostile.servers.peers import Names, Peer
from tests.hostile.servers.trap import trap

MAX_BYTES = 1000


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def settings() -> OutboundSettings:
    """Return settings that allow parts of loopback, but not 127.0.0.2."""
    return OutboundSettings.model_validate(
        {
            "allowed_ports": [0],
            "allowed_networks": ["127.0.0.1/32", "127.0.0.3/32", "127.1.0.0/16"],
            "image_max_bytes": MAX_BYTES,
            "image_timeout_seconds": 10,
        }
    )


@pytest.fixture
async def guard(
    settings: OutboundSettings, names: Names, authority: Authority
) -> AsyncIterator[Guard]:
    guard = Guard(settings, resolver=names, tls=authority.client())
    yield guard
    await guard.aclose()


@pytest.fixture
async def hasty(
    settings: OutboundSettings, names: Names, authority: Authority
) -> AsyncIterator[Guard]:
    """Yield a guard with an image timeout of 0.3 s."""
    quick = settings.model_copy(update={"image_timeout_seconds": 0.3})
    guard = Guard(quick, resolver=names, tls=authority.client())
    yield guard
    await guard.aclose()


@pytest.fixture
async def forbidden() -> AsyncIterator[Peer]:
    """Yield a listener that must not be contacted, which is checked after the test."""
    async with trap() as peer:
        yield peer
