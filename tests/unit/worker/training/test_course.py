from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from worker.training.course import CHECKPOINT_STEPS, Course, learn


def _learned(folder: Path, steps: int, *, stop_at: int | None = None) -> nn.Linear:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)

    def loss_of(step: int) -> Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        inputs = torch.randn(8, 2, generator=torch.Generator().manual_seed(step))
        off: Tensor = model(inputs) - inputs.sum(dim=1, keepdim=True)
        return off.square().mean()

    learn(model, loss_of, Course("line", steps=steps, rate=0.05, folder=folder, averaging=0.9))
    return model


def test_a_course_learns_and_keeps_its_losses(tmp_path: Path) -> None:
    model = _learned(tmp_path, 3 * CHECKPOINT_STEPS)
    assert torch.allclose(model.weight, torch.ones(1, 2), atol=0.02)
    rows = (tmp_path / "line-loss.csv").read_text().splitlines()
    assert rows[0] == "step,loss,cpu_seconds"
    assert float(rows[-1].split(",")[1]) < float(rows[1].split(",")[1])


def test_an_interrupted_course_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = _learned(tmp_path / "whole", 2 * CHECKPOINT_STEPS)
    with suppress(KeyboardInterrupt):
        _learned(tmp_path / "cut", 2 * CHECKPOINT_STEPS, stop_at=CHECKPOINT_STEPS + 20)
    resumed = _learned(tmp_path / "cut", 2 * CHECKPOINT_STEPS)
    assert torch.equal(whole.weight, resumed.weight)
