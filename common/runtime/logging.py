"""Logging configuration: all logs, including libraries', as JSON lines on standard output."""

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

# Loggers with handlers of their own, and loggers that repeat what our own lines say.
REROUTED: Final = ("uvicorn", "uvicorn.error", "celery", "celery.redirected", "alembic")
SILENCED: Final = ("uvicorn.access",)
# Loggers that matter from warnings on. httpcore2 logs headers, and a redirect's `Location` may hold
# credentials.
QUIET: Final = ("botocore", "boto3", "urllib3", "asyncio", "httpcore2", "kombu", "amqp")
# Logged in place of the part of a traceback that quotes the values of a row.
WITHHELD: Final = "(withheld: it quotes a row)"


def configure_logging(settings: TelemetrySettings, *, process: str) -> None:
    """Send all logs of this process to standard output, with the field `process` on every line.

    Values bound with `structlog.contextvars`, such as `job_id`, `attempt` and `tenant_id`, are
    added to each line.

    Raises:
        ConfigurationError: the log level does not exist.
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
    """Format an exception without rows quoted by Postgres, because they hold tenants' data."""
    text = "".join(traceback.format_exception(*exc_info)).removesuffix("\n")
    for error in _chain(exc_info[1]):
        if isinstance(error, PostgresError) and error.detail:
            text = text.replace(error.detail, WITHHELD)
    return text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, then its causes and contexts."""
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
