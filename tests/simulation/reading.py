"""What the product's statements would read from a simulated queue."""

from common.forecast.engines import RunningJob
from common.forecast.fair_order import SAMPLED_JOBS, make_waiting_tenant
from common.forecast.forecast import QueueSnapshot, TenantPosition
from common.forecast.pace import SpeedSamples, Workload
from common.forecast.tenant_queue import JobRange, TenantBacklog
from tests.simulation.world import Account, Order, World


def read_queue(world: World) -> QueueSnapshot:
    """As `common.postgres.repositories.fair_queue.queue_snapshot.read_queue`."""
    ready = sorted(
        (account for account in world.accounts.values() if account.has_ready),
        key=lambda account: account.virtual_time,
    )
    waiting_tenants = [
        make_waiting_tenant(
            account.virtual_time,
            account.weight,
            account.backlog,
            _load(account.in_turn[:SAMPLED_JOBS]),
            max_running=account.max_running,
        )
        for account in ready
    ]
    return QueueSnapshot(
        waiting_tenants=[each for each in waiting_tenants if each is not None],
        virtual_time=world.virtual_time,
        last_job_id=world.last_id,
        running=[
            RunningJob(Workload(1, order.cost), world.now - _claimed_at(order), number)
            for number, worker in enumerate(world.workers)
            for order in worker.claims
        ],
        engines=len(world.workers),
        samples=_samples(world.ended),
    )


def read_own_place(world: World, account: Account) -> TenantPosition:
    """As `common.postgres.repositories.fair_queue.tenant_position.read_own_place`."""
    line = [
        JobRange(order.priority, order.job_id, order.job_id, Workload(1, order.cost))
        for order in account.in_turn
    ]
    running = [
        RunningJob(Workload(1, order.cost), world.now - _claimed_at(order))
        for worker in world.workers
        for order in worker.claims
        if order.tenant == account.tenant
    ]
    return TenantPosition(
        queued=TenantBacklog(line, greatest_id=world.last_id),
        has_ready=account.has_ready,
        virtual_time=account.virtual_time,
        weight=account.weight,
        backlog=account.backlog,
        max_running=account.max_running,
        running=running if account.max_running is not None else (),
    )


def _claimed_at(order: Order) -> float:
    return order.claimed_at or 0.0


def _load(orders: list[Order]) -> Workload:
    return Workload(len(orders), sum(order.cost for order in orders))


def _samples(ended: list[Order]) -> SpeedSamples:
    return SpeedSamples(
        len(ended),
        sum(each.cost for each in ended),
        sum(each.seconds for each in ended),
        sum(each.cost**2 for each in ended),
        sum(each.cost * each.seconds for each in ended),
    )
