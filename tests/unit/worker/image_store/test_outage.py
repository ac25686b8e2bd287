"""An outage of the object store: pauses between tries, and paused claims."""

import pytest
from structlog.testing import capture_logs

from common.domain.errors import StorageOutageError
from worker.image_store import outage as module
from worker.image_store.outage import FIRST_PAUSE_SECONDS, StoreOutage

ERROR = StorageOutageError("unavailable", detail="connection refused")


class Claims:
    """Records the pauses of claims, and lets the time pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, longest_pause: float) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.resumed = 0
        self.outage = StoreOutage(longest_pause=longest_pause)
        self.outage.control_claims(self.pauses.append, self._resume)
        monkeypatch.setattr(module, "monotonic", lambda: self.now)

    def fail_next_try(self) -> None:
        """Let the last pause pass, and fail."""
        self.now += self.pauses[-1] if self.pauses else 0.0
        self.outage.record_failure(ERROR)

    def _resume(self) -> None:
        self.resumed += 1


def test_the_pauses_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = Claims(monkeypatch, longest_pause=3.0)
    for _ in range(5):
        claims.fail_next_try()
    for pause, longest in zip(claims.pauses, (0.5, 1.0, 2.0, 3.0, 3.0), strict=True):
        assert longest / 2 <= pause <= longest


def test_failures_of_tries_that_had_begun_before_double_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claims = Claims(monkeypatch, longest_pause=100.0)
    for _ in range(8):
        claims.outage.record_failure(ERROR)
    assert len(claims.pauses) == 1
    assert claims.pauses[0] <= FIRST_PAUSE_SECONDS


def test_one_success_resumes_the_claims_and_the_first_pause_is_short_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claims = Claims(monkeypatch, longest_pause=100.0)
    for _ in range(4):
        claims.fail_next_try()
    assert claims.outage.is_active
    claims.outage.record_success()
    claims.outage.record_success()
    assert (claims.outage.is_active, claims.resumed) == (False, 1)
    claims.fail_next_try()
    assert claims.pauses[-1] <= FIRST_PAUSE_SECONDS


def test_outages_that_follow_each_other_quickly_are_logged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claims = Claims(monkeypatch, longest_pause=1.0)
    with capture_logs() as lines:
        for _ in range(20):
            claims.fail_next_try()
            claims.outage.record_success()
    assert [line["event"] for line in lines] == ["dependency_unavailable", "dependency_available"]
    assert (lines[0]["dependency"], lines[0]["detail"]) == ("object_store", "connection refused")
    with capture_logs() as lines:
        claims.now += module.LOG_INTERVAL_SECONDS
        claims.fail_next_try()
    assert [line["event"] for line in lines] == ["dependency_unavailable"]
