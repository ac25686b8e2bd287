"""Every command of the training tool runs, on a model trained for one step of every course."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from common.domain.errors import ConfigurationError
from worker.training.__main__ import COMMANDS, main
from worker.training.learning.stages import STAGES
from worker.training.measuring.card import CURVES, SHEET
from worker.training.measuring.loss_curves import points_of

SIDE = 64  # pixels of the images that are generated
COURSES = ("autoencoder", "decoder", *(stage.course.name for stage in STAGES), "safety")


class Tool:
    """The command line, working on folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.model, self.work = folder / "model", folder / "work"

    def run(self, command: str, *options: str) -> None:
        folders = ("--model", str(self.model), "--work", str(self.work))
        main([command, *folders, "--size", str(SIDE), *options])


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tool]:
    """Train a model, for the other commands too."""
    threads = torch.get_num_threads()
    tool = Tool(tmp_path_factory.mktemp("training"))
    tool.run("train", "--tiny", "--threads", "1")
    yield tool
    torch.set_num_threads(threads)


def trained(tool: Tool) -> None:
    losses = {name: points_of(tool.work / f"{name}-loss.csv") for name in COURSES}
    assert {steps for points in losses.values() for steps, _ in points} == {1}
    assert json.loads((tool.model / "model_index.json").read_text())["unet"]


def sheet(tool: Tool) -> None:
    file = tool.work / f"sheet-{SIDE}.png"
    file.unlink()  # the training's own
    tool.run("sheet")
    with Image.open(file) as shown:
        assert shown.width == 8 * SIDE


def measured(tool: Tool) -> None:
    """A model of one step misses its targets, and the command says which."""
    with pytest.raises(ConfigurationError, match="colour as asked"):
        tool.run("measure", "--scenes", "2", "--few", "1")
    rows = json.loads((tool.work / f"quality-{SIDE}.json").read_text())
    assert {"name", "value", "required"} <= set(rows[0])
    assert len(rows) > 5


def card(tool: Tool) -> None:
    tool.run("card")
    text = (tool.model / "README.md").read_text(encoding="utf-8")
    assert all(f"| {name} | 1 |" in text for name in COURSES)
    assert (tool.model / CURVES).exists()
    assert (tool.model / SHEET).exists()


CHECKS: dict[str, Callable[[Tool], None]] = {
    "train": trained,
    "sheet": sheet,
    "measure": measured,
    "card": card,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, tool: Tool) -> None:
    CHECKS[command](tool)
