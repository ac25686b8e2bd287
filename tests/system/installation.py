"""`infill up` and `infill demo` run as whole programs and observed from outside."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.requests import TEXT2IMG_BODY

# Loading torch takes most of it on a busy machine.
START_SECONDS = 120.0
END_SECONDS = 60.0
# Models that generate noise at once.
STAND_INS = ("standin-inpainting", "standin")


@dataclass
class Installation:
    """A running `infill up`; `output` holds the lines read so far."""

    process: Process
    home: Path
    port: int
    output: list[str]

    @property
    def credentials(self) -> dict[str, str]:
        read: dict[str, str] = json.loads((self.home / "credentials.json").read_text())
        return read

    async def wait_for_output(self, words: str) -> None:
        """Read the output up to a line that contains `words`."""
        assert self.process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            while line := await self.process.stdout.readline():
                self.output.append(line.decode())
                if words in self.output[-1]:
                    return
        raise AssertionError(f"it ended without printing {words!r}: {''.join(self.output)}")

    async def end(self) -> int:
        """Read the rest of the output and return the exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(END_SECONDS):
            self.output.append((await self.process.stdout.read()).decode())
            return await self.process.wait()


async def infill(*arguments: str, environment: Mapping[str, str] | None = None) -> Process:
    """Start the command with its output and errors in one pipe."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli", *arguments),
        stdout=PIPE,
        stderr=STDOUT,
        env={**os.environ, **(environment or {})},  # noqa: TID251 - what Python needs to start
    )


@asynccontextmanager
async def up(
    home: Path, port: int, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Installation]:
    """Run `infill up` while the block lasts, which starts when it is ready."""
    # A relative folder, as `make run` uses it.
    arguments = ("up", "--home", os.path.relpath(home), "--port", str(port))
    process = await infill(*arguments, environment=environment)
    try:
        running = Installation(process, home, port, [])
        await running.wait_for_output("Stop with Ctrl-C")
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(END_SECONDS):
                await process.communicate()


def descendants(pid: int) -> dict[int, str]:
    """Return the command line of every descendant of `pid`."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _read(entry / "stat")):
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= more
    # A process that has ended meanwhile has no command line.
    return {child: command for child in found if (command := _command(child))}


def alive(pids: Mapping[int, str]) -> dict[int, str]:
    """Return those of the processes that still run the same command."""
    return {pid: command for pid, command in pids.items() if _command(pid) == command}


def small_body(**fields: Any) -> dict[str, Any]:
    """Return the v3 body of a small request, which takes little time to generate."""
    return {
        **TEXT2IMG_BODY,
        "width": 64,
        "height": 64,
        "num_inference_steps": 2,
        "seed": 7,
        **fields,
    }


def _command(pid: int) -> str:
    return _read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
