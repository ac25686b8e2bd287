"""Logs: one JSON object per line on standard output, ours and every library's alike."""

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any, Final

import orjson
import structlog
from asyncpg import PostgresError
from structlog.typing import EventDict, ExcInfo, Processor

from common.domain.errors import ConfigurationError
from common.settings import TelemetrySettings

# Loggers that come with handlers of their own, or that say per request what we say better.
REROUTED: Final = ("uvicorn", "uvicorn.error", "celery", "celery.redirected", "alembic")
SILENCED: Final = ("uvicorn.access",)
# Chatter of libraries that only matters when it is a warning. httpcore2's holds headers, in which
# stand addresses with credentials: where a picture has moved to.
QUIET: Final = ("botocore", "boto3", "urllib3", "asyncio", "httpcore2", "kombu", "amqp")
# What stands in a traceback in place of a row.
WITHHELD: Final = "(withheld: it quotes a row)"


def configure_logging(settings: TelemetrySettings, *, process: str) -> None:
    """Send all logs of this process to standard output, `process` on every line.

    `structlog.contextvars` add what is bound for the moment: `job_id`, `attempt`, `tenant_id`.

    Raises:
        ConfigurationError: the level is none that logging knows.
    """
    level = logging.getLevelNamesMapping().get(settings.log_level.upper())
    if level is None:
        raise ConfigurationError(
            f"INFILL_LOG_LEVEL: {settings.log_level!r} is no level; "
            "use DEBUG, INFO, WARNING or ERROR"
        )
    before = _before_rendering(process)
    structlog.configure(
        processors=[*before, structlog.processors.JSONRenderer(serializer=_line)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *before],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_text_line),
            ],
        )
    )
    _route_to(handler, level)


def _before_rendering(process: str) -> list[Processor]:
    def add_process(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_traceback),
        add_process,
    ]


def _traceback(exc_info: ExcInfo) -> str:
    """Spell an exception, less the rows that Postgres quotes: tenants' words stand in them."""
    told = "".join(traceback.format_exception(*exc_info)).removesuffix("\n")
    for error in _chain(exc_info[1]):
        if isinstance(error, PostgresError) and error.detail:
            told = told.replace(error.detail, WITHHELD)
    return told


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give an exception and those it was raised from, or while handling them."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _route_to(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in REROUTED:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    for name in SILENCED:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], False
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _line(event: EventDict, **_options: Any) -> bytes:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS)


def _text_line(event: EventDict, **options: Any) -> str:
    return _line(event, **options).decode()
