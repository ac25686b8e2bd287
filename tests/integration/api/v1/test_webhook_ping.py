"""Webhook pings: signed and guarded like deliveries, reported in full, recorded nowhere."""

import asyncio
from typing import Any

import pytest
from standardwebhooks import Webhook

from api.jobs.webhook_ping import PINGS_PER_TENANT, WebhookPing
from common.domain.delivery import Event
from common.outbound import Guard
from common.postgres.repositories.tenants.tenants import add_webhook_secret
from common.settings import OutboundSettings, Settings
from common.standard_webhooks.keys import new_secret
from deploy.local.servers.ports import free_port
from tests.integration.api.gateways import new_key
from tests.integration.api.v1.harness import WebhookHarness
from tests.support.receiver import SECRETS, Received, Receiver, Reply
from tests.unit.docs.samples import python_samples


async def rows(webhooks: WebhookHarness) -> int:
    async with webhooks.gateway.services.operator_database.statement() as connection:
        result = await connection.exec_driver_sql(
            "SELECT (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM delivery_attempts)"
            " + (SELECT count(*) FROM jobs)"
        )
        return int(result.scalar_one())


async def test_the_response_of_the_receiver_is_shown(
    webhooks: WebhookHarness, receiver: Receiver
) -> None:
    receiver.replies.append(Reply(500, body=b"no such order\xff" + b"x" * 100))
    code, result = await webhooks.ask("POST", "test", {"url": receiver.url, "track_id": 17})
    request = await receiver.request()
    assert (code, result["delivered"], result["status_code"], result["error"]) == (
        200,
        False,
        500,
        None,
    )
    assert result["answer"] == "no such order\N{REPLACEMENT CHARACTER}" + "x" * 50
    assert result["webhook_id"] == request.headers["webhook-id"]
    assert result["sent"]["body"].encode() == request.body
    assert result["sent"]["headers"].items() <= request.headers.items()
    assert (request.json["status"], request.json["id"], request.json["track_id"]) == (
        ("success", 0, 17)
    )
    assert await rows(webhooks) == 0


async def test_a_webhook_ping_is_signed_like_a_delivery(
    webhooks: WebhookHarness, receiver: Receiver
) -> None:
    """Each live secret of the tenant and the installation's key verify, as documented."""
    old, new = SECRETS[-1], new_secret()
    async with webhooks.gateway.services.operator_database.transaction() as connection:
        await add_webhook_secret(connection, tenant_id=1, secret=new, overlap_seconds=60)
    assert (await webhooks.ask("POST", "test", {"url": receiver.url}))[1]["delivered"] is True
    await webhooks.succeeded(receiver.url)
    keys = (await webhooks.gateway.client.get("/.well-known/infill-webhook-keys")).json()["keys"]
    services = webhooks.gateway.services
    ping, verified_v1a = await receiver.request(), python_samples()["verified_v1a"]
    assert [part.split(",")[0] for part in ping.headers["webhook-signature"].split()] == [
        *("v1", "v1", "v1a")
    ]
    assert verified_v1a(keys[0]["public_key"], ping.headers, ping.body) == ping.json
    for secret in (old, new):
        assert Webhook(secret).verify(ping.body, ping.headers) == ping.json
    assert set(ping.headers) == set(await headers_of_a_delivery(webhooks, receiver))
    assert services.settings.webhooks.signing_key is not None


async def headers_of_a_delivery(webhooks: WebhookHarness, receiver: Receiver) -> dict[str, str]:
    async with webhooks.dispatching():
        request: Received = await receiver.request(2)
    return request.headers


async def test_a_numeric_track_id_is_sent_unchanged(
    webhooks: WebhookHarness, receiver: Receiver
) -> None:
    for number, sent in enumerate((2**63 - 1, 10.0**18, -7.5), start=1):
        assert (await webhooks.ask("POST", "test", {"url": receiver.url, "track_id": sent}))[
            0
        ] == 200
        assert float((await receiver.request(number)).json["track_id"]) == float(sent)


async def test_every_event_can_be_pinged(webhooks: WebhookHarness, receiver: Receiver) -> None:
    for number, event in enumerate(Event, start=1):
        await webhooks.ask("POST", "test", {"url": receiver.url, "event": event})
        result = (await receiver.request(number)).json
        assert result["status"] == ("success" if event is Event.SUCCEEDED else "failed")
        assert (result["id"], result["track_id"]) == (0, "test")


async def test_a_webhook_ping_is_signed_with_the_tenants_own_secrets_only(
    webhooks: WebhookHarness, receiver: Receiver
) -> None:
    alices = SECRETS[-1]
    bob = await new_key(webhooks.gateway.services, "bob")
    await webhooks.ask("POST", "test", {"url": receiver.url}, key=bob)
    request = await receiver.request()
    assert request.verifies(SECRETS[-1])
    assert not request.verifies(alices)


