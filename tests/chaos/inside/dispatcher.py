"""Hooks into a dispatcher."""

import worker.webhooks.dispatcher
from tests.chaos.inside.surroundings import JOURNAL, WOUNDS, hook
from worker.webhooks.recorder import Recorder
from worker.webhooks.sender import Sender


def install() -> None:
    hook(
        worker.webhooks.dispatcher,
        "claim_deliveries",
        after=lambda _: JOURNAL.note("deliveries_looked"),
    )
    hook(Sender, "attempt", before=lambda *_: WOUNDS.strike("dispatcher.before"))
    hook(Recorder, "record", before=lambda *_: WOUNDS.strike("dispatcher.after"))
