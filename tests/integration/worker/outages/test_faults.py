"""A wrong configuration ends the process with one clear line, before it claims a job."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE

import pytest

from tests.integration.dispatcher.program import DEADLINE_SECONDS

ENGINES = "tests.integration.worker.harness.engine"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"INFILL_LOG_LEVEL": "LOUD"}, "INFILL_LOG_LEVEL: 'LOUD' is no level"),
        ({"INFILL_JOB_LEASE_SECONDS": "-1"}, "INFILL_JOB_LEASE_SECONDS: "),
        ({"INFILL_MODELS_SERVE": '["unknown"]'}, "INFILL_MODELS_SERVE names unknown"),
        ({"INFILL_WORKER_ENGINE": "worker.nothing:create"}, "INFILL_WORKER_ENGINE: 'worker.nothin"),
        ({"INFILL_WORKER_ENGINE": f"{ENGINES}:nothing"}, "INFILL_WORKER_ENGINE: "),
        ({"INFILL_WORKER_ENGINE": "not a name"}, "INFILL_WORKER_ENGINE: 'not a name'"),
        (
            {"INFILL_WORKER_ENGINE": f"{ENGINES}:create_broken_engine"},
            "the model one cannot be loaded: no such folder",
        ),
    ],
)
async def test_a_wrong_setting_ends_the_process(
    environment: dict[str, str], wrong: dict[str, str], expected: str
) -> None:
    await ends_with(environment | wrong, expected, "-m", "worker")


async def test_a_wrong_setting_ends_the_command(environment: dict[str, str]) -> None:
    wrong = environment | {"INFILL_WORKER_CONCURRENCY": "0"}
    await ends_with(wrong, "INFILL_WORKER_CONCURRENCY: ", "-m", "deploy.cli", "worker")


async def test_a_used_status_port_ends_the_process(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expected = f"INFILL_STATUS_PORT: cannot listen on 127.0.0.1:{port}"
        await ends_with(environment | {"INFILL_STATUS_PORT": str(port)}, expected, "-m", "worker")


async def ends_with(environment: dict[str, str], expected: str, *command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env=os.environ | environment,  # noqa: TID251 - what Python itself needs to start
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        logged, errors = await process.communicate()
    assert process.returncode == 1
    (line,) = errors.decode().splitlines()
    assert line.startswith("infill worker: ")
    assert expected in line
    assert b"worker_ready" not in logged
