"""A low limit of file descriptors lowers the number of attempts."""

import subprocess
import sys

import pytest

# In a process of its own: a limit that was lowered cannot be raised again.
SOURCE = """
import resource, sys
from worker.dispatcher.process import raise_descriptor_limit

soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
room = raise_descriptor_limit(wanted)
print(room, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "room"),
    [(100, 1000, 500, 500), (100, 1000, 6000, 800), (64, 64, 6000, 1)],
)
def test_the_descriptor_limit_is_raised_and_bounds_the_attempts(
    soft: int, hard: int, wanted: int, room: int
) -> None:
    limits = map(str, (soft, hard, wanted))
    lines = subprocess.run(
        [sys.executable, "-c", SOURCE, *limits], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert lines[-1].split() == [str(room), str(hard)]
    assert ("too_few_file_descriptors" in "".join(lines)) == (room < wanted)
