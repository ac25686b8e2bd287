"""A dispatcher or a worker in a process of its own."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from common.settings import StorageSettings

# Loading torch takes most of it, on a busy machine.
DEADLINE_SECONDS = 90.0


def environment(database_url: str, redis_url: str, bucket: StorageSettings) -> dict[str, str]:
    """Return the settings of a dispatcher that may call receivers on loopback."""
    key_id, secret = bucket.fixed_keys or ("", "")
    return {
        "INFILL_DATABASE_URL": database_url,
        "INFILL_REDIS_URL": redis_url,
        "INFILL_S3_ENDPOINT_URL": str(bucket.endpoint_url),
        "INFILL_S3_BUCKET": bucket.bucket,
        "INFILL_S3_ACCESS_KEY_ID": key_id,
        "INFILL_S3_SECRET_ACCESS_KEY": secret,
        "INFILL_OUTBOUND_ALLOWED_NETWORKS": '["127.0.0.0/8"]',
        "INFILL_OUTBOUND_ALLOWED_PORTS": "[0]",
        "INFILL_WEBHOOK_POLL_SECONDS": "0.05",
    }


@dataclass(slots=True)
class Program:
    """A running process and its log lines."""

    process: Process
    lines: list[dict[str, Any]]

    async def wait_for_event(self, event: str) -> dict[str, Any]:
        """Read its log up to the next line with that event, and return it."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            while line := await self.process.stdout.readline():
                self.lines.append(json.loads(line))
                if self.lines[-1]["event"] == event:
                    return self.lines[-1]
        raise AssertionError(f"it ended without saying {event}: {self.lines}")

    async def wait_for_events(self, *events: str) -> None:
        """Read its log until each of these events has appeared, in any order."""
        missing = set(events) - {line["event"] for line in self.lines}
        while missing:
            assert self.process.stdout is not None
            async with asyncio.timeout(DEADLINE_SECONDS):
                line = await self.process.stdout.readline()
            assert line, f"it ended without saying {missing}: {self.lines}"
            self.lines.append(json.loads(line))
            missing.discard(self.lines[-1]["event"])

    async def exit_code(self) -> int:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def running(
    settings: dict[str, str], module: str = "worker.dispatcher"
) -> AsyncIterator[Program]:
    """Run a module as a process while the block lasts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env=os.environ | settings,  # noqa: TID251 - what Python itself needs to start
        stdout=PIPE,
    )
    try:
        yield Program(process, [])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
