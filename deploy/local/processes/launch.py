"""A launcher that sets up its own process and then executes a program; run as a script only.

`launch.py PARENT DEATH_SIGNAL ACCOUNT COMMAND…` makes the kernel send DEATH_SIGNAL to the process
when the thread that started it ends, and then executes COMMAND. PARENT is the process id of the
starter. ACCOUNT is `-` for no change, `UID:GID` to switch to that account, or `UID:GID:+` to switch
but keep the right to enter folders that are closed to it.

This is not done in `preexec_fn`, because that runs Python between fork and exec, where another
thread's lock may be held forever.
"""

import ctypes
import os
import signal
import sys
from typing import NoReturn

# From <linux/prctl.h>, <linux/securebits.h> and <linux/capability.h>.
PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION = 0x20080522


class CapabilityHeader(ctypes.Structure):
    """The first argument of capset(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilitySet(ctypes.Structure):
    """One 32-bit half of the capability sets, the second argument of capset(2)."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


libc = ctypes.CDLL(None, use_errno=True)


def check_result(result: int, what: str) -> None:
    """Raise OSError for C's errno if `result` is not zero; `what` names the failed C call."""
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def switch_account(uid: int, gid: int) -> None:
    """Switch this process to an account, irreversibly."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def switch_account_keeping_access(uid: int, gid: int) -> None:
    """Switch to an account, but keep the capability to access files regardless of their mode.

    The security bit prevents both setuid(2) and access(2) from dropping the capability.
    """
    check_result(libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "secure bits")
    switch_account(uid, gid)
    right = 1 << CAP_DAC_OVERRIDE
    header = CapabilityHeader(CAPABILITY_VERSION, 0)
    rights = (CapabilitySet * 2)(CapabilitySet(right, right, right), CapabilitySet(0, 0, 0))
    check_result(libc.capset(ctypes.byref(header), rights), "capset")
    check_result(
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0), "ambient"
    )


def main(parent: str, death_signal: str, account: str, *command: str) -> NoReturn:
    """Set up this process (account, death signal, umask), then replace it with `command`.

    Exits with status 1 if the process `parent` has ended already.
    """
    if account != "-":
        uid, gid, *keeps_access = account.split(":")
        (switch_account_keeping_access if keeps_access else switch_account)(int(uid), int(gid))
    # After the switch of account, which clears it.
    check_result(libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0), "parent death signal")
    if os.getppid() != int(parent):  # it died before prctl took effect
        sys.exit(1)
    os.umask(0o077)  # images, logs and data are for this account only
    # Python ignores these signals, and programs inherit ignored signals.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 - an absolute path, no shell


if __name__ == "__main__":
    main(*sys.argv[1:])
