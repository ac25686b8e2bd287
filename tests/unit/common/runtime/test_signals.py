"""Signals are acted on although the main thread cannot run a handler."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from common.runtime.signals import acting_on_signals

DEADLINE_SECONDS = 30.0


@pytest.fixture
def number() -> Iterator[signal.Signals]:
    """Yield a signal without other users; its handler is restored afterwards."""
    before = signal.getsignal(signal.SIGUSR1)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_is_acted_on_while_the_main_thread_waits_for_a_lock(
    number: signal.Signals,
) -> None:
    """Another thread gets the signal, so that nothing interrupts the main thread's wait."""
    acted = threading.Event()
    with acting_on_signals([number], acted.set):
        other = threading.Thread(
            target=lambda: signal.pthread_kill(threading.get_ident(), number), name="other"
        )
        other.start()
        assert acted.wait(DEADLINE_SECONDS)
        other.join()


def test_every_arrival_is_acted_on(number: signal.Signals) -> None:
    acted = threading.Semaphore(0)
    with acting_on_signals([number], acted.release):
        for _ in range(3):
            os.kill(os.getpid(), number)
            assert acted.acquire(timeout=DEADLINE_SECONDS)


def test_other_signals_are_left_to_their_handlers(number: signal.Signals) -> None:
    acted, handled = threading.Event(), threading.Event()
    before = signal.signal(signal.SIGUSR2, lambda *_: handled.set())
    try:
        with acting_on_signals([number], acted.set):
            os.kill(os.getpid(), signal.SIGUSR2)
            assert handled.wait(DEADLINE_SECONDS)
        assert not acted.is_set()
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_afterwards_the_signals_are_ignored(number: signal.Signals) -> None:
    acted = threading.Event()
    with acting_on_signals([number], acted.set):
        pass
    os.kill(os.getpid(), number)
    assert not acted.is_set()
    assert "signals" not in {thread.name for thread in threading.enumerate()}
