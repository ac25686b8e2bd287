"""No route shows a tenant anything of another: every route of the OpenAPI document is tested.

Bob requests objects of alice's, and objects that never existed: he gets the same response for both,
and the gateway runs the same statements. Durations depend on the machine; statements do not.
"""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from httpx2 import Response
from pydantic import SecretStr

from api.app import create_app
from api.dialects.v1.dependencies import PREFIX
from api.jobs.eta import EtaEstimator
from common.domain.api_key import KeyKind
from common.domain.api_key import new_key as new_random_key
from common.operations.paging import PagePosition
from common.postgres.statements import DirectConnection
from common.settings import Settings
from tests.integration.api.gateways import Gateway, new_key, open_gateway
from tests.support.requests import IMAGE_URL, IMG2IMG_BODY, INPAINT_BODY, TEXT2IMG_BODY

ADMIN_KEY = "operator's key"
# The URL is rejected before it is called.
WEBHOOK_BODIES = {
    "redeliver": {"since": "2000-01-01T00:00:00Z"},
    "test": {"url": "http://10.0.0.1"},
}
NEVER = "00000000-0000-4000-8000-000000000000"
GENERATIONS = {
    "inpaint": INPAINT_BODY,
    "img2img": IMG2IMG_BODY,
    "text2img": TEXT2IMG_BODY,
}
# Parts that differ between responses for good reason: the ids requested, and new ones.
MASKED = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|\"(?:id|seed|eta|instance)\":\s*(?:\"[^\"]*\"|\d+)"
    r"|fetch/\d+|X-Amz-[A-Za-z]+=[^&\"]*"
)


def routes() -> list[tuple[str, str]]:
    """Return every method and path of the document."""
    settings = Settings()
    settings.gateway = settings.gateway.model_copy(update={"api_key_pepper": SecretStr("x")})
    paths = create_app(settings).openapi()["paths"]
    return sorted((method.upper(), path) for path, methods in paths.items() for method in methods)


ROUTES = routes()


@dataclass(slots=True)
class ObjectIds:
    """Values for every parameter; a route with a new parameter fails for lack of a value."""

    parameters: dict[str, str]
    idempotency_key: str

    def of(self, path: str) -> dict[str, str]:
        """Return the values for one path: deliveries have their own states and cursors."""
        if not path.startswith(PREFIX):
            return self.parameters
        after = int(self.parameters["job_id"]) + 1
        cursor = PagePosition("deliveries", 1, None).cursor_after(after)
        return {**self.parameters, "cursor": cursor, "state": "exhausted"}


@dataclass(slots=True)
class Neighbours:
    """A gateway with two tenants: alice owns an object of every kind, bob sends the requests."""

    gateway: Gateway
    bob: str
    alices: ObjectIds
    missing: ObjectIds
    statements: list[str] = field(default_factory=list)

    async def ask(self, method: str, path: str, ids: ObjectIds, key: str) -> Response:
        """Send a request with these values in all its parameters; record its statements only."""
        described = self.gateway.app.openapi()["paths"][path][method.lower()]
        given = {
            location: {
                parameter["name"]: ids.of(path)[parameter["name"]]
                for parameter in described.get("parameters", ())
                if parameter["in"] == location
            }
            for location in ("path", "query")
        }
        body: dict[str, Any] = {"key": key}
        headers = {"authorization": f"Bearer {key}"}
        if path.startswith("/api/v3/") and (generation := GENERATIONS.get(path.rpartition("/")[2])):
            body |= {**generation, "seed": 7}  # a random one would change the enhanced prompt
            headers["idempotency-key"] = ids.idempotency_key
        elif path.startswith(PREFIX):
            body = WEBHOOK_BODIES.get(path.rpartition("/")[2], {})
        elif path.startswith("/admin/"):
            body = {"name": "x", "plan": "default", "priority": 1}
        sent = None if method in {"GET", "DELETE"} else body
        self.statements.clear()
        return await self.gateway.client.request(
            method, path.format(**given["path"]), params=given["query"], headers=headers, json=sent
        )


@pytest.fixture
async def neighbours(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Neighbours]:
    # The estimates are read once, and are then the same for every request.
    monkeypatch.setattr("api.jobs.eta.FRESH_SECONDS", 3600.0)
    settings.gateway = settings.gateway.model_copy(update={"admin_key": SecretStr(ADMIN_KEY)})
    async with open_gateway(settings) as gateway:
        bob = await new_key(gateway.services, "bob")
        neighbours = Neighbours(gateway, bob, *await create_objects(gateway))
        execute = DirectConnection.execute

        async def recorded(self: DirectConnection, statement: Any, parameters: Any) -> Any:
            neighbours.statements.append(str(statement))
            return await execute(self, statement, parameters)

        monkeypatch.setattr(DirectConnection, "execute", recorded)
        yield neighbours


