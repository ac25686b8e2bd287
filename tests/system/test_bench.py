"""Every phase of the benchmarks runs: the same code at its tiny sizes, on real servers."""

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from math import isfinite
from pathlib import Path

import pytest
import structlog

from tests.bench.__main__ import parser
from tests.bench.engine.__main__ import main as race
from tests.bench.figures import table
from tests.bench.phases import PHASES
from tests.bench.rig.stack import Stores, open_rig, open_stores
from tests.bench.sizes import TINY
from tests.conftest import require_server_wheels

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "Makefile", *(ROOT / "docs").rglob("*.md")]
MEASURE = ROOT / "tests/bench/measure"


@pytest.fixture(scope="module")
async def stores(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    """Start the servers of the benchmarks once; what they export is taken back."""
    require_server_wheels()
    environment = os.environ  # noqa: TID251 - the benchmarks write their settings there
    before = dict(environment)
    try:
        async with open_stores(tmp_path_factory.mktemp("bench")) as stores:
            yield stores
    finally:
        environment.clear()
        environment.update(before)


@pytest.mark.parametrize("name", PHASES)
async def test_a_phase_returns_its_figures(name: str, stores: Stores) -> None:
    phase = PHASES[name]
    if phase.on_stack:
        async with open_rig(stores) as rig:
            figures = await phase.measure(TINY, rig)
    else:
        figures = await phase.measure(TINY)
    names = [figure.name for figure in figures]
    assert len(set(names)) == len(names) >= len(phase.modules)
    assert all(isfinite(figure.value) and isfinite(figure.ratio or 0) for figure in figures)
    shown = table(figures)
    assert all(figure.name in shown and figure.note in shown for figure in figures)


async def command(folder: Path, *arguments: str) -> tuple[int | None, str]:
    """Run a benchmark's command in `folder`; return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        cwd=folder,
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # noqa: TID251 - what Python needs to start
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_command_prints_its_figures(tmp_path: Path) -> None:
    code, output = await command(tmp_path, "tests.bench", "--tiny", "images")
    figures = json.loads((tmp_path / ".infill/bench.json").read_text())
    assert code == int(not all(figure["reached"] for figure in figures))
    assert all(figure["name"] in output for figure in figures)


@pytest.fixture
def structlog_restored() -> Iterator[None]:
    """Take back how the command configures the logs."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("structlog_restored")
def test_the_race_of_engines_prints_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        race(["--tiny", "--device", "cpu"])
    output = capsys.readouterr().out
    report = json.loads((tmp_path / ".infill/bench-engine.json").read_text())
    assert [figure["name"] for figure in report["figures"]] == [
        f"{clients} at once" for clients in TINY.race.clients
    ]
    assert all(figure["name"] in output for figure in report["figures"])
    assert {result["contestant"] for result in report["races"]} == {"engine", "pipeline"}


def test_the_help_names_every_phase_with_its_summary() -> None:
    lines = parser().format_help().partition("phases:\n")[2].splitlines()
    listed = dict(line.split(maxsplit=1) for line in lines if line)
    assert listed == {name: phase.summary for name, phase in PHASES.items()}


def test_the_page_lists_every_phase() -> None:
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    assert listed == {name: phase.summary for name, phase in PHASES.items()}


def test_no_page_names_a_phase_that_is_none() -> None:
    commands = [
        names
        for page in PAGES
        for names in re.findall(r"python -m tests\.bench((?: [a-z]+)+)", page.read_text("utf-8"))
    ]
    assert commands
    assert {name for names in commands for name in names.split()} <= PHASES.keys()


def test_every_measurement_belongs_to_one_phase() -> None:
    files = [file for file in MEASURE.rglob("*.py") if file.name != "__init__.py"]
    modules = [".".join(file.relative_to(MEASURE).with_suffix("").parts) for file in files]
    assert sorted(modules) == sorted(name for phase in PHASES.values() for name in phase.modules)
