"""Starting one child so that it cannot outlive us."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from pathlib import Path
from typing import IO

from deploy.local.processes.child import Child

LAUNCH = Path(__file__).with_name("launch.py")


async def spawn(child: Child, log: IO[bytes]) -> Process:
    """Start `child`, its output going to `log`.

    It leads a process group of its own: Ctrl-C in a terminal reaches us alone, and we stop the
    children in order. The kernel ends it when the thread that called this ends, so call it from
    a thread that lives as long as the child should: the main one.

    Raises:
        OSError: no process could be started.
    """
    # Isolated and without site-packages, Python is in the way for some 20 ms only.
    launch = (sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()))
    account = "-" if child.account is None else str(child.account)
    return await asyncio.create_subprocess_exec(
        *launch,
        str(int(child.death_signal)),
        account,
        *child.command,
        stdin=DEVNULL,
        stdout=log,
        stderr=STDOUT,
        cwd=child.directory,
        # Handed on as it is; no setting is read from it here.
        env={**os.environ, **child.environment},  # noqa: TID251
        process_group=0,
    )
