import socket
from pathlib import Path

import pytest

from common.domain.errors import ConfigurationError
from deploy.local.servers import ports


def test_ports_are_free_and_different() -> None:
    chosen = ports.free_ports(20)
    assert len(set(chosen)) == 20
    for port in chosen:
        ports.check_port_free(port, "anyone")


def test_a_range_that_is_all_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((ports.LOOPBACK, ports.free_port())) as listener:
        monkeypatch.setattr(ports, "FIRST_PORT", listener.getsockname()[1])
        monkeypatch.setattr(ports, "PORTS", 1)
        with pytest.raises(ConfigurationError, match="no 1 free ports between"):
            ports.free_port()


def test_kept_ports_stay_while_they_are_free(tmp_path: Path) -> None:
    first = ports.choose_stable_ports(tmp_path, ("postgres", "s3"))
    assert len(set(first.values())) == 2
    assert ports.choose_stable_ports(tmp_path, ("postgres", "s3")) == first
    with socket.create_server((ports.LOOPBACK, first["s3"])):
        moved = ports.choose_stable_ports(tmp_path, ("postgres", "s3"))
    assert moved["postgres"] == first["postgres"]
    assert moved["s3"] != first["s3"]
    assert ports.choose_stable_ports(tmp_path, ("postgres", "s3")) == moved


def test_a_new_name_gets_a_port_beside_the_kept_ones(tmp_path: Path) -> None:
    first = ports.choose_stable_ports(tmp_path, ("s3",))
    both = ports.choose_stable_ports(tmp_path, ("redis", "s3"))
    assert both["s3"] == first["s3"]
    assert both["redis"] != both["s3"]


def test_ports_that_cannot_be_saved_leave_the_old_ones(tmp_path: Path) -> None:
    first = ports.choose_stable_ports(tmp_path, ("s3",))
    (tmp_path / "ports.new").mkdir()  # as good as a full disk: the draft cannot be written
    with pytest.raises(OSError, match=r"ports\.new"):
        ports.choose_stable_ports(tmp_path, ("redis", "s3"))
    (tmp_path / "ports.new").rmdir()
    assert ports.choose_stable_ports(tmp_path, ("s3",)) == first
