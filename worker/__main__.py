"""Entry point of a GPU worker: `python -m worker`."""

import gc
import os
import signal
import socket
import sys
from pkgutil import resolve_name
from typing import NoReturn

import structlog

from common.domain.errors import ConfigurationError
from common.runtime.logging import configure_logging
from common.runtime.signals import acting_on_signals
from common.settings import Settings
from common.settings.catalogue import Catalogue, load_catalogue
from worker.celery_app import create_app, create_listener, stop_listening
from worker.engine.interface import Engine
from worker.process import WorkerProcess

log = structlog.get_logger(__name__)


def main() -> None:
    """Run a worker with the environment's settings; exit with a message if any is invalid."""
    settings = Settings()
    try:
        configure_logging(settings.telemetry, process="worker")
        run(settings)
    except ConfigurationError as error:
        sys.exit(f"infill worker: {error.message}")


def run(settings: Settings) -> NoReturn:
    """Load the models, run jobs until SIGTERM, SIGINT or a stuck engine, then exit the process.

    Raises:
        ConfigurationError: a setting is invalid, or a model cannot be loaded.
    """
    catalogue = load_catalogue(settings.models)
    engine = _create_engine(settings, catalogue)
    worker = f"{socket.gethostname()}-{os.getpid()}"
    app = create_app(settings)
    runtime = WorkerProcess(
        settings, engine, worker=worker, queues=catalogue.queues, stop_listening=stop_listening
    )

    def stop() -> None:
        runtime.begin_shutdown()
        stop_listening()

    with acting_on_signals((signal.SIGTERM, signal.SIGINT), stop), runtime:
        # Exempt what is loaded from collection: scanning torch's half a million objects takes
        # seconds, which a worker that is shutting down does not have.
        gc.freeze()
        listener = create_listener(
            app,
            runtime.claim_waiting_jobs,
            runtime.count_free_slots,
            name=worker,
            queues=catalogue.queues,
            threads=settings.worker.concurrency,
        )
        log.info("worker_ready", worker=worker, queues=list(catalogue.queues))
        listener.start()
    log.info("worker_stopped", worker=worker)
    code = os.EX_SOFTWARE if runtime.engine_stuck else listener.exitcode or os.EX_OK
    if runtime.threads_stuck:
        _end_without_threads(code)
    sys.exit(code)


def _end_without_threads(code: int) -> NoReturn:
    """Exit at once without waiting for threads, because a stuck thread would prevent the exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _create_engine(settings: Settings, catalogue: Catalogue) -> Engine:
    name = settings.worker.engine
    try:
        create = resolve_name(name)
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"INFILL_WORKER_ENGINE: {name!r} is no `module:function` that can be imported: {error}"
        ) from error
    engine: Engine = create(settings, catalogue)
    return engine


if __name__ == "__main__":
    main()
