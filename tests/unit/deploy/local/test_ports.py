import socket

import pytest

from common.domain.errors import ConfigurationError
from deploy.local import ports


def test_ports_are_free_and_different() -> None:
    chosen = ports.free_ports(20)
    assert len(set(chosen)) == 20
    for port in chosen:
        ports.require_free(port, "anyone")


def test_a_range_that_is_all_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((ports.LOOPBACK, ports.free_port())) as listener:
        monkeypatch.setattr(ports, "FIRST_PORT", listener.getsockname()[1])
        monkeypatch.setattr(ports, "PORTS", 1)
        with pytest.raises(ConfigurationError, match="no 1 free ports between"):
            ports.free_port()
