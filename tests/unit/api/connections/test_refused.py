"""Refused requests are logged at a bounded rate, with their number."""

from structlog.testing import capture_logs

from api.connections.refused import RefusedLog
from api.connections.stall_probe import LongestStall


def test_each_reason_is_logged_once_in_its_period() -> None:
    refused = RefusedLog(10.0)
    with capture_logs() as logs:
        for now in range(15):
            refused.count("head_timeout", float(now))
        refused.count("malformed", 15.0)
        refused.flush(19.9)
        refused.flush(20.0)
        refused.flush(40.0)
    lines = [(line["reason"], line["count"]) for line in logs]
    assert lines == [
        ("head_timeout", 1),
        ("head_timeout", 10),
        ("malformed", 1),
        ("head_timeout", 4),
    ]
    assert {line["event"] for line in logs} == {"connections_refused"}


def test_the_longest_stall_is_forgotten_after_the_window() -> None:
    longest = LongestStall(window_seconds=60.0)
    assert longest.add(0.2, 0.0) == 0.2
    assert longest.add(0.1, 30.0) == 0.2
    assert longest.add(0.0, 59.0) == 0.2
    assert longest.add(0.0, 60.0) == 0.1
    assert longest.add(0.0, 90.0) == 0.0
