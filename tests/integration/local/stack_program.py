"""A program that owns a small stack, for tests that end it: `HOME` is its argument.

It prints `ready` once all runs, and `died` when a child did.
"""

import asyncio
import sys
from pathlib import Path

from deploy.local.home_lock import lock_home
from deploy.local.processes.interrupt import run_until_interrupted
from deploy.local.processes.supervisor import Supervisor
from tests.integration.local import parts


async def serve(home: Path) -> None:
    async with Supervisor(home / "logs") as supervisor:
        for server in (parts.postgres(home), parts.redis(home), parts.s3(home)):
            await parts.start(supervisor, server)
        print_line("ready")
        print_line(f"died {await supervisor.wait_for_exit()}")


def print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with lock_home(folder):
        asyncio.run(run_until_interrupted(serve(folder)))
