"""The same queue in a real Postgres: submitted, claimed and finished by the product's statements.

Time is simulated: before anything is read, running jobs are aged to it.
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
from tests.simulation.world import SWEEP_SECONDS, Account, Order, SimulatedWorker

FOR_EVER = 1e6
AGE = text("UPDATE jobs SET started_at = now() - make_interval(secs => :seconds) WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Told:
    """An eta, its job, and when it was requested."""

    order: Order
    at: float
    eta: int


class Stage:
    """The rows of a queue, its workers, and simulated time."""

    def __init__(
        self, database: Database, tenants: dict[int, int], *, workers: int, places: int
    ) -> None:
        self.now = 0.0
        self.told: list[Told] = []
        self.workers = [SimulatedWorker(places) for _ in range(workers)]
        self.orders: dict[int, Order] = {}
        self._database = database
        self._tenants = tenants
        self._jobs: dict[int, JobRecord] = {}
        self._events: list[tuple[float, int, str, Any]] = []
        self._ids = count()

    async def open(self, accounts: list[Account], orders: list[Order]) -> None:
        """Insert the tenants' shares and the workers, and schedule the orders."""
        async with self._database.statement() as connection:
            for account in accounts:
                await connection.execute(
                    update(TenantShare)
                    .where(TenantShare.tenant_id == self._tenants[account.tenant])
                    .values(weight=account.weight, max_running_per_queue=account.max_running)
                )
            for number in range(len(self.workers)):
                await record_worker_heartbeat(connection, f"worker-{number}", [QUEUE])
        for order in orders:
            self.at(order.at, "arrival", order)
        self.at(SWEEP_SECONDS, "sweep", None)

    @property
    def has_more(self) -> bool:
        """Whether events other than sweeps are left."""
        return any(kind != "sweep" for _, _, kind, _ in self._events)

    def at(self, when: float, kind: str, about: Any = None) -> None:
        """Schedule an event: `arrival`, `ended`, `sweep`, or `ask` for every waiting job."""
        heapq.heappush(self._events, (when, next(self._ids), kind, about))

    async def step(self) -> None:
        """Process the next event."""
        self.now, _, kind, about = heapq.heappop(self._events)
        match kind:
            case "arrival":
                await self._submit(about)
            case "ended":
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
        worker = self.workers[number]
        if version != worker.version:
            return
        order = worker.end(self.now)
        took = self.now - (order.claimed_at or 0.0)
        result = JobResult(("a.png",), (False,), took, {}, order.seconds)
        async with self._database.direct() as connection:
            assert await succeed(connection, self._jobs[order.job_id].claim, result)
        self._schedule_end(number)

    def _schedule_end(self, number: int) -> None:
        if (predicted := self.workers[number].predict_end()) is not None:
            self.at(predicted[0], "ended", (number, predicted[1]))

    async def _claim_all(self) -> None:
        while True:
            number = min(range(len(self.workers)), key=lambda n: len(self.workers[n].claims))
            if not self.workers[number].has_room or not await self._claim(number):
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
            self.workers[number].take(self.orders[job.id], self.now)
            self._schedule_end(number)
        return bool(claimed)

    async def _ask(self, orders: list[Order]) -> None:
        """Request etas as from a gateway that has just started, with empty caches."""
        running = [order for worker in self.workers for order in worker.claims]
        ages = [
            {"id": each.job_id, "seconds": self.now - (each.claimed_at or 0)} for each in running
        ]
        async with self._database.statement() as connection:
            if ages:
                await connection.execute(AGE, ages)
        estimates = EtaEstimator(
            self._database, silent_seconds=FOR_EVER, slots=self.workers[0].places
        )
        for order in orders:
            async with self._database.direct() as connection:
                view = await read_job(
                    connection, tenant_id=self._tenants[order.tenant], job_id=order.job_id
                )
            assert view is not None
            seconds = (await estimates.estimate_end(view.job)).seconds
            self.told.append(Told(order, self.now, seconds))
