"""Handle signals immediately, whatever the main thread is doing."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

_AT_ONCE: Final = 64  # bytes; each is the number of a signal that arrived


@contextmanager
def acting_on_signals(
    numbers: Sequence[signal.Signals], act: Callable[[], object]
) -> Iterator[None]:
    """Call `act` in a separate thread for each signal received while the block runs.

    Python runs signal handlers only in the main thread, between two bytecodes. If the main thread
    is blocked on a lock, a handler may be delayed until the lock is free: in a worker that waits
    for its jobs, until the jobs have ended. But the interpreter writes the signal's number to a
    socket at once, and the separate thread reads this socket.

    Must be entered in the main thread. After the block the signals are ignored, because the process
    is ending.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)  # noqa: FBT003 - its only parameter, positional
    previous = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, _ignore)

    def read() -> None:
        while arrived := receiver.recv(_AT_ONCE):
            for number in arrived:
                if number in numbers:
                    act()

    thread = threading.Thread(target=read, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        sender.close()
        thread.join()
        receiver.close()


def _ignore(*_signal: object) -> None:
    """Do nothing; without a Python handler, the interpreter would not write to the socket."""
