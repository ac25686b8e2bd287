"""Links for clients that reach the store under another address than the product."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from common.object_store.storage import Storage
from common.settings import StorageSettings

INSIDE = "http://objects:7070"
OUTSIDE = "https://images.example.com"
KEY = "1/generations/a-1-0.png"


@pytest.fixture
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    opened = Storage(
        StorageSettings(
            endpoint_url=INSIDE,
            presigned_endpoint_url=request.param,
            access_key_id="key",
            secret_access_key=SecretStr("secret"),
        )
    )
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("storage", "start"),
    [(None, INSIDE), (OUTSIDE, OUTSIDE)],
    indirect=["storage"],
)
async def test_a_link_is_signed_for_the_address_callers_know(storage: Storage, start: str) -> None:
    assert (await storage.link(KEY)).startswith(f"{start}/infill/{KEY}?X-Amz-Algorithm=")
