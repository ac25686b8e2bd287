import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worker.training.measuring.card import CURVES, write_card
from worker.training.measuring.loss_curves import points_of, seconds_of

HEAD = "step,loss,cpu_seconds\n"


@pytest.fixture
def losses(tmp_path: Path) -> list[Path]:
    """Loss files of two courses; the second was interrupted after 130 seconds, and resumed."""
    files = [tmp_path / "first-loss.csv", tmp_path / "second-loss.csv"]
    files[0].write_text(HEAD + "50,0.5,60\n100,0.05,100\n")
    files[1].write_text(HEAD + "50,0.4,130\n100,0.3,20\n150,0.2,50\n")
    return files


def test_processor_time_is_summed_over_interruptions(losses: list[Path]) -> None:
    assert seconds_of(losses) == 130 + 50
    assert points_of(losses[0]) == [(50, 0.5), (100, 0.05)]


def test_the_card_has_the_measurements_and_the_curves(tmp_path: Path, losses: list[Path]) -> None:
    folder = tmp_path / "shapes"
    folder.mkdir()
    quality = tmp_path / "quality-256.json"
    row = {"name": "colour as asked", "value": 0.987, "required": "at least 0.90"}
    quality.write_text(json.dumps([row]))
    write_card(folder, losses, [quality], seed=5, guidance=4.0)

    card = (folder / "README.md").read_text()
    assert "| colour as asked | 0.987 | at least 0.90 |" in card
    assert "| second | 150 | 0.4000 | 0.2000 |" in card
    assert "seed 5, 3 minutes" in card
    assert "$" not in card
    curves = np.asarray(Image.open(folder / CURVES).convert("L"))
    halves = np.split(curves, 2, axis=1)
    assert all((half < 255).any() for half in halves)