async def create_objects(gateway: Gateway) -> tuple[ObjectIds, ObjectIds]:
    """Create objects of alice; return their ids, and ids of objects that do not exist."""
    submitted = {**INPAINT_BODY, "webhook": IMAGE_URL, "track_id": "alices"}
    first = await gateway.post("inpaint", submitted, **{"Idempotency-Key": "alices-key"})
    await gateway.finish(await gateway.claim())
    await gateway.run("UPDATE deliveries SET state = 'exhausted', finished_at = now()")
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}

    async def read_list(path: str) -> Any:
        return (await gateway.client.get(f"/admin/v1/{path}", headers=admin)).json()

    (key,) = (await read_list("tenants/alice/keys?limit=1"))["items"]
    (secret,) = (await read_list("tenants/alice/webhook-secrets?limit=1"))["items"]
    cursor = (await read_list("tenants?limit=1"))["next_cursor"]
    free = {
        "limit": "1",
        "since": "2026-01-01",
        "until": "2026-01-31",
        "format": "json",
        "fields": "",
    }
    free |= {"state": "succeeded", "queue": "standin-inpainting", "model": "standin"}
    of_alice = {"job_id": first["id"], "tenant": "alice", "plan": "default", "cursor": cursor}
    of_alice |= {"key_id": key["id"], "secret_id": secret["id"]}
    of_none = dict.fromkeys(of_alice, "987654") | {"tenant": "missing", "plan": "none"}
    hers = {"authorization": f"Bearer {gateway.key}"}
    deliveries = (await gateway.client.get("/api/v1/webhooks/deliveries", headers=hers)).json()
    of_alice |= {"delivery_id": deliveries["items"][0]["id"], "track_id": "alices"}
    of_none |= {"delivery_id": NEVER, "track_id": "missing"}
    of_alice = {name: str(value) for name, value in of_alice.items()}
    return (
        ObjectIds({**free, **of_alice}, "alices-key"),
        ObjectIds({**free, **of_none}, "missing-key"),
    )


def masked(response: Response) -> tuple[int, str, dict[str, str]]:
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in {"content-length", "date"}
    }
    return response.status_code, MASKED.sub("…", response.text), headers


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=" ".join)
async def test_another_tenants_object_looks_the_same_as_a_missing_one(
    neighbours: Neighbours, method: str, path: str
) -> None:
    if path == "/metrics":
        return  # metrics of the process: it has no parameter, and no label names a tenant
    warm = ObjectIds(neighbours.missing.parameters, "warming-up")
    await neighbours.ask(method, path, warm, neighbours.bob)
    missing = masked(await neighbours.ask(method, path, neighbours.missing, neighbours.bob))
    work = list(neighbours.statements)
    alices = masked(await neighbours.ask(method, path, neighbours.alices, neighbours.bob))
    assert alices == missing
    assert neighbours.statements == work


@pytest.mark.parametrize(
    ("method", "path"), [one for one in ROUTES if one[1].startswith("/admin/")], ids=" ".join
)
async def test_a_tenants_key_gives_no_more_admin_access_than_junk(
    neighbours: Neighbours, method: str, path: str
) -> None:
    responses = []
    for key in (neighbours.bob, neighbours.gateway.key, new_random_key(KeyKind.API), "junk"):
        responses.append(masked(await neighbours.ask(method, path, neighbours.alices, key)))
        assert neighbours.statements == []
    assert responses[0][0] == 401
    assert all(response == responses[0] for response in responses)


async def test_the_owner_can_read_the_objects_that_others_cannot(neighbours: Neighbours) -> None:
    hers, key = neighbours.alices, neighbours.gateway.key
    path = f"{PREFIX}/webhooks/deliveries"
    (listed,) = (await neighbours.ask("GET", path, hers, key)).json()["items"]
    shown = (await neighbours.ask("GET", f"{path}/{{delivery_id}}", hers, key)).json()
    assert shown["delivery"] == listed
    await neighbours.ask("POST", f"{PREFIX}/webhooks/redeliver", hers, neighbours.bob)
    assert (await neighbours.ask("GET", path, hers, key)).json()["items"] == [listed]
    response = await neighbours.ask("POST", f"{PREFIX}/webhooks/redeliver", hers, key)
    assert response.json()["redelivered"] == 1


async def test_an_idempotency_key_belongs_to_its_tenant(
    neighbours: Neighbours,
) -> None:
    hers = neighbours.alices.parameters["job_id"]
    response = await neighbours.ask("POST", "/api/v3/inpaint", neighbours.alices, neighbours.bob)
    his = response.json()
    assert his["status"] == "processing"
    assert str(his["id"]) != hers


async def test_a_tenant_sees_only_its_own_load(neighbours: Neighbours) -> None:
    for _ in range(3):
        await neighbours.gateway.post("inpaint", INPAINT_BODY)
    services = neighbours.gateway.services
    services.eta_estimator.__init__(services.database, silent_seconds=60)  # type: ignore[misc] # nothing read yet
    assert isinstance(services.eta_estimator, EtaEstimator)
    loads = [
        await neighbours.gateway.post("system_load", {"key": key})
        for key in (neighbours.gateway.key, neighbours.bob)
    ]
    assert [load["queue_num"] for load in loads] == [3, 0]


async def test_every_object_key_starts_with_the_tenants_id(neighbours: Neighbours) -> None:
    gateway = neighbours.gateway
    image = "iVBORw0KGgo="
    response = await gateway.post("inpaint", {**INPAINT_BODY, "init_image": image, "seed": 1})
    (tenant_id,) = {await gateway.read_column("tenant_id", response["id"])}
    links = [*response["future_links"], response["meta"]["init_image"]]
    assert len(links) == 2
    for link in links:
        assert f"/{tenant_id}/" in link
        assert UUID(re.findall(r"[0-9a-f-]{36}", link)[0])
    done = await gateway.post(f"fetch/{neighbours.alices.parameters['job_id']}")
    assert all(f"/{tenant_id}/generations/" in link for link in done["output"])
    assert json.dumps(done).count(f"/{tenant_id}/") >= 1
