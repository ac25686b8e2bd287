"""The parts of a dispatcher process: sender, sweeper and retention on one event loop."""

import asyncio
import gc
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from common.messaging.announcer import Announcer
from common.messaging.connection import connect
from common.messaging.doorbell import Doorbell
from common.object_store.storage import Storage
from common.outbound import Guard
from common.postgres.database import Database
from common.runtime.status_server import StatusServer
from common.settings import Settings
from common.settings.catalogue import load_catalogue
from common.standard_webhooks.client import load_installation_key
from worker.dispatcher.dispatcher import Dispatcher
from worker.dispatcher.sender import Sender
from worker.maintenance.retention import Retention
from worker.maintenance.sweeper import Sweeper

# Middle collections per full one; Python's default is ten.
FULL_COLLECTION_INTERVAL: Final = 10_000
# File descriptors for all else than deliveries: Postgres, Redis, the object store, logs.
OTHER_DESCRIPTORS: Final = 200

log = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Send webhooks and run maintenance until SIGTERM or SIGINT, then finish running attempts.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with _open_parts(settings) as parts, asyncio.TaskGroup() as tasks:
        _reduce_collections()
        log.info("dispatcher_ready")
        for part in parts:
            tasks.create_task(part.run(stopping))
    log.info("dispatcher_stopped")


def _reduce_collections() -> None:
    """Make full garbage collections rare: with 5,000 attempts in progress each takes half a second.

    They would free almost nothing, because attempts do not leave reference cycles behind.
    """
    gc.collect()
    gc.freeze()
    youngest, middle, _ = gc.get_threshold()
    gc.set_threshold(youngest, middle, FULL_COLLECTION_INTERVAL)


@asynccontextmanager
async def _open_parts(settings: Settings) -> AsyncIterator[tuple[Dispatcher, Sweeper, Retention]]:
    key = load_installation_key(settings.webhooks)
    queues = load_catalogue(settings.models).queues
    database = Database(settings.database, application="infill-dispatcher")
    redis = connect(settings.redis)
    storage = Storage(settings.storage)
    guard = Guard(settings.outbound)
    doorbell = Doorbell(redis, settings.redis)
    concurrency = raise_descriptor_limit(settings.webhooks.concurrency)
    dispatcher = Dispatcher(
        database,
        doorbell,
        Sender(guard, storage, settings.webhooks, key),
        settings.webhooks.model_copy(update={"concurrency": concurrency}),
        name=f"{socket.gethostname()}-{os.getpid()}",
    )
    announcer = Announcer(redis, doorbell)
    sweeper = Sweeper(
        database, doorbell, announcer, settings.jobs, settings.webhooks, queues=queues
    )
    retention = Retention(database, storage, settings.retention)
    status = StatusServer(settings.telemetry, ready=dispatcher.check_ready)
    await status.start()
    try:
        yield dispatcher, sweeper, retention
    finally:
        await status.stop()
        storage.close()
        await guard.aclose()
        await redis.aclose()
        await database.aclose()


def raise_descriptor_limit(wanted: int) -> int:
    """Raise the file descriptor limit; return the number of concurrent deliveries it allows.

    Each delivery takes a file descriptor for its connection. The result is at most `wanted`. If
    it is less, `ulimit -n` or the container's limit is too low, and a warning is logged.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    unlimited = most == resource.RLIM_INFINITY
    attempts = wanted if unlimited else max(min(wanted, most - OTHER_DESCRIPTORS), 1)
    if attempts < wanted:
        log.warning("too_few_file_descriptors", limit=most, attempts=attempts, wanted=wanted)
    return attempts
