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
FOUND_OUT = {
    "fence": "but the claim belonged to attempt",
    "outbox": ": 0 deliveries",
    "heartbeat": "though its worker lived",
}
# It takes about a minute alone; other tests may be at work beside it.
DEADLINE_SECONDS = 400


async def chaos(*arguments: str) -> tuple[int, str]:
    """Run the harness as `make chaos` does; give its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos", "--seed", "1", *arguments),
        stdout=PIPE,
        stderr=STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


def test_the_tables_of_faults_agree() -> None:
    """The short run injects every kind there is, and every protection has its test."""
    assert sorted(OTHER_FAULTS) == sorted(FAULTS)
    assert sorted(short(seed=1).faults) == sorted(KINDS)
    assert set(full(seed=1).faults) == set(KINDS)
    assert FOUND_OUT.keys() == FAULTS_OF_BREAK.keys()


@pytest.mark.timeout(DEADLINE_SECONDS)
async def test_nothing_is_lost_whatever_dies() -> None:
    code, said = await chaos("--short")
    assert code == 0, said
    assert "no violation" in said
    # A crash of a process and a fault of another kind are recorded alike: each once.
    for kind in KINDS:
        assert re.search(rf"^fault: {re.escape(kind)} +1$", said, re.MULTILINE), kind


@pytest.mark.timeout(DEADLINE_SECONDS)
async def test_a_missing_protection_is_found_out() -> None:
    """Each in a world of its own, side by side: most of their time they wait for a lease."""
    said = await asyncio.gather(*(chaos("--break", protection) for protection in FOUND_OUT))
    for (code, words), found_out in zip(said, FOUND_OUT.values(), strict=True):
        assert code == 1, words
        assert found_out in words, words
