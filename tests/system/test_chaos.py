"""The chaos harness passes in its short form, and detects each removed protection."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT

import pytest

# The violation the harness reports when a protection is removed.
VIOLATIONS = {
    "fence": "but the claim belonged to attempt",
    "outbox": ": 0 deliveries",
    "heartbeat": "though its worker lived",
}
# It takes about a minute alone; other tests may run beside it.
DEADLINE_SECONDS = 400


async def chaos(*arguments: str) -> tuple[int, str]:
    """Run the harness as `make chaos` does; return its exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos", "--seed", "1", *arguments),
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.timeout(DEADLINE_SECONDS)
async def test_no_fault_loses_a_job() -> None:
    code, output = await chaos("--short")
    assert code == 0, output
    assert "no violation" in output


@pytest.mark.timeout(DEADLINE_SECONDS)
async def test_a_removed_protection_is_detected() -> None:
    """The runs go side by side, because most of their time they wait for a lease."""
    runs = await asyncio.gather(*(chaos("--break", protection) for protection in VIOLATIONS))
    for (code, output), violation in zip(runs, VIOLATIONS.values(), strict=True):
        assert code == 1, output
        assert violation in output, output
