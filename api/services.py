"""The objects that a gateway process creates once and shares between all requests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from api.auth.admin_keys import AdminKeyAuthenticator
from api.auth.api_keys import ApiKeyAuthenticator
from api.auth.authenticated_bodies import AuthenticatedBodyReader
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
from common.postgres.schema import SchemaCheck
from common.settings import Settings
from common.settings.catalogue import Catalogue

# Bulk redeliveries running at once in this gateway, of all tenants: each writes for a second or
# two.
BULK_REDELIVERIES: Final = 4


@dataclass(frozen=True, slots=True)
class Services:
    """The connections, authenticators, limiters and other services of a gateway process.

    Row-level security restricts `database` to one tenant at a time; `operator_database` is not
    restricted.
    """

    settings: Settings
    catalogue: Catalogue
    database: Database
    operator_database: Database
    schema_check: SchemaCheck
    redis: "Redis"
    storage: Storage
    guard: Guard
    doorbell: Doorbell
    announcer: Announcer
    worker_notifier: WorkerNotifier
    completions: CompletionListener
    api_keys: ApiKeyAuthenticator
    body_reader: AuthenticatedBodyReader
    admin_keys: AdminKeyAuthenticator
    rate_limiter: RateLimiter
    quota_limiter: QuotaLimiter
    redelivery_limiter: ConcurrencyLimiter
    eta_estimator: EtaEstimator
    progress_reader: ProgressReader
    webhook_ping: WebhookPing


@asynccontextmanager
async def open_services(settings: Settings, catalogue: Catalogue) -> AsyncIterator[Services]:
    """Create all services, yield them, and close them in reverse order.

    No connection is opened here, so a gateway starts even if Postgres, Redis or the store is down,
    and reports that it is not ready.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings.database, application="infill-gateway", role=GATEWAY_ROLE)
        stack.push_async_callback(database.aclose)
        operator_database = Database(settings.database, application="infill-gateway-admin")
        stack.push_async_callback(operator_database.aclose)
        redis = connect(settings.redis)
        stack.push_async_callback(redis.aclose)
        storage = Storage(settings.storage)
        stack.push_async_callback(asyncio.to_thread, storage.close)
        guard = Guard(settings.outbound)
        stack.push_async_callback(guard.aclose)
        doorbell = Doorbell(redis, settings.redis)
        worker_notifier = WorkerNotifier(doorbell)
        stack.push_async_callback(worker_notifier.aclose)
        completions = CompletionListener(redis, _fallback_query(database))
        await stack.enter_async_context(_running(completions))
        eta_estimator = _eta_estimator(database, settings)
        api_keys = ApiKeyAuthenticator(database, settings.gateway)
        body_reader = AuthenticatedBodyReader(api_keys, settings.gateway)
        stack.push_async_callback(asyncio.to_thread, body_reader.close)
        yield Services(
            settings=settings,
            catalogue=catalogue,
            database=database,
            operator_database=operator_database,
            schema_check=SchemaCheck(restricted=True),
            redis=redis,
            storage=storage,
            guard=guard,
            doorbell=doorbell,
            announcer=Announcer(redis, doorbell),
            worker_notifier=worker_notifier,
            completions=completions,
            api_keys=api_keys,
            body_reader=body_reader,
            admin_keys=AdminKeyAuthenticator(operator_database, settings.gateway),
            rate_limiter=RateLimiter(redis),
            quota_limiter=QuotaLimiter(database, eta_estimator),
            redelivery_limiter=ConcurrencyLimiter(per_tenant=1, in_all=BULK_REDELIVERIES),
            eta_estimator=eta_estimator,
            progress_reader=ProgressReader(redis),
            webhook_ping=WebhookPing(database, guard, settings.webhooks),
        )


def _eta_estimator(database: Database, settings: Settings) -> EtaEstimator:
    return EtaEstimator(
        database,
        silent_seconds=settings.jobs.lease_seconds,
        slots=settings.worker.concurrency,
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


def _fallback_query(database: Database) -> Callable[[Collection[UUID]], Awaitable[set[UUID]]]:
    """Return a function that finds ended jobs in Postgres, for use while Redis is unavailable."""

    async def query(prefixes: Collection[UUID]) -> set[UUID]:
        async with database.direct() as connection:
            return await find_ended(connection, prefixes)

    return query
