"""What a gateway process holds open, from its start to its end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from api.auth.admin_keys import AdminKeyAuthenticator
from api.auth.api_keys import ApiKeyAuthenticator
from api.jobs.eta import EtaEstimator
from api.jobs.notify import WorkerNotifier
from api.jobs.progress import ProgressReader
from api.jobs.webhook_ping import WebhookPing
from api.limits.concurrency import ConcurrencyLimiter
from api.limits.quotas import QuotaLimiter
from api.limits.rates import RateLimiter
from common.messaging.announcer import Announcer
from common.messaging.completion import CompletionListener
from common.messaging.connection import connect
from common.messaging.doorbell import Doorbell
from common.object_store.storage import Storage
from common.outbound import Guard
from common.postgres.database import GATEWAY_ROLE, Database
from common.postgres.repositories.jobs.read import find_ended
from common.settings import Settings
from common.settings.catalogue import Catalogue

# Requests that send many deliveries again, at once in this gateway, of all tenants: each writes for
# a second or two.
REDELIVERIES: Final = 4


@dataclass(frozen=True, slots=True)
class Services:
    """One of each, shared by all requests."""

    settings: Settings
    catalogue: Catalogue
    database: Database
    operators: Database
    redis: "Redis"
    doorbell: Doorbell
    announcer: Announcer
    ringer: WorkerNotifier
    listener: CompletionListener
    storage: Storage
    guard: Guard
    keys: ApiKeyAuthenticator
    admin_keys: AdminKeyAuthenticator
    rates: RateLimiter
    quotas: QuotaLimiter
    estimates: EtaEstimator
    progress: ProgressReader
    trials: WebhookPing
    redeliveries: ConcurrencyLimiter


@asynccontextmanager
async def open_services(settings: Settings, catalogue: Catalogue) -> AsyncIterator[Services]:
    """Open everything, and close it in the reverse order.

    Nothing is connected to here, so a gateway starts, and says it is not ready, while
    Postgres, Redis or the store are away.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings.database, application="infill-gateway", role=GATEWAY_ROLE)
        stack.push_async_callback(database.aclose)
        # Of its own, because what operators do is bound to no tenant.
        operators = Database(settings.database, application="infill-gateway-admin")
        stack.push_async_callback(operators.aclose)
        redis = connect(settings.redis)
        stack.push_async_callback(redis.aclose)
        storage = Storage(settings.storage)
        stack.push_async_callback(asyncio.to_thread, storage.close)
        guard = Guard(settings.outbound)
        stack.push_async_callback(guard.aclose)
        doorbell = Doorbell(redis, settings.redis)
        ringer = WorkerNotifier(doorbell)
        stack.push_async_callback(ringer.aclose)
        listener = CompletionListener(redis, _asking(database))
        estimates = EtaEstimator(
            database,
            silent_seconds=settings.jobs.lease_seconds,
            places=settings.worker.concurrency,
        )
        await stack.enter_async_context(_running(listener))
        yield Services(
            settings=settings,
            catalogue=catalogue,
            database=database,
            operators=operators,
            redis=redis,
            doorbell=doorbell,
            announcer=Announcer(redis, doorbell),
            ringer=ringer,
            listener=listener,
            storage=storage,
            guard=guard,
            keys=ApiKeyAuthenticator(database, settings.gateway),
            admin_keys=AdminKeyAuthenticator(operators, settings.gateway),
            rates=RateLimiter(redis),
            quotas=QuotaLimiter(database, estimates),
            estimates=estimates,
            progress=ProgressReader(redis),
            trials=WebhookPing(database, guard, settings.webhooks),
            redeliveries=ConcurrencyLimiter(of_a_tenant=1, of_all=REDELIVERIES),
        )


@asynccontextmanager
async def _running(listener: CompletionListener) -> AsyncIterator[None]:
    task = asyncio.create_task(listener.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _asking(database: Database) -> Callable[[Collection[UUID]], Awaitable[set[UUID]]]:
    async def ask_rows(prefixes: Collection[UUID]) -> set[UUID]:
        async with database.direct() as connection:
            return await find_ended(connection, prefixes)

    return ask_rows
