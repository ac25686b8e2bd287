"""Acting on signals at once, whatever the main thread is doing."""

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
    """Call `act` in a thread of its own for each of these signals, while the block lasts.

    Python runs handlers in the main thread alone, between two bytecodes. A signal that arrives
    just before that thread blocks on a lock, or that the kernel delivers to another thread, waits
    until the lock is free: in a worker that waits for its jobs, until they are done. The
    interpreter writes the signal's number to a socket at once, and the thread reads it there.

    To be entered in the main thread. Afterwards the signals are ignored: the process is ending.
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
    """Do nothing: without a handler of Python's the interpreter would not write to the socket."""
