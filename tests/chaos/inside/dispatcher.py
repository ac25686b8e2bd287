"""Hooks into a dispatcher."""

import worker.webhooks.dispatcher
from tests.chaos.inside.surroundings import WOUNDS, hook, watch
from worker.webhooks.recorder import Recorder
from worker.webhooks.sender import Sender


def install() -> None:
    watch(worker.webhooks.dispatcher, "claim_deliveries", "dispatcher")
    hook(Sender, "attempt", before=lambda *_: WOUNDS.strike("dispatcher.before"))
    hook(Recorder, "record", before=lambda *_: WOUNDS.strike("dispatcher.after"))
