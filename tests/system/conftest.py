"""One running installation for the tests that only use it."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.servers.ports import free_port
from tests.system.installation import Installation, up


@pytest.fixture(scope="session")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    async with up(tmp_path_factory.mktemp("up") / "home", free_port()) as running:
        yield running
