"""Read the state of a queue across all tenants, without their identities, to estimate times.

The gateway's role sees only the rows of one tenant, so these statements call SQL functions that run
with the rights of their owner: `migrations/baseline/gateway_functions.sql`.
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
from common.forecast.pace import SpeedSamples, StageSeconds, Workload
from common.postgres.statements import Executor


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """Totals of one queue; for the fields, see `QueueSnapshot`.

    `ready_tenants` is an upper bound: some may have no waiting job left.
    """

    ready_tenants: int
    virtual_time: float
    last_job_id: int
    engines: int
    engine_share: float
    samples: SpeedSamples
    stages: StageSeconds


async def read_queue_snapshot(
    connection: Executor, queue: str, *, silent_seconds: float
) -> QueueSnapshot:
    """Return the state of one queue.

    Workers without a heartbeat for `silent_seconds` are not counted.
    """
    totals = await read_totals(connection, queue, silent_seconds=silent_seconds)
    waiting_tenants, read_count = await read_waiting_tenants(connection, queue)
    unread = max(0, totals.ready_tenants - read_count)
    return QueueSnapshot(
        waiting_tenants=waiting_tenants,
        # Assume that the unread tenants have work in the same proportion as the tenants read.
        unread_tenants=round(unread * len(waiting_tenants) / max(1, read_count)),
        virtual_time=totals.virtual_time,
        last_job_id=totals.last_job_id,
        running=await read_running(connection, queue),
        engines=totals.engines,
        engine_share=totals.engine_share,
        samples=totals.samples,
        stages=totals.stages,
    )


async def read_totals(connection: Executor, queue: str, *, silent_seconds: float) -> QueueTotals:
    """Return a queue's numbers of tenants and engines, and times of its latest succeeded jobs.

    Workers without a heartbeat for `silent_seconds` are not counted.
    """
    values = {"of_queue": queue, "silent_seconds": silent_seconds}
    row = (await connection.execute(_TOTALS, values)).first()
    stages = StageSeconds(fetch=row[10] or 0.0, decode=row[11], upload=row[12] or 0.0)
    return QueueTotals(row[0], row[1], row[2], row[3], row[4], SpeedSamples(*row[5:10]), stages)


async def read_waiting_tenants(connection: Executor, queue: str) -> tuple[list[WaitingTenant], int]:
    """Return the tenants with due jobs, least served first, and the number of tenants read.

    The number may exceed the length of the list, because all tenants marked as ready are read, and
    some of them may have no due jobs left.
    """
    rows = (await connection.execute(_WAITING_TENANTS, {"of_queue": queue})).all()
    read = (
        make_waiting_tenant(row[0], row[1], row[2], Workload(row[4], row[5]), max_running=row[3])
        for row in rows
    )
    return [each for each in read if each is not None], len(rows)


async def read_running(connection: Executor, queue: str) -> list[RunningJob]:
    """Return the running jobs of a queue; jobs in the same engine have the same engine number."""
    rows = (await connection.execute(_RUNNING, {"of_queue": queue})).all()
    return [RunningJob(Workload(1, row[1]), row[2], row[0]) for row in rows]


# Statements are composed once, because composing them takes longer than running them.

_OF_QUEUE: Final = bindparam("of_queue", type_=Text())
_SILENT_SECONDS: Final[BindParameter[float]] = bindparam("silent_seconds", type_=Double())


def _select_function(function: Any, **columns: type[TypeEngine[Any]]) -> Select[Any]:
    table = function.table_valued(*(column(name, kind()) for name, kind in columns.items()))
    return select(*table.c)


_TOTALS: Final = _select_function(
    func.infill_queue_totals(_OF_QUEUE, _SILENT_SECONDS),
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
    fetch_seconds=Double,
    decode_seconds=Double,
    upload_seconds=Double,
)
_WAITING_TENANTS: Final = _select_function(
    func.infill_waiting_tenants(_OF_QUEUE),
    virtual_time=Double,
    weight=Double,
    backlog=Double,
    max_running=Integer,
    jobs=BigInteger,
    work=Double,
)
_RUNNING: Final = _select_function(
    func.infill_running_jobs(_OF_QUEUE), engine=BigInteger, cost=Double, seconds=Double
)
