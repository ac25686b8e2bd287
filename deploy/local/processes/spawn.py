"""Start child processes that cannot outlive this process."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from pathlib import Path
from typing import IO

from deploy.local.processes.child import Child

LAUNCH = Path(__file__).with_name("launch.py")


async def spawn(child: Child, log: IO[bytes]) -> Process:
    """Start `child`, with its output redirected to `log`, and return its process.

    The child leads its own process group: Ctrl-C in a terminal reaches only this process, which
    stops the children in order. The kernel ends the child when the calling thread ends, so call
    this from the main thread.

    Raises:
        OSError: the process could not be started.
    """
    # Isolated and without site-packages, Python starts in some 20 ms.
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
        # Passed on unchanged; no setting is read from it here.
        env={**os.environ, **child.environment},  # noqa: TID251
        process_group=0,
    )
