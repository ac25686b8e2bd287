from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from worker.training.learning.course import CHECKPOINT_STEPS, Course, train


def _learned(folder: Path, steps: int, *, parts: int = 1, stop_at: int | None = None) -> nn.Linear:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)

    def compute_loss(number: int) -> Tensor:
        if number == stop_at:
            raise KeyboardInterrupt
        inputs = torch.randn(8, 2, generator=torch.Generator().manual_seed(number))
        off: Tensor = model(inputs) - inputs.sum(dim=1, keepdim=True)
        return off.square().mean()

    course = Course("line", steps=steps, rate=0.05, folder=folder, averaging=0.9, parts=parts)
    train(model, compute_loss, course)
    return model


def test_a_course_learns_and_writes_its_losses(tmp_path: Path) -> None:
    model = _learned(tmp_path, 3 * CHECKPOINT_STEPS)
    assert torch.allclose(model.weight, torch.ones(1, 2), atol=0.02)
    rows = (tmp_path / "line-loss.csv").read_text().splitlines()
    assert rows[0] == "step,loss,cpu_seconds"
    assert float(rows[-1].split(",")[1]) < float(rows[1].split(",")[1])


@pytest.mark.parametrize("parts", [1, 2])
def test_an_interrupted_course_resumes_exactly(tmp_path: Path, parts: int) -> None:
    whole = _learned(tmp_path / "whole", 2 * CHECKPOINT_STEPS, parts=parts)
    with suppress(KeyboardInterrupt):
        _learned(
            tmp_path / "cut",
            2 * CHECKPOINT_STEPS,
            parts=parts,
            stop_at=parts * (CHECKPOINT_STEPS + 20),
        )
    resumed = _learned(tmp_path / "cut", 2 * CHECKPOINT_STEPS, parts=parts)
    assert torch.equal(whole.weight, resumed.weight)


def test_a_step_uses_the_mean_gradient_of_its_parts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(1, 1, bias=False)
    before = torch.get_num_threads()

    def compute_loss(number: int) -> Tensor:
        return model.weight.sum() * (1.0 if number % 2 else -1.0)

    weight = model.weight.detach().clone()
    train(model, compute_loss, Course("none", steps=10, rate=0.1, folder=tmp_path, parts=2))
    assert torch.allclose(model.weight, weight, atol=1e-2)  # but for the decay
    assert torch.get_num_threads() == before
