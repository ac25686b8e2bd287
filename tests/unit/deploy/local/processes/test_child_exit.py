from pathlib import Path

import pytest

from deploy.local.processes.child_exit import ChildExit, log_tail


@pytest.mark.parametrize(
    ("exit_code", "summary"),
    [(0, "api ended with exit code 0"), (-11, "api was ended by SIGSEGV")],
)
def test_the_summary_of_an_exit_names_code_or_signal(exit_code: int, summary: str) -> None:
    assert ChildExit("api", exit_code, Path("api.log")).summary == summary


def test_only_the_end_of_a_long_log_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    first, *lines = log_tail(log).splitlines()
    assert first == f"The end of its log, {log}:"
    assert lines == [f"line {number}" for number in range(9985, 10_000)]


def test_an_empty_log_is_marked_as_empty(tmp_path: Path) -> None:
    (tmp_path / "api.log").touch()
    assert log_tail(tmp_path / "api.log").endswith("(nothing)")
