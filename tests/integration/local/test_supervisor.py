"""The supervisor: order of starts and stops, exits reported at once, no orphans."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from common.domain.errors import ConfigurationError
from deploy.local.processes.child import Child
from deploy.local.processes.supervisor import Supervisor
from tests.integration.local import parts

WAIT = "import signal; signal.pause()"


async def test_children_stop_in_the_opposite_order(tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    source = (
        "import pathlib, signal, sys\n"
        f"def end(*_): open({str(ends)!r}, 'a').write('{{name}} '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "pathlib.Path({ready!r}).touch()\n"
        "while True: signal.pause()\n"
    )
    async with Supervisor(tmp_path / "logs") as supervisor:
        for name in ("first", "second", "third"):
            mark = tmp_path / name
            child = parts.python(name, source.format(name=name, ready=str(mark)))
            await supervisor.start(_ready_when_exists(child, mark))
    assert ends.read_text() == "third second first "


def _ready_when_exists(child: Child, mark: Path) -> Child:
    async def ready() -> bool:
        return await asyncio.to_thread(mark.exists)

    return replace(child, ready=ready)


async def never() -> bool:
    return False


async def test_an_exit_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "logs") as supervisor:
        await supervisor.start(parts.python("steady", WAIT))
        await supervisor.start(parts.python("brief", "print('goodbye'); raise SystemExit(3)"))
        exited = await supervisor.wait_for_exit()
        assert (exited.name, exited.exit_code) == ("brief", 3)
        assert str(exited).startswith("brief ended with exit code 3. The end of its log, ")
        assert str(exited).endswith("brief.log:\ngoodbye")


async def test_the_others_are_stopped_after_an_exit(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "logs") as supervisor:
        steady = await supervisor.start(parts.python("steady", WAIT))
        brief = await supervisor.start(parts.python("brief", WAIT))
        with parts.watched([steady]) as handles:
            os.kill(brief, signal.SIGKILL)
            assert (await supervisor.wait_for_exit()).name == "brief"
            await supervisor.stop_all()
            assert await parts.all_ended(handles)


async def test_a_child_that_ends_before_it_is_ready_is_an_error(tmp_path: Path) -> None:
    child = replace(parts.python("early", "raise SystemExit('no disk')"), ready=never)
    async with Supervisor(tmp_path / "logs") as supervisor:
        with pytest.raises(ConfigurationError, match=r"(?s)early ended with exit code 1.*no disk"):
            await supervisor.start(child)


async def test_a_child_that_never_gets_ready_is_an_error(tmp_path: Path) -> None:
    child = replace(parts.python("slow", WAIT), ready=never, ready_seconds=0.1)
    async with Supervisor(tmp_path / "logs") as supervisor:
        with pytest.raises(ConfigurationError, match=r"slow was not ready within 0\.1 seconds"):
            await supervisor.start(child)


async def test_a_child_that_ignores_signals_is_killed_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "ready"
    source = (
        "import os, pathlib, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"os.fork() or pathlib.Path({str(mark)!r}).touch()\n"
        "signal.pause()\n"
    )
    child = replace(parts.python("stubborn", source), stop_seconds=0.1)
    async with Supervisor(tmp_path / "logs") as supervisor:
        pid = await supervisor.start(_ready_when_exists(child, mark))
        with parts.watched([pid, *parts.descendants(pid)]) as handles:
            assert len(handles) == 2
            await supervisor.stop_all()
            assert await parts.all_ended(handles)


async def test_a_child_leads_a_group_of_its_own(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "logs") as supervisor:
        pid = await supervisor.start(parts.python("steady", WAIT))
        assert os.getpgid(pid) == pid


async def test_the_log_of_the_previous_run_is_kept(tmp_path: Path) -> None:
    for word in ("one", "two"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(parts.python("talker", f"print('{word}')"))
            await supervisor.wait_for_exit()
    assert (tmp_path / "talker.log").read_text() == "two\n"
    assert (tmp_path / "talker.log.1").read_text() == "one\n"


async def test_the_environment_is_inherited_and_extended(tmp_path: Path) -> None:
    source = "import os; print(os.environ['EXTRA'], 'PATH' in os.environ, os.getcwd())"
    child = replace(
        parts.python("talker", source), environment={"EXTRA": "more"}, directory=tmp_path
    )
    async with Supervisor(tmp_path / "logs") as supervisor:
        await supervisor.start(child)
        await supervisor.wait_for_exit()
    assert (tmp_path / "logs" / "talker.log").read_text() == f"more True {tmp_path}\n"


async def test_waiting_without_children_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"[Ss]et of .* is empty"):
        await Supervisor(tmp_path).wait_for_exit()


async def test_a_child_that_has_just_ended_does_not_keep_the_others_running(tmp_path: Path) -> None:
    """Between the end of a child and its handling, a signal finds no process."""
    async with Supervisor(tmp_path / "logs") as supervisor:
        steady = await supervisor.start(parts.python("steady", WAIT))
        await supervisor.start(parts.python("brief", "pass"))
        last = supervisor._running[-1]
        await last.exited
        late = asyncio.create_task(asyncio.wait_for(asyncio.shield(last.exited), 10))
        supervisor._running[-1] = replace(last, exited=late)
        await supervisor.stop_all()
    with pytest.raises(ProcessLookupError):
        os.kill(steady, 0)
