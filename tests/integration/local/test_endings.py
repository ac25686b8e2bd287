"""However the program that runs the stack ends, no server outlives it."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.local import parts

HERE = Path(__file__).parents[3]


@asynccontextmanager
async def running_stack(home: Path) -> AsyncIterator[tuple[Process, list[int]]]:
    """Run the program; yield it, and a handle of each of its descendants."""
    program = (sys.executable, "-m", "tests.integration.local.stack_program", str(home))
    process = await asyncio.create_subprocess_exec(*program, cwd=HERE, stdout=PIPE, process_group=0)
    try:
        await read_line_starting(process, "ready")
        with parts.watched(parts.descendants(process.pid)) as handles:
            assert len(handles) > 3
            yield process, handles
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def read_line_starting(process: Process, word: str) -> str:
    assert process.stdout
    async with asyncio.timeout(parts.DEADLINE_SECONDS):
        async for line in process.stdout:
            if line.decode().startswith(word):
                return line.decode()
    raise AssertionError(f"it ended without printing {word!r}")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_everything_in_order(tmp_path: Path, how: signal.Signals) -> None:
    async with running_stack(tmp_path) as (process, handles):
        process.send_signal(how)
        assert await process.wait() == 0
        assert await parts.all_ended(handles)
    assert "database system is shut down" in (tmp_path / "logs" / "postgres.log").read_text()


async def test_ctrl_c_in_a_terminal_is_handled_by_the_owner_only(tmp_path: Path) -> None:
    async with running_stack(tmp_path) as (process, handles):
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGINT)
        assert await process.wait() == 0
        assert await parts.all_ended(handles)


async def test_kill_leaves_no_orphans_and_the_next_start_succeeds(tmp_path: Path) -> None:
    async with running_stack(tmp_path) as (process, handles):
        process.kill()
        assert await parts.all_ended(handles)
    async with running_stack(tmp_path) as (process, handles):
        process.terminate()
        assert await process.wait() == 0


async def test_a_dead_server_ends_the_others(tmp_path: Path) -> None:
    async with running_stack(tmp_path) as (process, handles):
        signal.pidfd_send_signal(handles[-1], signal.SIGKILL)
        assert "s3 was ended by SIGKILL" in await read_line_starting(process, "died")
        assert await process.wait() == 0
        assert await parts.all_ended(handles)
