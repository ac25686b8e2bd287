"""The chaos harness: every kind of fault once, and the detection of each removed protection."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT

import pytest

from tests.chaos.__main__ import FAULTS_OF_BREAK
from tests.chaos.faults.inject import FAULTS
from tests.chaos.plan import CRASHES, OTHER_FAULTS, full, short

KINDS = (*CRASHES, *OTHER_FAULTS)

# The violation that reveals each removed protection.
VIOLATIONS = {
    "fence": "but the claim belonged to attempt",
    "outbox": ": 0 deliveries",
    "heartbeat": "though its worker lived",
    "upload": "though the worker of its images lived",
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


def test_the_tables_of_faults_agree() -> None:
    """The short run injects every kind there is, and every protection has its test."""
    assert sorted(OTHER_FAULTS) == sorted(FAULTS)
    assert sorted(short(seed=1).faults) == sorted(KINDS)
    assert set(full(seed=1).faults) == set(KINDS)
    assert VIOLATIONS.keys() == FAULTS_OF_BREAK.keys()


@pytest.mark.timeout(DEADLINE_SECONDS)
async def test_no_fault_loses_a_job() -> None:
    code, output = await chaos("--short")
    assert code == 0, output
    assert "no violation" in output
    # A crash of a process and a fault of another kind are recorded alike: each once.
    for kind in KINDS:
        assert re.search(rf"^fault: {re.escape(kind)} +1$", output, re.MULTILINE), kind


@pytest.mark.timeout(DEADLINE_SECONDS)
async def test_a_removed_protection_is_detected() -> None:
    """The runs go side by side, because most of their time they wait for a lease."""
    runs = await asyncio.gather(*(chaos("--break", protection) for protection in VIOLATIONS))
    for (code, output), violation in zip(runs, VIOLATIONS.values(), strict=True):
        assert code == 1, output
        assert violation in output, output
