"""API keys are looked up at most once in ten seconds, and then follow the rows again."""

import asyncio
from typing import Any

import pytest

from api.errors.api_error import WrongKeyError
from common.domain import api_key
from common.domain.limits import Limits
from common.postgres.database import Database
from common.settings import Settings
from tests.integration.api.gateways import Gateway, open_gateway
from tests.support.operators import PEPPER
from tests.support.requests import INPAINT_BODY

REVOKE = "UPDATE api_keys SET revoked_at = now()"


async def status(gateway: Gateway, key: str | None = None) -> str:
    """Return the status of a v3 response to a request with the tenant's key, or another."""
    response = await gateway.post("inpaint", {**INPAINT_BODY, "key": key or gateway.key})
    return str(response["status"])


async def add_key(gateway: Gateway, *, expires: str = "NULL") -> str:
    """Add a key to the tenant, and return it."""
    key = api_key.new_key()
    await gateway.run(
        "INSERT INTO api_keys (tenant_id, name, digest, last_four, expires_at) "  # noqa: S608
        f"SELECT id, 'more', $1, $2, {expires} FROM tenants",
        api_key.digest(key, PEPPER),
        key[-4:],
    )
    return key


class Lookups:
    """Counts how often the gateway takes a connection for its hot statements."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        direct = database.direct

        def counted(tenant_id: int | None = None) -> Any:
            self.number += 1
            return direct(tenant_id)

        monkeypatch.setattr(database, "direct", counted)


@pytest.fixture
def lookups(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Lookups:
    return Lookups(gateway.services.database, monkeypatch)


@pytest.mark.parametrize("change", [REVOKE, "UPDATE tenants SET disabled_at = now()"])
async def test_a_key_is_cached_after_a_look_up(gateway: Gateway, change: str) -> None:
    assert await status(gateway) == "processing"
    await gateway.run(change)
    assert await status(gateway) == "processing"
    gateway.age_keys()
    assert await status(gateway) == "error"
    assert not gateway.services.api_keys._tenants._values


async def test_keys_are_cached_for_ten_seconds_by_default(gateway: Gateway) -> None:
    assert gateway.services.settings.gateway.auth_cache_seconds == 10.0


async def test_changed_limits_apply_when_the_cache_entry_expires(gateway: Gateway) -> None:
    keys = gateway.services.api_keys
    assert (await keys.authenticate(gateway.key)).limits == Limits()
    await gateway.run('UPDATE plans SET limits = \'{"max_queued": 5, "max_pixels": 9}\'')
    await gateway.run("UPDATE tenants SET limits = '{\"max_queued\": 7}'")
    assert (await keys.authenticate(gateway.key)).limits == Limits()
    gateway.age_keys()
    assert (await keys.authenticate(gateway.key)).limits == Limits(max_queued=7, max_pixels=9)


async def test_an_unknown_key_is_cached_too(gateway: Gateway, lookups: Lookups) -> None:
    key = api_key.new_key()
    for _ in range(3):
        with pytest.raises(WrongKeyError):
            await gateway.services.api_keys.authenticate(key)
    assert lookups.number == 1
    await gateway.run(
        "UPDATE api_keys SET digest = $1", api_key.digest(key, PEPPER)
    )  # it was made a moment later
    gateway.age_keys()
    assert await status(gateway, key) == "processing"
    assert not gateway.services.api_keys._tenants._negatives


async def test_caching_can_be_switched_off(settings: Settings) -> None:
    settings.gateway = settings.gateway.model_copy(update={"auth_cache_seconds": 0.0})
    async with open_gateway(settings) as gateway:
        assert await status(gateway) == "processing"
        await gateway.run(REVOKE)
        assert await status(gateway) == "error"


async def test_the_cache_is_bounded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.api_keys.CACHED_KEYS", 2)
    async with open_gateway(settings) as gateway:
        for _ in range(3):
            await gateway.post("system_load", {"key": await add_key(gateway)})
            await gateway.post("system_load", {"key": api_key.new_key()})
        cache = gateway.services.api_keys._tenants
        assert (len(cache._values), len(cache._negatives)) == (2, 2)


async def test_a_known_key_costs_no_query(gateway: Gateway, lookups: Lookups) -> None:
    keys = gateway.services.api_keys
    for _ in range(5):
        await keys.authenticate(gateway.key)
    assert lookups.number == 1


async def test_junk_costs_no_query(gateway: Gateway, lookups: Lookups) -> None:
    typo = gateway.key[:-1] + ("a" if gateway.key[-1] != "a" else "b")
    for junk in (None, "junk", "inf_" + "0" * 43, typo, gateway.key + " "):
        with pytest.raises(WrongKeyError):
            await gateway.services.api_keys.authenticate(junk)
    assert lookups.number == 0
    assert not gateway.services.api_keys._tenants._negatives


async def test_concurrent_requests_share_one_look_up(gateway: Gateway, lookups: Lookups) -> None:
    keys = gateway.services.api_keys
    looking = [asyncio.create_task(keys.authenticate(gateway.key)) for _ in range(20)]
    await asyncio.sleep(0)
    looking[0].cancel()  # a cancelled caller does not cancel the look-up of the others
    found = await asyncio.gather(*looking[1:])
    assert lookups.number == 1
    assert len(set(map(id, found))) == 1


async def test_a_key_is_not_cached_beyond_its_expiry(gateway: Gateway) -> None:
    keys = gateway.services.api_keys
    key = await add_key(gateway, expires="now() + interval '3 seconds'")
    await keys.authenticate(key)
    await keys.authenticate(gateway.key)
    short, long = (cached.fresh_seconds for cached in keys._tenants._values.values())
    assert 0 < short <= 3
    assert long == 10
    await gateway.run("UPDATE api_keys SET expires_at = now()")
    gateway.age_keys()
    assert await status(gateway, key) == "error"


async def test_a_key_that_expires_late_is_cached_as_long_as_any(gateway: Gateway) -> None:
    keys = gateway.services.api_keys
    key = await add_key(gateway, expires="now() + interval '1 hour'")
    await keys.authenticate(key)
    await keys.authenticate(gateway.key)
    assert {cached.fresh_seconds for cached in keys._tenants._values.values()} == {10.0}


async def test_several_keys_of_a_tenant_work_side_by_side(gateway: Gateway) -> None:
    more = await add_key(gateway)
    assert [await status(gateway, key) for key in (gateway.key, more)] == ["processing"] * 2
    await gateway.run("UPDATE api_keys SET revoked_at = now() WHERE name <> 'more'")
    gateway.age_keys()
    assert [await status(gateway, key) for key in (gateway.key, more)] == ["error", "processing"]


async def test_unreadable_limits_are_an_internal_error(
    gateway: Gateway,
) -> None:
    await gateway.run("UPDATE tenants SET limits = '{\"max_quued\": 7}'")
    response = await gateway.client.post(
        "/api/v3/inpaint", json={**INPAINT_BODY, "key": gateway.key}
    )
    assert response.status_code == 500
    assert "max_quued" not in response.text
