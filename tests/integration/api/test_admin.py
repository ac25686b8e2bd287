from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from common.settings import Settings
from tests.integration.api.gateways import BODY, Gateway, open_gateway

KEY = "operator's key"
OPEN = {"authorization": f"Bearer {KEY}"}


@pytest.fixture
async def operated(settings: Settings) -> AsyncIterator[Gateway]:
    settings.gateway = settings.gateway.model_copy(update={"admin_key": SecretStr(KEY)})
    async with open_gateway(settings) as gateway:
        yield gateway


async def ask(gateway: Gateway, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = await gateway.client.request(method, f"/admin/v1/{path}", json=body, headers=OPEN)
    return answer.status_code, answer.json()


async def test_a_tenant_from_its_making_to_its_last_key(operated: Gateway) -> None:
    code, tenant = await ask(operated, "POST", "tenants", {"name": "acme"})
    assert (code, tenant["name"]) == (201, "acme")
    assert tenant["webhook_secret"].startswith("whsec_")
    code, listed = await ask(operated, "GET", "tenants")
    assert [entry["name"] for entry in listed["tenants"]] == ["alice", "acme"]

    code, issued = await ask(operated, "POST", "tenants/acme/keys", {"name": "web"})
    assert code == 201
    answer = await operated.post("inpaint", {**BODY, "key": issued["key"]})
    assert answer["status"] == "processing"
    code, listed = await ask(operated, "GET", "tenants/acme/keys")
    (key,) = listed["keys"]
    assert (key["name"], key["last_four"]) == ("web", issued["key"][-4:])
    assert issued["key"] not in str(listed)

    path = f"tenants/acme/keys/{key['id']}"
    assert await ask(operated, "DELETE", path) == (200, {"status": "ok"})
    code, gone = await ask(operated, "DELETE", path)
    assert (code, gone["message"]) == (404, f"acme has no live key with the id {key['id']}")


async def test_a_new_webhook_secret(operated: Gateway) -> None:
    code, rotated = await ask(operated, "POST", "tenants/alice/webhook-secret")
    assert code == 201
    assert rotated["webhook_secret"].startswith("whsec_")


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "message"),
    [
        ("POST", "tenants", {"name": "alice"}, 409, "there is a tenant called alice already"),
        ("POST", "tenants/bob/keys", {"name": "x"}, 404, "there is no tenant called bob"),
        ("GET", "tenants/bob/keys", None, 404, "there is no tenant called bob"),
        ("POST", "tenants", {}, 422, {"name": ["Field required"]}),
        ("DELETE", "tenants/alice/keys/x", None, 422, None),
        ("DELETE", f"tenants/alice/keys/{2**63}", None, 422, None),
        ("POST", "tenants", {"name": "a b"}, 422, None),
        ("POST", "tenants", {"name": ""}, 422, None),
        ("POST", "tenants/alice/keys", {"name": "\x00"}, 422, None),
    ],
)
async def test_what_cannot_be_done_says_why(
    operated: Gateway, method: str, path: str, body: Any, code: int, message: Any
) -> None:
    told = await ask(operated, method, path, body)
    assert (told[0], told[1]["status"]) == (code, "error")
    assert message is None or told[1]["message"] == message


@pytest.mark.parametrize("sent", [None, "Bearer wrong", "Basic x", KEY, "Bearer ", "Bearer é"])
async def test_nobody_else_is_let_in(operated: Gateway, sent: str | None) -> None:
    headers = [] if sent is None else [(b"authorization", sent.encode("latin-1"))]
    answer = await operated.client.get("/admin/v1/tenants", headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (401, "error")


@pytest.mark.parametrize("headers", [{}, OPEN])
async def test_without_an_admin_key_there_is_no_admin_face(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    answer = await gateway.client.get("/admin/v1/tenants", headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")
