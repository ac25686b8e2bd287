"""Hooks into a gateway."""

from uuid import UUID

import api.jobs.submit
import common.messaging.completion
from tests.chaos.inside.hooks import CRASH_POINTS, JOURNAL, hook, put


def _recorded(_: object) -> None:
    JOURNAL.note("recorded")
    CRASH_POINTS.crash_if_armed("gateway.after_commit")


def install() -> None:
    hook(
        api.jobs.submit,
        "record_job",
        before=lambda *_: CRASH_POINTS.crash_if_armed("gateway.before_commit"),
        after=_recorded,
    )
    read = common.messaging.completion._prefixes

    def heard(data: bytes) -> set[UUID]:
        JOURNAL.note("signal_heard")
        return read(data)

    put(common.messaging.completion, "_prefixes", heard)
