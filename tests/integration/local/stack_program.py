"""A program that owns a small stack, for tests that end it: `HOME` is its argument.

It prints `ready` once all runs, and `died` when a child did.
"""

import asyncio
import sys
from pathlib import Path

from deploy.local.home_lock import held
from deploy.local.processes.interrupt import until_interrupted
from deploy.local.processes.supervisor import Supervisor
from tests.integration.local import parts


async def serve(home: Path) -> None:
    async with Supervisor(home / "logs") as supervisor:
        for server in (parts.postgres(home), parts.redis(home), parts.s3(home)):
            await parts.start(supervisor, server)
        tell("ready")
        tell(f"died {await supervisor.wait_for_death()}")


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with held(folder):
        asyncio.run(until_interrupted(serve(folder)))