async def test_all_internal_addresses_are_rejected_with_the_same_message(
    webhooks: WebhookHarness,
) -> None:
    detail = "must be an http or https URL with a public host: the address is not allowed"
    for url in (
        "http://10.0.0.1/hook",
        "http://127.0.0.2/hook",
        "http://[::1]/hook",
        "http://169.254.169.254/latest/meta-data",
        "http://x.localhost/hook",
        "http://redis.default.svc.cluster.local/",
    ):
        code, result = await webhooks.ask("POST", "test", {"url": url})
        assert code == 422
        assert result["errors"] == [{"pointer": "#/url", "detail": detail}]
        assert result["detail"] == f"url {detail}"


async def test_a_name_that_resolves_to_an_internal_address_is_rejected_with_the_same_message(
    webhooks: WebhookHarness, receiver: Receiver, settings: Settings
) -> None:
    from ipaddress import ip_address  # noqa: PLC0415

    async def inside(_host: str, _port: int) -> list[Any]:
        return [ip_address("10.1.2.3")]

    guard = Guard(OutboundSettings(), resolver=inside)
    services = webhooks.gateway.services
    ping = WebhookPing(services.database, guard, settings.webhooks)
    with pytest.raises(Exception, match="the address is not allowed") as rejected:
        await ping.send(1, "https://inside.example.com/", b"{}")
    assert "10.1.2.3" not in str(rejected.value)
    await guard.aclose()
    assert receiver.requests == []


async def test_a_missing_response_is_reported_by_an_error_name(webhooks: WebhookHarness) -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    code, result = await webhooks.ask("POST", "test", {"url": url})
    assert (code, result["delivered"], result["status_code"]) == (200, False, None)
    assert (result["error"], result["answer"]) == ("connect", "")


async def test_a_redirect_is_not_followed(webhooks: WebhookHarness, receiver: Receiver) -> None:
    receiver.replies.append(Reply(302, {"location": receiver.url}))
    _, result = await webhooks.ask("POST", "test", {"url": receiver.url})
    assert (result["delivered"], result["status_code"], len(receiver.requests)) == (False, 302, 1)


async def test_a_hanging_receiver_occupies_only_its_tenants_slots(
    webhooks: WebhookHarness, receiver: Receiver
) -> None:
    hold = asyncio.Event()
    receiver.replies.extend(Reply(hold=hold) for _ in range(PINGS_PER_TENANT))
    body = {"url": receiver.url}
    held = [
        asyncio.create_task(webhooks.ask("POST", "test", body)) for _ in range(PINGS_PER_TENANT)
    ]
    await receiver.request(PINGS_PER_TENANT)
    code, result = await webhooks.ask("POST", "test", body)
    assert (code, result["type"]) == (429, "urn:infill:problem:too_many_at_once")
    bob = await new_key(webhooks.gateway.services, "bob")
    assert (await webhooks.ask("POST", "test", body, key=bob))[0] == 200
    hold.set()
    assert [code for code, _ in await asyncio.gather(*held)] == [200] * PINGS_PER_TENANT
    assert (await webhooks.ask("POST", "test", body))[0] == 200


async def test_a_webhook_ping_has_the_deadline_of_deliveries(
    webhooks: WebhookHarness, receiver: Receiver, settings: Settings
) -> None:
    receiver.replies.append(Reply(drip=True))
    hurried = settings.webhooks.model_copy(
        update={"timeout_seconds": 0.2, "response_bytes": 10_000}
    )
    services = webhooks.gateway.services
    ping = WebhookPing(services.database, services.guard, hurried)
    result = await ping.send(1, receiver.url, b"{}")
    assert (result.delivered, result.error) == (False, "timeout")
    await receiver.wait_until(lambda: receiver.dropped == 1)


async def test_bad_bodies_are_reported(webhooks: WebhookHarness) -> None:
    address = "https://example.com"
    wrong: list[tuple[object, str]] = [
        ({}, "url"),
        ({"url": 5}, "url"),
        ({"url": address, "event": "job.started"}, "event"),
        ({"url": address, "secret": "x"}, "secret"),
        ({"url": address, "track_id": [1]}, "track_id"),
        ({"url": address, "track_id": "x" * 1001}, "track_id"),
    ]
    for body, field in wrong:
        code, result = await webhooks.ask("POST", "test", body)
        assert code == 422
        assert [error["pointer"] for error in result["errors"]] == [f"#/{field}"]
