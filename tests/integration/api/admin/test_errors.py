"""Bad input to the admin API: a clear 4xx, as a problem that names every field."""

import asyncio
from typing import Any

import pytest
from httpx2 import ASGITransport, AsyncClient
from pydantic import SecretStr

from api.app import create_app
from common.settings import DatabaseSettings, Settings
from deploy.local.servers.ports import LOOPBACK, free_port
from tests.integration.api.admin.harness import KEY, OPEN, PROBLEM, AdminHarness
from tests.integration.operations.rows import add_job

HUGE = "9" * 30
A_TIME = "must be a date and time with a time zone, like 2027-01-31T00:00:00Z"
NO_NUL = "must not contain a NUL character (U+0000)"


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "detail"),
    [
        ("POST", "tenants", {"name": "alice"}, 409, "there is already a tenant called alice"),
        ("POST", "tenants", {"name": "b", "plan": "x"}, 404, "there is no plan called x"),
        ("GET", "tenants/bob", None, 404, "there is no tenant called bob"),
        ("GET", "tenants/%00", None, 404, "there is no tenant called \x00"),
        ("GET", "tenants/bob/keys", None, 404, "there is no tenant called bob"),
        ("POST", "tenants/bob/keys", {"name": "x"}, 404, "there is no tenant called bob"),
        ("POST", "tenants/alice/enable", None, 409, "alice is not disabled"),
        (
            "DELETE",
            "plans/default",
            None,
            409,
            "the plan default cannot be deleted because it is the default plan for new tenants",
        ),
        ("GET", "jobs/77", None, 404, "there is no job with the id 77"),
        ("GET", "nothing", None, 404, "There is nothing at this path."),
        ("GET", "", None, 404, "There is nothing at this path."),
        ("GET", "../v1", None, 404, "There is nothing at this path."),
        ("DELETE", "tenants", None, 405, "This path accepts GET and POST only."),
        ("POST", "tenants/alice", {}, 405, "This path accepts DELETE and GET only."),
    ],
)
async def test_an_impossible_change_is_rejected_with_the_reason(
    admin: AdminHarness, method: str, path: str, body: Any, code: int, detail: str
) -> None:
    result = await admin.ask(method, path, body)
    assert (result[0], result[1]["detail"]) == (code, detail)
    assert result[1]["instance"].startswith("/admin/v1")


def field(pointer: str, detail: str) -> dict[str, str]:
    return {"pointer": f"#/{pointer}", "detail": detail}


def parameter(name: str, detail: str) -> dict[str, str]:
    return {"parameter": name, "detail": detail}


@pytest.mark.parametrize(
    ("method", "path", "body", "errors"),
    [
        ("POST", "tenants", {}, [field("name", "is required")]),
        (
            *("POST", "tenants"),
            {"name": 5, "nmae": "x"},
            [
                field("name", "Input should be a valid string"),
                field("nmae", "is not a known field; the accepted fields are: name, plan"),
            ],
        ),
        (
            *("PUT", "tenants/alice/limits"),
            {"limits": {"max_runing": 3, "weight": 0, "a/b~ü": 1}},
            None,
        ),
        ("PUT", "tenants/alice/limits", {"limits": [1]}, None),
        ("PUT", "tenants/alice/limits", {"max_running": 3}, None),
        (
            *("POST", "tenants/alice/webhook-secrets", {"overlap_seconds": -1}),
            [field("overlap_seconds", "must be a number from 0 to 2592000")],
        ),
        (
            *("POST", "tenants/alice/keys", {"name": "x", "expires_at": "2001-01-01T00:00:00Z"}),
            [field("expires_at", "must be in the future")],
        ),
        (
            *("POST", "tenants/alice/keys", {"name": "x", "expires_at": "2999-01-01T00:00:00"}),
            [field("expires_at", A_TIME)],
        ),
        (
            *("POST", "tenants/alice/keys", {"name": "x", "expires_at": "soon"}),
            [field("expires_at", A_TIME)],
        ),
        ("POST", "tenants/alice/keys", {"name": "x", "expires_at": 4102444800}, None),
        ("PUT", "jobs/1/priority", {"priority": 1.5}, None),
        ("PUT", "jobs/1/priority", {"priority": "5"}, None),
        ("PUT", "jobs/1/priority", {"priority": 10**40}, None),
        (
            *("GET", "tenants?limit=0", None),
            [parameter("limit", "Input should be greater than or equal to 1")],
        ),
        (
            *("GET", "tenants?limt=5", None),
            [
                parameter(
                    "limt", "is not a parameter of this path; the parameters are: limit, cursor"
                )
            ],
        ),
        (
            *("GET", "tenants?cursor=x", None),
            [
                parameter(
                    "cursor", "must be the next_cursor of an earlier page of this list, unchanged"
                )
            ],
        ),
        ("GET", "jobs?state=done", None, None),
        ("GET", "jobs?queue=%00", None, [parameter("queue", NO_NUL)]),
        ("GET", "audit?tenant=%00", None, None),
        ("GET", f"jobs/{HUGE}", None, None),
        ("GET", "jobs/x", None, None),
        ("DELETE", "tenants/alice/keys/x", None, None),
        ("DELETE", f"tenants/alice/keys/{2**63}", None, None),
        ("GET", "usage?since=2026-01-01", None, [parameter("until", "is required")]),
        ("GET", "usage?since=2026-02-01&until=2026-01-01", None, None),
        (
            *("GET", "usage?since=yesterday&until=2026-01-01", None),
            [parameter("since", "must be a date, like 2027-01-31")],
        ),
        ("GET", "usage?since=2026-01-01&until=2026-01-01&format=xml", None, None),
    ],
)
async def test_every_bad_field_is_reported(
    admin: AdminHarness, method: str, path: str, body: Any, errors: list[dict[str, str]] | None
) -> None:
    code, result = await admin.ask(method, path, body)
    assert code == 422
    assert result["errors"] == errors if errors is not None else result["errors"]
    assert all(entry["detail"] for entry in result["errors"])


