"""Single deliveries: what the receiver gets, and what follows each response."""

import asyncio
import base64
from datetime import datetime, timedelta

import pytest
from standardwebhooks import Webhook

from common.domain.delivery import DeliveryState
from common.outbound import Guard
from common.postgres.repositories.maintenance.requeue import requeue_expired_deliveries
from common.postgres.repositories.tenants.tenants import add_webhook_secret
from common.runtime.clock import utc_now
from common.settings import OutboundSettings
from common.standard_webhooks.keys import load_signing_key, new_secret, new_signing_key
from deploy.local.servers.ports import free_port
from tests.integration.dispatcher.harness import DispatcherHarness
from tests.support.jobs import Owner, add_failed_job, add_succeeded_job, create_owner
from tests.support.receiver import Receiver, Reply
from worker.dispatcher import attempt_buffer as recorder
from worker.dispatcher import sender

DELIVERED, PENDING = DeliveryState.DELIVERED, DeliveryState.PENDING


async def test_a_success_is_sent_once_and_verifies(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    ended = await add_succeeded_job(harness.database, owner, receiver.url, track_id=17)
    async with harness.dispatching():
        request = await receiver.request()
    assert request.target == "/hook"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("Infill/")
    assert request.headers["webhook-id"] == str(ended.delivery_id)
    body = Webhook(owner.secret).verify(request.body, request.headers)
    assert body["status"] == "success"
    assert (body["id"], body["track_id"]) == (ended.job_id, 17)

    row = await harness.row(ended.delivery_id)
    assert (row.state, row.attempt, row.failures) == (DELIVERED, 1, 0)
    (attempt,) = await harness.attempts(ended.delivery_id)
    assert tuple(attempt)[:4] == (1, 200, None, "ok")
    assert attempt.next_attempt_at is None
    assert len(receiver.requests) == 1


async def test_a_failure_is_sent_with_its_message(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    ended = await add_failed_job(
        harness.database, owner, receiver.url, "mask_image: HTTP 404", track_id="a"
    )
    async with harness.dispatching():
        request = await receiver.request()
    assert request.json == {
        "status": "failed",
        "id": ended.job_id,
        "message": "mask_image: HTTP 404",
        "messege": "mask_image: HTTP 404",
        "output": [],
        "track_id": "a",
    }


async def test_old_and_new_secret_and_the_public_key_all_verify(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    newer, key = new_secret(), load_signing_key(new_signing_key())
    async with harness.database.transaction() as connection:
        await add_webhook_secret(connection, tenant_id=owner.id, secret=newer, overlap_seconds=3600)
    await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.replace(key=key).dispatching():
        request = await receiver.request()
    for secret in (owner.secret, newer):
        assert Webhook(secret).verify(request.body, request.headers)["status"] == "success"
    by_key = request.headers["webhook-signature"].split(" ")[-1].removeprefix("v1a,")
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode()
    key.public_key().verify(base64.b64decode(by_key), signed + request.body)


async def test_a_failed_attempt_is_repeated_under_the_same_id(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    receiver.replies.append(Reply(500, body=b"database \0 gone"))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.dispatching():
        first = await receiver.request()
    row = await harness.row(ended.delivery_id)
    assert (row.state, row.failures) == (PENDING, 1)
    assert 3 < row.due_in < 6
    await harness.expire("available_at")
    async with harness.dispatching():
        second = await receiver.request(2)
    row = await harness.row(ended.delivery_id)
    assert (row.state, row.attempt, row.failures) == (DELIVERED, 2, 1)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.json["webhook_status"] == "pending"
    assert second.json["webhook_status"] == "retrying"
    for request in (first, second):
        Webhook(owner.secret).verify(request.body, request.headers)
    logged = [tuple(attempt)[:4] for attempt in await harness.attempts(ended.delivery_id)]
    assert logged == [
        (1, 500, None, "database \N{REPLACEMENT CHARACTER} gone"),
        (2, 200, None, "ok"),
    ]
    assert (await harness.attempts(ended.delivery_id))[0].next_attempt_at is not None


async def test_a_slow_clock_does_not_shorten_the_retry_delay(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a machine hours behind would use up the schedule within seconds."""

    def an_hour_ago() -> datetime:
        return utc_now() - timedelta(hours=1)

    for module in (sender, recorder):
        monkeypatch.setattr(module, "utc_now", an_hour_ago, raising=False)
    receiver.replies.append(Reply(500))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.dispatching():
        await harness.wait_for_attempt(ended.delivery_id)
    row = await harness.row(ended.delivery_id)
    assert (row.state, row.failures) == (PENDING, 1)
    assert 0 < row.due_in < 6


async def test_a_redirect_is_a_failure_and_not_followed(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    receiver.replies.append(Reply(307, {"location": f"{receiver.url}/elsewhere"}))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.dispatching():
        await receiver.request()
    assert (await harness.row(ended.delivery_id)).state is PENDING
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(410), "gone"),
        (Reply(500, {"webhook-delivery": "abort-message"}), "abort_message"),
        (Reply(404, {"Webhook-Delivery": " Abort-Message "}), "abort_message"),
    ],
)
async def test_a_receiver_can_end_a_delivery(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, reply: Reply, why: str
) -> None:
    receiver.replies.append(reply)
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.dispatching():
        attempt = await harness.wait_for_attempt(ended.delivery_id)
    assert (attempt.status_code, attempt.ended_by) == (reply.status, why)
    assert (await harness.row(ended.delivery_id)).state is DeliveryState.DISCARDED


async def test_success_with_an_abort_header_is_a_success(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    receiver.replies.append(Reply(200, {"webhook-delivery": "abort-message"}))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.dispatching():
        attempt = await harness.wait_for_attempt(ended.delivery_id)
    assert attempt.ended_by is None
    assert (await harness.row(ended.delivery_id)).state is DELIVERED


async def test_an_unknown_value_of_the_control_header_is_ignored(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    receiver.replies.append(Reply(500, {"webhook-delivery": "please"}))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.dispatching():
        await receiver.request()
    assert (await harness.row(ended.delivery_id)).state is PENDING


async def test_retry_after_of_a_busy_receiver_delays_the_retry(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    receiver.replies.append(Reply(429, {"retry-after": "1800"}))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.dispatching():
        await receiver.request()
    assert 1790 < (await harness.row(ended.delivery_id)).due_in <= 1800


async def test_a_dripping_receiver_is_cut_off(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    receiver.replies.append(Reply(drip=True))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.with_settings(timeout_seconds=0.3, response_bytes=4096).dispatching():
        await receiver.wait_until(lambda: receiver.dropped)
    (attempt,) = await harness.attempts(ended.delivery_id)
    assert (attempt.status_code, attempt.error) == (None, "timeout")
    assert (await harness.row(ended.delivery_id)).state is PENDING


async def test_a_rejected_connection_is_a_failed_attempt(
    harness: DispatcherHarness, owner: Owner
) -> None:
    ended = await add_succeeded_job(harness.database, owner, f"http://127.0.0.1:{free_port()}/hook")
    async with harness.dispatching():
        attempt = await harness.wait_for_attempt(ended.delivery_id)
    assert (attempt.status_code, attempt.error, attempt.answer) == (None, "connect", "")
    assert (await harness.row(ended.delivery_id)).state is PENDING


async def test_a_delivery_to_a_forbidden_address_is_discarded_unsent(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    guard = Guard(OutboundSettings(allowed_ports=frozenset({0})))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.replace(guard=guard).dispatching():
        attempt = await harness.wait_for_attempt(ended.delivery_id)
    await guard.aclose()
    assert (await harness.row(ended.delivery_id)).state is DeliveryState.DISCARDED
    assert (attempt.error, attempt.ended_by) == ("address_not_allowed", "address_not_allowed")
    assert receiver.requests == []


async def test_a_delivery_ends_with_its_schedule(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    receiver.replies.extend([Reply(500), Reply(503), Reply(404)])
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    short = harness.with_settings(retry_schedule_seconds=(5.0, 300.0))
    for number in (1, 2, 3):
        await harness.expire("available_at")
        async with short.dispatching():
            await receiver.request(number)
    row = await harness.row(ended.delivery_id)
    assert (row.state, row.failures) == (DeliveryState.EXHAUSTED, 3)
    logged = [
        (attempt.status_code, attempt.ended_by)
        for attempt in await harness.attempts(ended.delivery_id)
    ]
    assert logged == [(500, None), (503, None), (404, "schedule")]


async def test_an_error_in_one_delivery_stops_no_other(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    async with harness.database.transaction() as connection:
        await add_webhook_secret(
            connection, tenant_id=owner.id, secret="malformed", overlap_seconds=-1
        )
    broken = await add_succeeded_job(harness.database, owner, receiver.url)
    sound = await add_succeeded_job(
        harness.database, await create_owner(harness.database), receiver.url
    )
    async with harness.dispatching():
        assert (await harness.wait_for_attempt(broken.delivery_id)).error == "internal_error"
        request = await receiver.request()
    assert (await harness.row(broken.delivery_id)).state is PENDING
    assert request.headers["webhook-id"] == str(sound.delivery_id)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("late", [False, True])
async def test_a_response_is_recorded_only_under_a_held_claim(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, *, late: bool
) -> None:
    """The first dispatcher hangs until its lease has expired and another has sent it again."""
    hold = asyncio.Event()
    receiver.replies.append(Reply(200 if late else 500, hold=hold))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.dispatching():
        await receiver.request()
        await harness.expire("lease_expires_at")
        async with harness.database.statement() as connection:
            assert await requeue_expired_deliveries(connection, limit=10) == 1
        async with harness.dispatching():
            await receiver.request(2)
        assert (await harness.row(ended.delivery_id)).state is DELIVERED
        hold.set()
    row = await harness.row(ended.delivery_id)
    assert (row.state, row.attempt, row.failures) == (DELIVERED, 2, 0)
    assert [attempt.attempt for attempt in await harness.attempts(ended.delivery_id)] == [2]
