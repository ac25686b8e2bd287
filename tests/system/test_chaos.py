"""The harness in its short form, and that it finds out when a protection is missing."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT

import pytest

# What the harness says of a build from which a protection was taken away.
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


@pytest.mark.timeout(DEADLINE_SECONDS)
async def test_nothing_is_lost_whatever_dies() -> None:
    code, said = await chaos("--short")
    assert code == 0, said
    assert "no violation" in said


@pytest.mark.timeout(DEADLINE_SECONDS)
async def test_a_missing_protection_is_found_out() -> None:
    """Each in a world of its own, side by side: most of their time they wait for a lease."""
    said = await asyncio.gather(*(chaos("--break", protection) for protection in FOUND_OUT))
    for (code, words), found_out in zip(said, FOUND_OUT.values(), strict=True):
        assert code == 1, words
        assert found_out in words, words
