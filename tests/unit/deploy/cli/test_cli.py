"""The command line itself."""

import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest
import structlog
from click.testing import CliRunner

from common.domain.errors import ConfigurationError, StorageUnavailableError
from deploy.cli import main as cli
from deploy.local.servers.ports import LOOPBACK, free_port


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["infill", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_every_command_is_listed() -> None:
    listed = CliRunner().invoke(cli.infill, ["--help"]).output
    for name in ("up", "demo", "gateway", "worker", "dispatcher", "migrate", "bucket"):
        assert f"\n  {name} " in listed
    assert "tenants" in listed
    assert "keys" in listed


def test_the_version_is_printed() -> None:
    output = CliRunner().invoke(cli.infill, ["--version"]).output
    assert output == f"infill {version('infill')}\n"


def test_a_successful_command_ends_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "keys", "webhook") == 0


@pytest.mark.parametrize("key_id", ["0", str(2**63), "abc"])
def test_a_key_id_out_of_range_is_rejected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key_id: str
) -> None:
    assert run(monkeypatch, "keys", "revoke", "acme", key_id) == 2
    assert "Invalid value for 'KEY_ID'" in capsys.readouterr().err


def test_an_error_is_printed_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFILL_DATABASE_URL", f"postgresql://x@{LOOPBACK}:{free_port()}/x")
    assert run(monkeypatch, "tenants", "list") == 1
    output = capsys.readouterr().err
    assert output.startswith("infill: Postgres cannot be reached")
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigurationError("this is wrong"), "infill: this is wrong\n"),
        (
            StorageUnavailableError("the store is unavailable", detail="cannot connect"),
            "infill: the store is unavailable (cannot connect)\n",
        ),
    ],
)
def test_the_detail_of_an_error_is_printed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    expected: str,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "infill", fail)
    assert run(monkeypatch) == 1
    assert capsys.readouterr().err == expected
