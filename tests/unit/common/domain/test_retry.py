"""The decision after a failed attempt."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.domain.errors import (
    FetchFailedError,
    GenerationError,
    InvalidImageError,
    StorageUnavailableError,
)
from common.domain.retry import MAX_WAIT, GiveUp, Retry, decide_retry, parse_retry_after

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
TWO_SECONDS = timedelta(seconds=2)

BAD_MASK = InvalidImageError("mask_image is not an image: send PNG, JPEG or WebP")
STORE_UNAVAILABLE = StorageUnavailableError(
    "this service's own image storage could not be reached",
    detail="10.0.0.7 rejected the connection",
)
OUR_ERROR = "the job failed because of an error in this service, which has been logged"
ENGINE = GenerationError("the model ran out of memory: ask for a smaller image")
BUSY_HOST = FetchFailedError("HTTP 429", reason="busy", wait_seconds=90)
STRANGE = ValueError("/home/infill/secret/path")


def retry_after(seconds: float, code: str, message: str) -> Retry:
    return Retry(NOW + timedelta(seconds=seconds), code, message)


@pytest.mark.parametrize(
    ("error", "attempt", "max_attempts", "expected"),
    [
        (BAD_MASK, 1, 3, GiveUp("invalid_image", BAD_MASK.message)),
        (BAD_MASK, 3, 3, GiveUp("invalid_image", BAD_MASK.message)),
        (STORE_UNAVAILABLE, 1, 3, retry_after(2, "storage_unavailable", STORE_UNAVAILABLE.message)),
        (STORE_UNAVAILABLE, 2, 3, retry_after(4, "storage_unavailable", STORE_UNAVAILABLE.message)),
        (
            STORE_UNAVAILABLE,
            3,
            3,
            GiveUp("storage_unavailable", f"{STORE_UNAVAILABLE.message} (tried 3 times)"),
        ),
        (
            STORE_UNAVAILABLE,
            4,
            3,
            GiveUp("storage_unavailable", f"{STORE_UNAVAILABLE.message} (tried 4 times)"),
        ),
        (ENGINE, 1, 1, GiveUp("generation_failed", f"{ENGINE.message} (tried 1 time)")),
        (
            FetchFailedError("init_image timed out", reason="timeout"),
            1,
            2,
            retry_after(2, "fetch_failed", "init_image timed out"),
        ),
        (BUSY_HOST, 1, 3, retry_after(90, "fetch_failed", BUSY_HOST.message)),
        (BUSY_HOST, 7, 9, retry_after(128, "fetch_failed", BUSY_HOST.message)),
        (BUSY_HOST, 3, 3, GiveUp("fetch_failed", f"{BUSY_HOST.message} (tried 3 times)")),
        (
            FetchFailedError("HTTP 429", reason="busy", wait_seconds=1e12),
            1,
            3,
            retry_after(3600, "fetch_failed", "HTTP 429"),
        ),
        (STRANGE, 1, 2, retry_after(2, "internal_error", OUR_ERROR)),
        (STRANGE, 2, 2, GiveUp("internal_error", f"{OUR_ERROR} (tried 2 times)")),
        (ENGINE, 9, 99, retry_after(512, "generation_failed", ENGINE.message)),
        (ENGINE, 10, 99, retry_after(600, "generation_failed", ENGINE.message)),
    ],
)
def test_the_decision_depends_on_error_and_attempts(
    error: Exception, attempt: int, max_attempts: int, expected: Retry | GiveUp
) -> None:
    decision = decide_retry(
        error, attempt=attempt, max_attempts=max_attempts, now=NOW, wait=TWO_SECONDS
    )
    assert decision == expected


@given(attempt=st.integers(1, 32_766), wait=st.timedeltas(timedelta(milliseconds=1), MAX_WAIT))
def test_the_retry_delay_grows_up_to_its_limit(attempt: int, wait: timedelta) -> None:
    waits = [
        decision.at - NOW
        for made in (attempt, attempt + 1)
        if isinstance(
            decision := decide_retry(ENGINE, attempt=made, max_attempts=32_768, now=NOW, wait=wait),
            Retry,
        )
    ]
    assert wait <= waits[0] <= waits[1] <= MAX_WAIT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Mon, 04 May 2026 03:03:01 GMT", 60),
        ("Mon, 04 May 2026 03:03:01 -0000", 60),
        ("Mon, 04 May 2026 05:03:01 +0200", 60),
        ("Mon, 04 May 2026 03:02:00 GMT", 0),
        ("-5", 0),
        ("1.5", 0),
        ("\u0661", 0),
        ("tomorrow", 0),
        ("", 0),
        ("9" * 400, float("inf")),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
    ],
)
def test_a_retry_after_header_is_parsed(text: str, seconds: float) -> None:
    assert parse_retry_after(text, NOW) == seconds
