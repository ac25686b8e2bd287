"""Authentication at the admin API."""

import pytest

from api.auth import admin_keys
from common.domain.api_key import KeyKind, new_key
from tests.integration.api.admin.harness import KEY, OPEN, PROBLEM, AdminHarness
from tests.integration.api.gateways import Gateway
from tests.support.caches import age_cache


async def status(admin: AdminHarness, key: str) -> int:
    return (await admin.ask("GET", "tenants", authorization=f"Bearer {key}"))[0]


@pytest.mark.parametrize(
    "sent",
    [
        *(None, "Bearer wrong", "Basic x", KEY, "Bearer ", "Bearer é", "Bearer"),
        # Drawn anew in each process, so it needs a name of its own.
        pytest.param(f"Bearer {new_key(KeyKind.ADMIN)}", id="unknown"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "tenants"), ("POST", "tenants"), ("GET", "jobs?limit=bad")]
)
async def test_requests_without_a_valid_admin_key_are_rejected(
    admin: AdminHarness, sent: str | None, method: str, path: str
) -> None:
    headers = [] if sent is None else [(b"authorization", sent.encode("latin-1"))]
    response = await admin.gateway.client.request(
        method, f"/admin/v1/{path}", headers=headers, content=b"not even JSON"
    )
    assert (response.status_code, response.json()["type"]) == (
        401,
        "urn:infill:problem:wrong_admin_key",
    )
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == PROBLEM


@pytest.mark.parametrize("headers", [{}, OPEN])
async def test_without_an_admin_key_in_the_settings_there_is_no_admin_api(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    response = await gateway.client.get("/admin/v1/tenants", headers=headers)
    assert (response.status_code, response.json()["title"]) == (404, "Not found")
    assert response.headers["content-type"] == PROBLEM


async def test_an_api_key_is_rejected_as_an_admin_key(admin: AdminHarness) -> None:
    assert await status(admin, admin.gateway.key) == 401


async def test_an_admin_key_is_cached_after_a_look_up(
    admin: AdminHarness,
) -> None:
    _, issued = await admin.ask("POST", "admin-keys", {"name": "ops"})
    assert issued["key"].startswith("adm_")
    assert await status(admin, issued["key"]) == 200
    (listed,) = (await admin.get("admin-keys"))["items"]
    assert (listed["name"], listed["last_used_at"] is None) == ("ops", False)
    code, _ = await admin.ask("DELETE", f"admin-keys/{issued['id']}")
    assert code == 200
    assert await status(admin, issued["key"]) == 200
    names = admin.gateway.services.admin_keys._names
    age_cache(names, 1e6)
    assert await status(admin, issued["key"]) == 401
    assert not names._values


async def test_an_admin_key_is_not_cached_beyond_its_expiry(admin: AdminHarness) -> None:
    names = admin.gateway.services.admin_keys._names
    _, issued = await admin.ask("POST", "admin-keys", {"name": "ops"})
    assert await status(admin, issued["key"]) == 200
    (cached,) = names._values.values()
    assert cached.fresh_seconds == 10
    names._values.clear()
    # Three seconds in place of ten; then the row and the cached key are aged.
    await admin.gateway.run("UPDATE admin_keys SET expires_at = now() + interval '3 seconds'")
    assert await status(admin, issued["key"]) == 200
    (cached,) = names._values.values()
    assert 0 < cached.fresh_seconds <= 3
    await admin.gateway.run("UPDATE admin_keys SET expires_at = now()")
    age_cache(names, 3)
    assert await status(admin, issued["key"]) == 401


async def test_junk_costs_no_query(admin: AdminHarness, monkeypatch: pytest.MonkeyPatch) -> None:

    async def reject(*_: object) -> str | None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(admin_keys, "use_admin_key", reject)
    for junk in ("adm_x", new_key(), new_key(KeyKind.ADMIN)[:-1] + "!"):
        assert await status(admin, junk) == 401
    assert await status(admin, new_key(KeyKind.ADMIN)) == 500  # it would have been seen


async def test_the_cache_is_bounded(admin: AdminHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    names = admin.gateway.services.admin_keys._names
    monkeypatch.setattr(names, "_capacity", 2)
    for name in ("a", "b", "c"):
        _, issued = await admin.ask("POST", "admin-keys", {"name": name})
        assert await status(admin, issued["key"]) == 200
    assert len(names._values) == 2
