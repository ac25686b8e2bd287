import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from asyncpg.exceptions import CheckViolationError

from common.domain.errors import ConfigurationError
from common.runtime.logging import QUIET, REROUTED, SILENCED, configure_logging
from common.settings import TelemetrySettings

TOUCHED = ("", *REROUTED, *SILENCED, *QUIET)


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in TOUCHED]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    kept = structlog.get_config()
    yield
    structlog.reset_defaults()
    structlog.configure(**kept)
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.level, logger.propagate = handlers, level, propagate


def written(capfdbinary: pytest.CaptureFixture[bytes]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]


def test_own_log_lines_and_those_of_libraries_are_json(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    configure_logging(TelemetrySettings(), process="gateway")
    with structlog.contextvars.bound_contextvars(job_id=7, attempt=2, tenant_id=1):
        structlog.get_logger("ours").info("job_recorded", size={1: b"odd"})
        logging.getLogger("uvicorn.error").warning("said %s", "so")
    ours, theirs = written(capfdbinary)
    assert (ours["event"], ours["process"], ours["level"]) == ("job_recorded", "gateway", "info")
    assert (ours["job_id"], ours["attempt"], ours["tenant_id"]) == (7, 2, 1)
    assert (theirs["event"], theirs["logger"], theirs["job_id"]) == ("said so", "uvicorn.error", 7)
    assert str(theirs["timestamp"]).endswith("Z")


def test_an_exception_stays_on_one_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    configure_logging(TelemetrySettings(), process="gateway")
    try:
        int("broken\nin two")
    except ValueError:
        structlog.get_logger("ours").exception("request_crashed")
    (line,) = written(capfdbinary)
    assert "ValueError: invalid literal" in str(line["exception"])


def test_row_values_quoted_by_postgres_are_not_logged(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    configure_logging(TelemetrySettings(), process="worker")
    violation = CheckViolationError("new row violates check constraint")
    violation.detail = "Failing row contains (1, a cat\non a bench)."
    try:
        try:
            raise violation
        except CheckViolationError as error:
            raise ConnectionError(f"so it was: {error}") from error
    except ConnectionError:
        structlog.get_logger("ours").exception("job_loop_failed")
        logging.getLogger("celery").exception("failed")
    for line in written(capfdbinary):
        text = str(line["exception"])
        assert "new row violates check constraint" in text
        assert "so it was" in text
        assert "a cat" not in text


def test_lines_below_the_level_are_not_logged(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    configure_logging(TelemetrySettings(log_level="warning"), process="gateway")
    structlog.get_logger("ours").info("not_said")
    logging.getLogger("botocore").info("not said")
    logging.getLogger("uvicorn.access").error("never said")
    structlog.get_logger("ours").warning("said")
    assert [line["event"] for line in written(capfdbinary)] == ["said"]


def test_an_unknown_level_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="INFILL_LOG_LEVEL: 'LOUD' is no level"):
        configure_logging(TelemetrySettings(log_level="LOUD"), process="gateway")
