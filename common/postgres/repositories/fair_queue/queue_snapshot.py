"""What goes on in a queue across its tenants, as numbers: no answer here says whose they are.

The gateway's role sees one tenant's rows alone. So these are functions of the database, which have
its owner's rights: `migrations/baseline/gateway_functions.sql`.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Double,
    Integer,
    Select,
    Text,
    bindparam,
    func,
    select,
)
from sqlalchemy.sql import column
from sqlalchemy.types import TypeEngine

from common.forecast.engines import RunningJob
from common.forecast.fair_order import WaitingTenant, make_waiting_tenant
from common.forecast.forecast import QueueSnapshot
from common.forecast.pace import SpeedSamples, Workload
from common.postgres.statements import Executor


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """Counts of one queue, see `QueueSnapshot`; some `ready_tenants` may have no work left."""

    ready_tenants: int
    virtual_time: float
    last_job_id: int
    engines: int
    engine_share: float
    samples: SpeedSamples


async def read_queue_snapshot(
    connection: Executor, queue: str, *, silent_seconds: float
) -> QueueSnapshot:
    """Read one queue; a worker silent for longer than `silent_seconds` does not count."""
    totals = await read_totals(connection, queue, silent_seconds=silent_seconds)
    contenders, looked_at = await read_waiting_tenants(connection, queue)
    unread = max(0, totals.ready_tenants - looked_at)
    return QueueSnapshot(
        waiting_tenants=contenders,
        # Of those known as ready, as many have nothing left as among those that were read.
        unread_tenants=round(unread * len(contenders) / max(1, looked_at)),
        virtual_time=totals.virtual_time,
        last_job_id=totals.last_job_id,
        running=await read_running(connection, queue),
        engines=totals.engines,
        engine_share=totals.engine_share,
        samples=totals.samples,
    )


async def read_totals(connection: Executor, queue: str, *, silent_seconds: float) -> QueueTotals:
    """Count a queue's tenants and engines, and sum up its latest successes."""
    values = {"of_queue": queue, "silent_seconds": silent_seconds}
    row = (await connection.execute(_TOTALS, values)).first()
    return QueueTotals(row[0], row[1], row[2], row[3], row[4], SpeedSamples(*row[5:]))


async def read_waiting_tenants(connection: Executor, queue: str) -> tuple[list[WaitingTenant], int]:
    """Give the tenants with waiting work, the least served first, and how many were looked at."""
    rows = (await connection.execute(_CONTENDERS, {"of_queue": queue})).all()
    read = (
        make_waiting_tenant(row[0], row[1], row[2], Workload(row[4], row[5]), max_running=row[3])
        for row in rows
    )
    return [each for each in read if each is not None], len(rows)


async def read_running(connection: Executor, queue: str) -> list[RunningJob]:
    """Give the jobs of a queue that are at work, and which of them are at one engine."""
    rows = (await connection.execute(_RUNNING, {"of_queue": queue})).all()
    return [RunningJob(Workload(1, row[1]), row[2], row[0]) for row in rows]


# The statements, put together once: that takes longer than running them.

_OF_QUEUE: Final = bindparam("of_queue", type_=Text())
_SILENT: Final[BindParameter[float]] = bindparam("silent_seconds", type_=Double())


def _asking(function: Any, **columns: type[TypeEngine[Any]]) -> Select[Any]:
    answer = function.table_valued(*(column(name, kind()) for name, kind in columns.items()))
    return select(*answer.c)


_TOTALS: Final = _asking(
    func.infill_queue_totals(_OF_QUEUE, _SILENT),
    ready_tenants=BigInteger,
    virtual_time=Double,
    last_job_id=BigInteger,
    engines=BigInteger,
    engine_share=Double,
    samples=BigInteger,
    cost=Double,
    seconds=Double,
    cost_squared=Double,
    cost_by_seconds=Double,
)
_CONTENDERS: Final = _asking(
    func.infill_queue_contenders(_OF_QUEUE),
    virtual_time=Double,
    weight=Double,
    backlog=Double,
    most_running=Integer,
    jobs=BigInteger,
    work=Double,
)
_RUNNING: Final = _asking(
    func.infill_queue_at_work(_OF_QUEUE), engine=BigInteger, cost=Double, seconds=Double
)
