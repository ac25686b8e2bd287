import pytest

from common.clock import monotonic
from common.operations.api_keys import issue_key, revoke_key
from common.settings import Settings
from tests.integration.api.gateways import BODY, Gateway, open_gateway
from tests.integration.operators import OPERATOR, PEPPER


async def status(gateway: Gateway) -> str:
    return str((await gateway.post("inpaint", BODY))["status"])


async def test_a_key_is_trusted_for_a_while_after_it_was_looked_up(gateway: Gateway) -> None:
    assert await status(gateway) == "processing"
    await revoke_key(gateway.services.operators, OPERATOR, "alice", 1)
    assert await status(gateway) == "processing"
    for known, (_, tenant_id) in gateway.services.keys._owners.items():
        # Age what is remembered, not the clock.
        gateway.services.keys._owners[known] = (monotonic() - 1, tenant_id)
    assert await status(gateway) == "error"
    assert not gateway.services.keys._owners


async def test_an_unknown_key_is_remembered_too(gateway: Gateway) -> None:
    await revoke_key(gateway.services.operators, OPERATOR, "alice", 1)
    assert await status(gateway) == "error"
    assert len(gateway.services.keys._unknown) == 1
    assert await status(gateway) == "error"


async def test_no_trust_at_all_by_setting(settings: Settings) -> None:
    settings.gateway = settings.gateway.model_copy(update={"auth_cache_seconds": 0.0})
    async with open_gateway(settings) as gateway:
        assert await status(gateway) == "processing"
        await revoke_key(gateway.services.operators, OPERATOR, "alice", 1)
        assert await status(gateway) == "error"


async def test_what_is_remembered_is_bounded(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.auth.REMEMBERED_KEYS", 2)
    database = gateway.services.operators
    for name in ("a", "b", "c"):
        issued = await issue_key(database, OPERATOR, "alice", name, pepper=PEPPER)
        await gateway.post("system_load", {"key": issued.key})
    assert len(gateway.services.keys._owners) == 2
