"""The soft limit of open files is raised, and leaves room for other files."""

import resource
from collections.abc import Iterator

import pytest

from api.connections.descriptors import connection_capacity


@pytest.fixture(autouse=True)
def limit_restored() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def set_soft(limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def test_a_low_soft_limit_is_raised() -> None:
    set_soft(600)
    assert connection_capacity(500) == 500
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 756


def test_a_high_soft_limit_stays() -> None:
    set_soft(900)
    assert connection_capacity(100) == 100
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 900


@pytest.mark.parametrize(
    ("hard", "capacity"), [(100, 50), (400, 200), (1024, 768), (resource.RLIM_INFINITY, 8192)]
)
def test_a_hard_limit_reduces_the_capacity(
    monkeypatch: pytest.MonkeyPatch, hard: int, capacity: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert connection_capacity(8192) == capacity
