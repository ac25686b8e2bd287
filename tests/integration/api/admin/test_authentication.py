"""Who is let in to the admin API."""

import pytest

from api.auth import admin_keys
from common.domain.api_key import KeyKind, new_key
from tests.integration.api.admin.operating import KEY, OPEN, PROBLEM, Operated
from tests.integration.api.gateways import Gateway
from tests.support.caches import age_cache


async def status(operated: Operated, key: str) -> int:
    return (await operated.ask("GET", "tenants", authorization=f"Bearer {key}"))[0]


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
async def test_nobody_else_is_let_in(
    operated: Operated, sent: str | None, method: str, path: str
) -> None:
    headers = [] if sent is None else [(b"authorization", sent.encode("latin-1"))]
    answer = await operated.gateway.client.request(
        method, f"/admin/v1/{path}", headers=headers, content=b"not even JSON"
    )
    assert (answer.status_code, answer.json()["type"]) == (
        401,
        "urn:infill:problem:wrong_admin_key",
    )
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == PROBLEM


@pytest.mark.parametrize("headers", [{}, OPEN])
async def test_without_an_admin_key_in_the_settings_there_is_no_admin_api(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    answer = await gateway.client.get("/admin/v1/tenants", headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (404, "Not found")
    assert answer.headers["content-type"] == PROBLEM


async def test_a_tenants_key_opens_nothing_here(operated: Operated) -> None:
    assert await status(operated, operated.gateway.key) == 401


async def test_an_admin_key_is_trusted_for_a_while_after_it_was_looked_up(
    operated: Operated,
) -> None:
    _, issued = await operated.ask("POST", "admin-keys", {"name": "ops"})
    assert issued["key"].startswith("adm_")
    assert await status(operated, issued["key"]) == 200
    (listed,) = (await operated.get("admin-keys"))["items"]
    assert (listed["name"], listed["last_used_at"] is None) == ("ops", False)
    code, _ = await operated.ask("DELETE", f"admin-keys/{issued['id']}")
    assert code == 200
    assert await status(operated, issued["key"]) == 200
    names = operated.gateway.services.admin_keys._names
    age_cache(names, 1e6)
    assert await status(operated, issued["key"]) == 401
    assert not names._values


async def test_an_admin_key_is_not_trusted_beyond_its_end(operated: Operated) -> None:
    names = operated.gateway.services.admin_keys._names
    _, issued = await operated.ask("POST", "admin-keys", {"name": "ops"})
    assert await status(operated, issued["key"]) == 200
    (cached,) = names._values.values()
    assert cached.fresh_seconds == 10
    names._values.clear()
    # Three seconds in place of ten; then the row is aged, and what is remembered of it.
    await operated.gateway.run("UPDATE admin_keys SET expires_at = now() + interval '3 seconds'")
    assert await status(operated, issued["key"]) == 200
    (cached,) = names._values.values()
    assert 0 < cached.fresh_seconds <= 3
    await operated.gateway.run("UPDATE admin_keys SET expires_at = now()")
    age_cache(names, 3)
    assert await status(operated, issued["key"]) == 401


async def test_junk_costs_no_query(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> None:

    async def refuse(*_: object) -> str | None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(admin_keys, "use_admin_key", refuse)
    for junk in ("adm_x", new_key(), new_key(KeyKind.ADMIN)[:-1] + "!"):
        assert await status(operated, junk) == 401
    assert await status(operated, new_key(KeyKind.ADMIN)) == 500  # it would have been seen


async def test_what_is_remembered_is_bounded(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = operated.gateway.services.admin_keys._names
    monkeypatch.setattr(names, "_capacity", 2)
    for name in ("a", "b", "c"):
        _, issued = await operated.ask("POST", "admin-keys", {"name": name})
        assert await status(operated, issued["key"]) == 200
    assert len(names._values) == 2