async def test_a_bad_name_is_reported_for_its_field(admin: AdminHarness) -> None:
    for name in ("a b", "", "\x00", "\u00e9"):
        for path in ("tenants", "plans", "admin-keys", "tenants/alice/keys"):
            code, result = await admin.ask("POST", path, {"name": name})
            assert (code, result["errors"][0]["pointer"]) == (422, "#/name")
            assert "1 to 64 letters" in result["detail"]


async def test_bad_limits_are_reported_by_json_pointer(admin: AdminHarness) -> None:
    _, result = await admin.ask(
        "PUT", "tenants/alice/limits", {"limits": {"max_runing": 3, "a/b~ü": 1}}
    )
    assert [entry["pointer"] for entry in result["errors"]] == [
        "#/limits/max_runing",
        "#/limits/a~1b~0%C3%BC",
    ]
    assert "the limits are: max_inference_steps, max_pixels" in result["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        (b"{", "application/json", 400),
        (b'{"name": "\xff"}', "application/json", 400),
        (b'{"name": "\\ud800"}', "application/json", 400),
        (b"[" * 50_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b'"name"', "application/json", 422),
        (b'{"name": "x"}', "text/plain", 415),
        (b"name=x", "application/x-www-form-urlencoded", 415),
        (b'{"name": "' + b"x" * 100_000 + b'"}', "application/json", 413),
    ],
)
async def test_unreadable_bodies_are_rejected(
    admin: AdminHarness, content: bytes, content_type: str, code: int
) -> None:
    response = await admin.gateway.client.post(
        "/admin/v1/tenants", content=content, headers={**OPEN, "content-type": content_type}
    )
    assert (response.status_code, response.json()["status"]) == (code, code)
    assert response.headers["content-type"] == PROBLEM
    assert (await admin.get("tenants"))["items"][1:] == []


async def test_a_trailing_slash_is_not_found(admin: AdminHarness) -> None:
    assert (await admin.ask("GET", "tenants/"))[0] == 404


async def test_errors_of_other_paths_are_rendered_as_v3(admin: AdminHarness) -> None:
    response = await admin.gateway.client.get("/admin/v2/x")
    assert (response.status_code, response.json()["status"]) == (404, "error")
    response = await admin.gateway.client.get("/api/v3/inpaint")
    assert (response.status_code, response.json()["status"]) == (405, "error")


async def test_an_unavailable_postgres_is_reported_as_a_problem(settings: Settings) -> None:
    settings.database = DatabaseSettings(
        url=SecretStr(f"postgresql://x@{LOOPBACK}:{free_port()}/x"), connect_timeout_seconds=1
    )
    settings.gateway = settings.gateway.model_copy(update={"admin_key": SecretStr(KEY)})
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = ASGITransport(app=app)
        async with AsyncClient(transport=transport, base_url="http://gateway") as client:
            response = await client.get("/admin/v1/tenants", headers=OPEN)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.headers["content-type"] == PROBLEM
    assert response.json()["type"] == "urn:infill:problem:database_unavailable"


async def test_a_crash_is_reported_as_a_problem(
    admin: AdminHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object, **__: object) -> None:
        raise RuntimeError("inner words")

    monkeypatch.setattr("common.operations.tenants.tenants.list_tenants", crash)
    code, result = await admin.ask("GET", "tenants")
    assert (code, result["type"]) == (500, "urn:infill:problem:internal_error")
    assert "inner words" not in str(result)


async def test_concurrent_changes_are_serialized(admin: AdminHarness) -> None:
    """Of sixteen concurrent requests for the same change one succeeds; the others are conflicts."""
    submitted = [admin.ask("POST", "plans", {"name": "pro"}) for _ in range(16)]
    codes = sorted(code for code, _ in await asyncio.gather(*submitted))
    assert codes == [201] + [409] * 15
    job_id = await add_job(admin.gateway.services.operator_database, "alice")
    canceled = [admin.ask("POST", f"jobs/{job_id}/cancel") for _ in range(8)]
    assert sorted(code for code, _ in await asyncio.gather(*canceled)) == [200] + [409] * 7
