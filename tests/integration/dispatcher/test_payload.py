"""The body of a webhook: its output, links and status."""

import base64

import pytest
from sqlalchemy import text

from common.domain.delivery import DeliveryState
from common.object_store.storage import Storage
from common.outbound import Guard
from common.postgres.repositories.jobs.finish import cancel
from common.settings import StorageSettings
from deploy.local.servers.ports import free_port
from tests.integration.dispatcher.harness import DispatcherHarness
from tests.support.jobs import Owner, add_queued_job, add_succeeded_job
from tests.support.receiver import Receiver, Reply

IMAGE = b"\x89PNG, in name only"
KEY = "1/generations/a-1-0.png"


async def test_links_work_and_are_signed_anew_for_every_attempt(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, guard: Guard
) -> None:
    receiver.replies.append(Reply(500))
    await harness.storage.put(KEY, IMAGE)
    await harness.storage.put("inputs/mask", IMAGE)
    await add_succeeded_job(harness.database, owner, receiver.url, object_keys=(KEY,))
    async with harness.dispatching():
        await receiver.request()
    # A link contains its signing time in whole seconds: another lifetime makes it differ.
    resigned = Storage(harness.storage._settings.model_copy(update={"presigned_seconds": 60}))
    await harness.expire("available_at")
    async with harness.replace(storage=resigned).dispatching():
        await receiver.request(2)
    first, second = (request.json for request in receiver.requests)
    for body in (first, second):
        assert await guard.fetch(body["output"][0]) == IMAGE
        assert await guard.fetch(body["meta"]["mask_image"]) == IMAGE
        assert body["meta"]["init_image"] == "https://example.com/init.png"
        assert body["proxy_links"] == body["output"]
    assert first["output"] != second["output"]


@pytest.mark.parametrize("track_id", [None, "order 7", 7, 7.5])
async def test_track_id_keeps_its_type(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, track_id: str | float | None
) -> None:
    await add_succeeded_job(harness.database, owner, receiver.url, track_id=track_id)
    async with harness.dispatching():
        received = (await receiver.request()).json["track_id"]
    assert (received, type(received)) == (track_id, type(track_id))


@pytest.mark.parametrize("flagged", [True, False])
async def test_an_unsafe_image_is_reported(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, *, flagged: bool
) -> None:
    await add_succeeded_job(harness.database, owner, receiver.url, flagged=flagged)
    async with harness.dispatching():
        assert (await receiver.request()).json["nsfw_content_detected"] is flagged


async def test_base64_images_are_sent_if_asked_for(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    keys = (KEY, "1/generations/a-1-1.png")
    for number, key in enumerate(keys):
        await harness.storage.put(key, IMAGE + bytes([number]))
    await add_succeeded_job(harness.database, owner, receiver.url, object_keys=keys, base64=True)
    async with harness.dispatching():
        output = (await receiver.request()).json["output"]
    assert [base64.b64decode(image) for image in output] == [IMAGE + b"\0", IMAGE + b"\1"]


@pytest.mark.parametrize("as_base64", [False, True])
async def test_a_late_webhook_has_no_links_to_deleted_images(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, *, as_base64: bool
) -> None:
    await add_succeeded_job(
        harness.database, owner, receiver.url, object_keys=(KEY,), base64=as_base64
    )
    async with harness.database.statement() as connection:
        await connection.execute(text("UPDATE jobs SET objects_deleted_at = '2026-06-03 12:00Z'"))
    async with harness.dispatching():
        body = (await receiver.request()).json
    assert (body["status"], body["output"], body["meta"]["mask_image"]) == ("success", [], "")
    assert body["message"] == "The images of this job were deleted on 2026-06-03."


async def test_an_image_that_cannot_be_read_is_a_failed_attempt(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    ended = await add_succeeded_job(
        harness.database, owner, receiver.url, object_keys=("no",), base64=True
    )
    async with harness.dispatching():
        attempt = await harness.wait_for_attempt(ended.delivery_id)
    assert (attempt.status_code, attempt.error) == (None, "storage_unavailable")
    assert (await harness.row(ended.delivery_id)).state is DeliveryState.PENDING
    assert receiver.requests == []


async def test_a_store_that_hangs_does_not_hold_the_slot(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, bucket: StorageSettings
) -> None:
    hanging = f"http://127.0.0.1:{free_port()}"
    storage = Storage(bucket.model_copy(update={"endpoint_url": hanging}))
    ended = await add_succeeded_job(
        harness.database, owner, receiver.url, object_keys=(KEY,), base64=True
    )
    # Shorter than the client's pauses between its three tries.
    async with harness.replace(storage=storage).with_settings(timeout_seconds=0.01).dispatching():
        attempt = await harness.wait_for_attempt(ended.delivery_id)
    assert attempt.error == "storage_unavailable"
    storage.close()


async def test_a_canceled_job_has_the_status_failed(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    job_id = await add_queued_job(harness.database, owner, webhook_url=receiver.url)
    async with harness.database.statement() as connection:
        await cancel(connection, tenant_id=owner.id, job_id=job_id)
    async with harness.dispatching():
        body = (await receiver.request()).json
    assert (body["status"], body["message"]) == (
        "failed",
        "the job was canceled by its owner through the API",
    )


async def test_a_job_without_a_webhook_has_no_delivery(
    harness: DispatcherHarness, owner: Owner
) -> None:
    await add_succeeded_job(harness.database, owner, None)
    async with harness.database.statement() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM deliveries"))).scalar() == 0
