"""The deadline of a transfer moves with its bytes, up to the time-out."""

from api.connections.pace import Pace


def paced(rate: float = 1000.0, grace: float = 15.0) -> Pace:
    pace = Pace(rate, grace)
    pace.restart(100.0)
    return pace


def test_silence_is_late_after_the_time_out() -> None:
    pace = paced()
    assert not pace.is_late(114.9)
    assert pace.is_late(115.0)


def test_a_dripping_client_gains_little() -> None:
    pace = paced()
    for second in range(15):
        pace.advance(1, 100.0 + second)
    assert pace.is_late(115.1)


def test_the_least_rate_is_enough() -> None:
    pace = paced()
    for second in range(1, 1000):
        assert not pace.is_late(100.0 + second)
        pace.advance(1000, 100.0 + second)


def test_a_burst_buys_no_more_than_the_time_out() -> None:
    pace = paced()
    pace.advance(50_000_000, 101.0)
    assert not pace.is_late(115.9)
    assert pace.is_late(116.0)
