"""The processes start while every store is unavailable, report it, and stop on a signal."""

import os
from pathlib import Path
from signal import Signals

import pytest

from deploy.local.processes.child import Child
from deploy.local.processes.readiness import responds_ok
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.stack import dispatcher_process, gateway_process


@pytest.fixture(autouse=True)
def unavailable_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    unused = free_port()
    monkeypatch.setenv("INFILL_DATABASE_URL", f"postgresql://x@{LOOPBACK}:{unused}/x")
    monkeypatch.setenv("INFILL_REDIS_URL", f"redis://{LOOPBACK}:{unused}/0")
    monkeypatch.setenv("INFILL_S3_ENDPOINT_URL", f"http://{LOOPBACK}:{unused}")
    monkeypatch.setenv("INFILL_S3_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("INFILL_S3_SECRET_ACCESS_KEY", "none")
    monkeypatch.setenv("INFILL_API_KEY_PEPPER", "pepper of the unit tests")


async def assert_starts_and_stops(folder: Path, child: Child, port: int) -> None:
    async with Supervisor(folder) as supervisor:
        pid = await supervisor.start(child)
        assert await responds_ok(port, "/healthz")
        assert not await responds_ok(port, "/readyz")
        os.kill(pid, Signals.SIGTERM)
        exited = await supervisor.wait_for_exit()
    # uvicorn sends itself the signal once more when everything is closed.
    assert exited.exit_code in {0, -Signals.SIGTERM}
    assert f'"event":"{child.name}_stopped"' in str(exited)


def checked_by_liveness(child: Child, port: int) -> Child:
    """Return the child with /healthz as its check, since it cannot become ready."""
    return Child(
        name=child.name,
        command=child.command,
        environment=child.environment,
        ready=lambda: responds_ok(port, "/healthz"),
    )


async def test_a_gateway_starts_without_stores_and_stops_on_a_signal(tmp_path: Path) -> None:
    port = free_port()
    await assert_starts_and_stops(tmp_path, checked_by_liveness(gateway_process(port), port), port)


async def test_a_dispatcher_starts_without_stores_and_stops_on_a_signal(tmp_path: Path) -> None:
    child = dispatcher_process()
    port = int(child.environment["INFILL_STATUS_PORT"])
    await assert_starts_and_stops(tmp_path, checked_by_liveness(child, port), port)
