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
from common.domain.retry import MAX_WAIT, GiveUp, Retry, decide_retry

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
TWO_SECONDS = timedelta(seconds=2)

BAD_MASK = InvalidImageError("mask_image is not an image: send PNG, JPEG or WebP")
STORE_UNAVAILABLE = StorageUnavailableError(
    "this service's own image storage could not be reached",
    detail="10.0.0.7 rejected the connection",
)
OUR_ERROR = "the job failed because of an error in this service, which has been logged"
ENGINE = GenerationError("the model ran out of memory: ask for a smaller image")
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
