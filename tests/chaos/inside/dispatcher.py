"""Hooks into a dispatcher."""

import worker.dispatcher.dispatcher
from tests.chaos.inside.hooks import CRASH_POINTS, JOURNAL, hook
from worker.dispatcher.attempt_buffer import AttemptBuffer
from worker.dispatcher.sender import Sender


def install() -> None:
    hook(
        worker.dispatcher.dispatcher,
        "claim_deliveries",
        after=lambda _: JOURNAL.note("deliveries_looked"),
    )
    hook(Sender, "send", before=lambda *_: CRASH_POINTS.crash_if_armed("dispatcher.before"))
    hook(AttemptBuffer, "record", before=lambda *_: CRASH_POINTS.crash_if_armed("dispatcher.after"))
