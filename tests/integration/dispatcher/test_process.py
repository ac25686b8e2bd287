"""The dispatcher as a process: start, shutdown and crash."""

import asyncio
import json
import signal
import sys
import urllib.request

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook

from common.domain.delivery import DeliveryState
from common.postgres.repositories.maintenance.requeue import requeue_expired_deliveries
from common.settings import StorageSettings
from deploy.local.servers.ports import free_port
from tests.integration.dispatcher.harness import DispatcherHarness
from tests.integration.dispatcher.program import environment, running
from tests.support.jobs import Owner, add_succeeded_job
from tests.support.receiver import Receiver, Reply

KEY = "1/generations/a-1-0.png"


@pytest.fixture
def settings(database_url: str, redis_url: str, bucket: StorageSettings) -> dict[str, str]:
    return environment(database_url, redis_url, bucket)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_attempts_finish(
    harness: DispatcherHarness,
    owner: Owner,
    receiver: Receiver,
    settings: dict[str, str],
    number: signal.Signals,
) -> None:
    hold = asyncio.Event()
    receiver.replies.append(Reply(hold=hold))
    first = await add_succeeded_job(harness.database, owner, f"{receiver.url}?token=hush")
    async with running(settings) as program:
        request = await receiver.request()
        program.process.send_signal(number)
        await program.wait_for_event("finishing_deliveries")
        second = await add_succeeded_job(harness.database, owner, receiver.url)
        hold.set()
        line = await program.wait_for_event("delivery_attempted")
        await program.wait_for_event("dispatcher_stopped")
        assert await program.exit_code() == 0
    Webhook(owner.secret).verify(request.body, request.headers)
    assert (await harness.row(first.delivery_id)).state is DeliveryState.DELIVERED
    assert (await harness.row(second.delivery_id)).state is DeliveryState.PENDING

    assert line["job_id"] == first.job_id
    assert line["tenant_id"] == owner.id
    assert line["delivery_id"] == str(first.delivery_id)
    assert (line["attempt"], line["outcome"], line["process"]) == (1, "delivered", "dispatcher")
    for secret in ("hush", owner.secret, "a cat on a bench"):
        assert secret not in json.dumps(program.lines)


async def test_a_delivery_survives_its_dispatcher(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, settings: dict[str, str]
) -> None:
    receiver.replies.append(Reply(hold=asyncio.Event()))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with running(settings) as program:
        first = await receiver.request()
        program.process.kill()
        assert await program.exit_code() == -signal.SIGKILL
    assert (await harness.row(ended.delivery_id)).state is DeliveryState.SENDING
    await harness.expire("lease_expires_at")
    async with harness.database.statement() as connection:
        assert await requeue_expired_deliveries(connection, limit=10) == 1
    async with running(settings) as program:
        second = await receiver.request(2)
        await program.wait_for_event("delivery_attempted")
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    row = await harness.row(ended.delivery_id)
    assert (row.state, row.attempt, row.failures) == (DeliveryState.DELIVERED, 2, 0)


async def test_the_dispatcher_sweeps_and_serves_its_state(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, settings: dict[str, str]
) -> None:
    port = free_port()
    await add_succeeded_job(harness.database, owner, receiver.url)
    async with running(settings | {"INFILL_STATUS_PORT": str(port)}) as program:
        await program.wait_for_events("leadership_gained", "delivery_attempted")
        for page, expected in {
            "healthz": '{"status":"ok"}',
            "readyz": '{"status":"ok"}',
            "metrics": 'infill_deliveries_total{outcome="delivered"} 1.0',
        }.items():
            assert expected in await asyncio.to_thread(get, f"http://127.0.0.1:{port}/{page}")


async def test_the_dispatcher_deletes_old_rows(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, settings: dict[str, str]
) -> None:
    ended = await add_succeeded_job(harness.database, owner, None, object_keys=(KEY,))
    await harness.storage.put(KEY, b"pixels")
    async with harness.database.statement() as connection:
        await connection.execute(text("UPDATE jobs SET finished_at = finished_at - interval '1d'"))
    kept = {
        "INFILL_RETENTION_OBJECT_SECONDS": "7200",
        "INFILL_RETENTION_JOB_SECONDS": "7200",
        "INFILL_RETENTION_INTERVAL_SECONDS": "0.05",
    }
    async with running(settings | kept) as program:
        assert (await program.wait_for_event("retention_deleted"))["kind"] == "images"
        assert (await program.wait_for_event("retention_deleted"))["kind"] == "job"
        # Webhooks are sent all the same.
        await add_succeeded_job(harness.database, owner, receiver.url)
        await receiver.request()
        program.process.terminate()
        assert await program.exit_code() == 0
    assert await harness.storage.find(KEY) is None
    async with harness.database.statement() as connection:
        left = await connection.execute(text("SELECT id FROM jobs"))
        assert ended.job_id not in left.scalars()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - ours, on loopback
        return str(response.read().decode())


async def test_a_bad_setting_ends_the_process(settings: dict[str, str]) -> None:
    async with running(settings | {"INFILL_WEBHOOK_SIGNING_KEY": "whsk_short"}) as program:
        assert await program.exit_code() == 1


async def test_the_dispatcher_starts_without_postgres_and_redis(settings: dict[str, str]) -> None:
    nowhere = {
        "INFILL_DATABASE_URL": f"postgresql://infill@127.0.0.1:{free_port()}/infill",
        "INFILL_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }
    async with running(settings | nowhere) as program:
        line = await program.wait_for_event("dependency_unavailable")
        assert line["dependency"].startswith("postgres")
        program.process.terminate()
        assert await program.exit_code() == 0


async def test_the_dispatcher_loads_neither_torch_nor_celery() -> None:
    source = (
        "import sys, worker.dispatcher.process; "
        "sys.exit(bool({'torch', 'diffusers', 'celery', 'PIL'} & set(sys.modules)))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", source)
    assert await process.wait() == 0
