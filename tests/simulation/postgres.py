"""The same queue in a real Postgres: submitted, claimed and ended by the statements themselves.

Time is the simulation's own: before anything is read, running jobs are aged by it.
"""

import heapq
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from sqlalchemy import text, update

from api.jobs.eta import EtaEstimator
from common.domain.record import JobRecord, JobResult
from common.postgres.database import Database
from common.postgres.models import TenantShare
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.fair_queue.recount import mark_ready_tenants, recount_backlogs
from common.postgres.repositories.jobs.finish import succeed
from common.postgres.repositories.jobs.read import read_job
from common.postgres.repositories.jobs.workers import record_worker_heartbeat
from tests.integration.repositories.support.tenant_rows import QUEUE, REQUEST, TenantRows
from tests.simulation.world import SWEEP_SECONDS, Account, Drawer, Order

FOR_EVER = 1e6
AGE = text("UPDATE jobs SET started_at = now() - make_interval(secs => :seconds) WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Told:
    """An eta, of which job and when."""

    order: Order
    at: float
    eta: int


class Stage:
    """A queue's rows, the engines, and the time they live in."""

    def __init__(
        self, database: Database, tenants: dict[int, int], *, workers: int, places: int
    ) -> None:
        self.now = 0.0
        self.told: list[Told] = []
        self.drawers = [Drawer(places) for _ in range(workers)]
        self.orders: dict[int, Order] = {}
        self._database = database
        self._tenants = tenants
        self._jobs: dict[int, JobRecord] = {}
        self._events: list[tuple[float, int, str, Any]] = []
        self._ids = count()

    async def open(self, accounts: list[Account], orders: list[Order]) -> None:
        """Write down the tenants' shares and the workers, and await the orders."""
        async with self._database.statement() as connection:
            for account in accounts:
                await connection.execute(
                    update(TenantShare)
                    .where(TenantShare.tenant_id == self._tenants[account.tenant])
                    .values(weight=account.weight, max_running_per_queue=account.max_running)
                )
            for number in range(len(self.drawers)):
                await record_worker_heartbeat(connection, f"worker-{number}", [QUEUE])
        for order in orders:
            self.at(order.at, "arrival", order)
        self.at(SWEEP_SECONDS, "sweep", None)

    @property
    def has_more(self) -> bool:
        """Whether anything but sweeps is to come."""
        return any(kind != "sweep" for _, _, kind, _ in self._events)

    def at(self, when: float, kind: str, about: Any = None) -> None:
        """Let something happen: `arrival`, `drawn`, `sweep`, or `ask` for every waiting job."""
        heapq.heappush(self._events, (when, next(self._ids), kind, about))

    async def step(self) -> None:
        """Do what happens next."""
        self.now, _, kind, about = heapq.heappop(self._events)
        match kind:
            case "arrival":
                await self._submit(about)
            case "drawn":
                await self._end(*about)
            case "sweep":
                await self._sweep()
            case _:
                await self._ask([each for each in self.orders.values() if not each.ended_at])
        await self._claim_all()
        if kind == "arrival":
            await self._ask([about])

    async def _submit(self, order: Order) -> None:
        tenant = TenantRows(self._database, self._tenants[order.tenant])
        width = round(order.cost * 100)
        request = replace(REQUEST, width=width, height=10_000, inference_steps=1, samples=1)
        order.job_id = await tenant.queue_job(request=request, columns={"priority": order.priority})
        self.orders[order.job_id] = order

    async def _sweep(self) -> None:
        async with self._database.statement() as connection:
            await mark_ready_tenants(connection)
            await recount_backlogs(connection)
        self.at(self.now + SWEEP_SECONDS, "sweep")

    async def _end(self, number: int, version: int) -> None:
        drawer = self.drawers[number]
        if version != drawer.version:
            return
        order = drawer.end(self.now)
        took = self.now - (order.claimed_at or 0.0)
        result = JobResult(("a.png",), (False,), took, {}, order.seconds)
        async with self._database.direct() as connection:
            assert await succeed(connection, self._jobs[order.job_id].claim, result)
        self._foresee(number)

    def _foresee(self, number: int) -> None:
        if (foreseen := self.drawers[number].foresee()) is not None:
            self.at(foreseen[0], "drawn", (number, foreseen[1]))

    async def _claim_all(self) -> None:
        while True:
            number = min(range(len(self.drawers)), key=lambda n: len(self.drawers[n].claims))
            if not self.drawers[number].has_room or not await self._claim(number):
                return

    async def _claim(self, number: int) -> bool:
        async with self._database.direct() as connection:
            claimed = await claim_jobs(
                connection,
                queues=[QUEUE],
                worker=f"worker-{number}",
                lease_seconds=FOR_EVER,
                limit=1,
            )
        for job in (one.record for one in claimed.jobs):
            self._jobs[job.id] = job
            self.drawers[number].take(self.orders[job.id], self.now)
            self._foresee(number)
        return bool(claimed)

    async def _ask(self, orders: list[Order]) -> None:
        """Ask as a gateway does that has just been started; nothing is remembered."""
        running = [order for drawer in self.drawers for order in drawer.claims]
        ages = [
            {"id": each.job_id, "seconds": self.now - (each.claimed_at or 0)} for each in running
        ]
        async with self._database.statement() as connection:
            if ages:
                await connection.execute(AGE, ages)
        estimates = EtaEstimator(
            self._database, silent_seconds=FOR_EVER, slots=self.drawers[0].places
        )
        for order in orders:
            async with self._database.direct() as connection:
                view = await read_job(
                    connection, tenant_id=self._tenants[order.tenant], job_id=order.job_id
                )
            assert view is not None
            seconds = (await estimates.estimate_end(view.job)).seconds
            self.told.append(Told(order, self.now, seconds))
