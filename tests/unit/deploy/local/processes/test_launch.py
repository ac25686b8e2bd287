"""`launch.py`, run as a program."""

import os
import signal
import subprocess
import sys

from deploy.local.processes.spawn import LAUNCH


def launch(parent: int, account: str, *command: str) -> subprocess.CompletedProcess[str]:
    launcher = (sys.executable, "-I", "-S", str(LAUNCH), str(parent), str(int(signal.SIGKILL)))
    return subprocess.run(
        (*launcher, account, *command), capture_output=True, text=True, check=False
    )


def test_launch_executes_the_command() -> None:
    ended = launch(os.getpid(), "-", "/bin/sh", "-c", "echo $0 here; exit 5")
    assert (ended.stdout, ended.returncode) == ("/bin/sh here\n", 5)


def test_the_command_ignores_no_additional_signal() -> None:
    ended = launch(os.getpid(), "-", "/bin/grep", "SigIgn", "/proc/self/status")
    ignored = int(ended.stdout.split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)


def test_the_command_is_not_started_if_the_parent_has_ended() -> None:
    ended = launch(os.getpid() + 1, "-", "/bin/echo", "started")
    assert (ended.stdout, ended.returncode) == ("", 1)


def test_the_kernel_kills_the_command_with_its_parent() -> None:
    show = (
        "import ctypes; number = ctypes.c_int(); "
        "ctypes.CDLL(None).prctl(2, ctypes.byref(number)); print(number.value)"
    )
    ended = launch(os.getpid(), "-", sys.executable, "-c", show)
    assert ended.stdout == f"{int(signal.SIGKILL)}\n"


def test_a_failed_change_of_account_is_an_error() -> None:
    ended = launch(os.getpid(), "not:numbers", "/bin/echo", "started")
    assert (ended.stdout, ended.returncode) == ("", 1)
