"""When a tenant's jobs start and end under fair claiming, from what is known of its queue."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from common.domain.fair_order import Contender, Contention, alike, contender
from common.domain.own_line import OwnLine
from common.domain.pace import ASSUMED_PACE, Load, Pace, Samples
from common.domain.places import Places

# Halvings of the time in which limits let others be served: to a part in a thousand.
HALVINGS: Final = 10


@dataclass(frozen=True, slots=True)
class AtWork:
    """Running jobs that are drawn one after the other, and the seconds since one was claimed."""

    load: Load
    seconds: float

    def remaining(self, pace: Pace) -> float:
        """Give the seconds until all are drawn.

        Since the latest of them was claimed the engine has drawn without a pause. Where it was
        claimed because another had just ended, that is all it has done of these.
        """
        return max(0.0, pace.seconds(self.load) - self.seconds)


@dataclass(frozen=True, slots=True)
class QueueReading:
    """What was read of a queue across its tenants: numbers alone, nobody's name.

    `contenders` come by least virtual time; `unread_tenants` more are behind the last of them.
    `virtual_time` is the queue's own, `last_job_id` the latest recorded anywhere, `running` what
    each worker has of this queue. `engine_share` is the part of their time that the engines have
    for this queue, where their workers serve others too.
    """

    contenders: Sequence[Contender] = ()
    unread_tenants: int = 0
    virtual_time: float = 0.0
    last_job_id: int = 0
    running: Sequence[AtWork] = ()
    engines: int = 1
    engine_share: float = 1.0
    samples: Samples = field(default_factory=Samples)


@dataclass(frozen=True, slots=True)
class OwnReading:
    """What was read of one tenant's own place in a queue.

    `most_running` is how many of its jobs may be at work in this queue, None without a limit, and
    `running` are those, one by one, told only where there is one. `backlog` is its waiting work as
    counted last.
    """

    line: OwnLine
    has_ready: bool = False
    virtual_time: float = 0.0
    weight: float = 1.0
    backlog: float = 0.0
    most_running: int | None = None
    running: Sequence[AtWork] = ()

    def as_contender(self) -> Contender | None:
        """Give what the reading of the queue holds of this tenant."""
        if not self.has_ready:
            return None
        return contender(
            self.virtual_time,
            self.weight,
            self.backlog,
            self.line.next_jobs,
            most_running=self.most_running,
        )


class Forecast:
    """Looks ahead in one queue; built once for a reading, then asked for any tenant and job."""

    def __init__(self, reading: QueueReading) -> None:
        learnt = Pace.learnt(reading.samples)
        self.is_measured = learnt is not None
        self.has_workers = reading.engines > 0
        self._reading = reading
        self._pace = learnt or ASSUMED_PACE
        self._engines = Places(
            (each.remaining(self._pace) for each in reading.running), count=max(1, reading.engines)
        )
        busy = max(1, len(reading.running))
        self._running = sum((each.load for each in reading.running), Load())
        self._claims_each = max(1.0, self._running.jobs / busy)  # held by each worker at work
        unread = alike(reading.contenders, reading.unread_tenants)
        self._contention = Contention(
            [*reading.contenders, *unread],
            virtual_time=reading.virtual_time,
            pace=self._pace,
            engine_share=1 / self._claims_each,
        )

    def until_start(self, own: OwnReading, before: Load, *, passed: float = 0.0) -> float:
        """Give the seconds until a job starts that has `before` of its own tenant's before it.

        Of the wait, `passed` seconds since the reading are over.
        """
        wait = max(self._until_due(own, before), self._until_room(own, before))
        return max(0.0, wait - passed)

    def until_end(self, own: OwnReading, before: Load, job: Load, *, passed: float = 0.0) -> float:
        """Give the seconds until that job has ended."""
        drawing = self._pace.seconds(job) / self._reading.engine_share
        by_limit = max(0.0, self._until_room(own, before) - passed)
        ended = max(0.0, self._until_due(own, before) - passed) + drawing
        return max(ended, by_limit + drawing * self._claims_each) if by_limit else ended

    def until_drawn(self, job: Load, seconds: float) -> float:
        """Give the seconds until a job that was claimed `seconds` ago has ended.

        Its worker may have claimed it while others of its jobs waited for the engine.
        """
        others = self._running.part((self._claims_each - 1) / max(1.0, self._running.jobs))
        drawing = self._pace.seconds(job + others) / self._reading.engine_share
        return max(0.0, drawing - seconds)

    def _until_due(self, own: OwnReading, before: Load) -> float:
        """Give the seconds until the tag of the job is the least, and an engine is free."""
        tag = self._tag(own, before.work)
        mine = self._counted(own)
        ours = self._pace.seconds(before)

        def wait(within: float | None) -> float:
            work = ours + self._contention.seconds_before(tag, within=within, without=mine)
            level = self._engines.wait(work, typical=self._reading.samples.seconds_each)
            return level / self._reading.engine_share

        return _fixed_point(wait, at_most=wait(None)) if self._contention.has_held else wait(None)

    def _until_room(self, own: OwnReading, before: Load) -> float:
        """Give the seconds until the tenant's own limit lets the job start."""
        running = sum(each.load.jobs for each in own.running)
        if own.most_running is None or before.jobs + running < own.most_running:
            return 0.0
        slower = self._claims_each / self._reading.engine_share
        places = Places(
            (self._pace.seconds(each.load) * slower - each.seconds for each in own.running),
            count=max(1, own.most_running),
        )
        typical = self._reading.samples.seconds_each
        return places.wait(self._pace.seconds(before) * slower, typical=typical * slower)

    def _tag(self, own: OwnReading, work_before: float) -> float:
        start = own.virtual_time
        if not own.has_ready:
            start = max(start, self._reading.virtual_time)
        return start + work_before / own.weight

    def _counted(self, own: OwnReading) -> Contender | None:
        """Give the tenant as the reading of the queue counted it, None if it did not."""
        first, reading = own.line.first_id, self._reading
        if first is None or first > reading.last_job_id or not reading.contenders:
            return None  # all it has came later
        if not reading.unread_tenants or own.virtual_time <= reading.contenders[-1].virtual_time:
            return own.as_contender()
        return None


def _fixed_point(wait: Callable[[float], float], *, at_most: float) -> float:
    """Find the time after which as much has been waited for as can be done within it.

    `wait` rises ever more slowly, so there is one.
    """
    soonest = latest = wait(0.0)
    while latest < at_most and wait(latest) > latest:
        soonest, latest = latest, min(2 * latest, at_most)
    for _ in range(HALVINGS if soonest < latest else 0):
        middle = (soonest + latest) / 2
        if wait(middle) > middle:
            soonest = middle
        else:
            latest = middle
    return latest
