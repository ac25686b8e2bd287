"""The harness in its short form, and that it finds out when a protection is missing."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT

import pytest

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
@pytest.mark.parametrize(
    ("protection", "found_out"),
    [
        ("fence", "but the claim belonged to attempt"),
        ("outbox", ": 0 deliveries"),
        ("heartbeat", "though its worker lived"),
    ],
)
async def test_a_missing_protection_is_found_out(protection: str, found_out: str) -> None:
    code, said = await chaos("--break", protection)
    assert code == 1, said
    assert found_out in said, said
