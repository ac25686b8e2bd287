"""A GPU worker process: `python -m worker`."""

import os
import socket
import sys
from pkgutil import resolve_name
from typing import Any

import structlog
from celery import signals

from common.broker.doorbell import TASK_NAME
from common.catalogue import load_catalogue
from common.domain.errors import ConfigurationError
from common.logging import configure_logging
from common.settings import Settings
from worker.app import create_app
from worker.runtime import Runtime

log = structlog.get_logger(__name__)


def main() -> None:
    """Load the models, then wait for rings until SIGTERM."""
    settings = Settings()
    configure_logging(settings.telemetry, process="worker")
    try:
        run(settings)
    except ConfigurationError as error:
        sys.exit(f"infill worker: {error.message}")


def run(settings: Settings) -> None:
    """Serve until SIGTERM.

    Raises:
        ConfigurationError: a setting is wrong, or a model cannot be loaded.
    """
    catalogue = load_catalogue(settings.models)
    engine = resolve_name(settings.worker.engine)(settings, catalogue)
    worker = f"{socket.gethostname()}-{os.getpid()}"
    runtime = Runtime(settings, engine, worker=worker)
    app = create_app(settings)

    @app.task(name=TASK_NAME)
    def look(queue: str) -> None:
        runtime.look(queue)

    def leave(**_: Any) -> None:
        runtime.stop_claiming()

    signals.worker_shutting_down.connect(leave, weak=False)
    runtime.start()
    log.info("worker_ready", worker=worker, queues=list(catalogue.queues))
    try:
        app.Worker(
            pool="threads",
            concurrency=settings.worker.concurrency,
            queues=list(catalogue.queues),
            hostname=worker,
            loglevel="WARNING",
            quiet=True,
            # Workers need not know of each other: the rows are all they share.
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        ).start()
    finally:
        runtime.close()


if __name__ == "__main__":
    main()
