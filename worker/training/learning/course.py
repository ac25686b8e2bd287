"""The training loop of a network ("course"): steps, learning rate, averaging, checkpoints."""

import csv
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from common.runtime.clock import monotonic

WARMUP_STEPS: Final = 50
REPORT_STEPS: Final = 50
CHECKPOINT_STEPS: Final = 100
_GRADIENT_LIMIT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Course:
    """Hyperparameters of one training run of one network.

    `rate` is the peak learning rate. `folder` holds the run's checkpoint and its CSV file of
    losses. The weights are averaged by an exponential moving average; `averaging` is the upper
    limit of its decay.

    Each step sums the gradients of `parts` losses, each computed in its own thread. For models as
    small as these, two half batches in parallel take two thirds of the time that one whole batch
    with parallel operations takes. With more than two parts, the sum of the gradients would depend
    on the order in which threads finish.
    """

    name: str
    steps: int
    rate: float
    folder: Path
    averaging: float = 0.999
    parts: int = 1

    @property
    def losses(self) -> Path:
        """Return the path of the CSV file of the run's losses."""
        return self.folder / f"{self.name}-loss.csv"


def train(model: nn.Module, compute_loss: Callable[[int], Tensor], course: Course) -> None:
    """Minimize the loss over `course.steps` steps, then load the averaged weights into `model`.

    `compute_loss` is called `course.parts` times per step, with an index that counts up from 0 over
    all steps. A loss must depend only on the index and the weights, so that a run resumed from its
    checkpoint gives the same result as an uninterrupted one. The checkpoint and the losses are
    written to `course.folder`.
    """
    state = _TrainingState(model, course)
    report = _ProgressReport(course, state.step)

    def run_backward(number: int) -> float:
        loss = compute_loss(number)
        torch.autograd.backward(loss / course.parts)
        return float(loss.detach())

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // course.parts))
    try:
        with ThreadPoolExecutor(course.parts) as pool:
            while state.step < course.steps:
                first = state.step * course.parts
                losses = list(pool.map(run_backward, range(first, first + course.parts)))
                state.advance()
                report.record(state.step, sum(losses) / len(losses))
                if state.step % CHECKPOINT_STEPS == 0 or state.step == course.steps:
                    state.save()
    finally:
        torch.set_num_threads(threads)
    model.load_state_dict(state.averaged)
    model.eval()


def learning_rate(step: int, course: Course) -> float:
    """Return the learning rate of a step: linear warm-up, cosine decay to 1 % of `course.rate`."""
    rise = min(1.0, (step + 1) / WARMUP_STEPS)
    fall = 0.01 + 0.99 * (1 + cos(pi * min(1.0, step / course.steps))) / 2
    return course.rate * rise * fall


class _TrainingState:
    """State of a training run: weights, averaged weights, optimizer state and step.

    It is restored from the checkpoint file in `course.folder` if there is one.
    """

    def __init__(self, model: nn.Module, course: Course) -> None:
        self.step = 0
        self.averaged = {name: value.clone() for name, value in model.state_dict().items()}
        self._model = model
        self._course = course
        self._file = course.folder / f"{course.name}.pt"
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=course.rate, weight_decay=1e-3, fused=True
        )
        if self._file.exists():
            self._restore(torch.load(self._file, weights_only=True))
        model.train()

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self.step = checkpoint["step"]
        self.averaged = checkpoint["averaged"]
        self._model.load_state_dict(checkpoint["weights"])
        self._optimizer.load_state_dict(checkpoint["optimizer"])

    def advance(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self._course)
        nn.utils.clip_grad_norm_(self._model.parameters(), _GRADIENT_LIMIT)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average()

    def _average(self) -> None:
        # Early on the average decays fast, since the first weights are random.
        past = min(self._course.averaging, self.step / (self.step + 10))
        for name, value in self._model.state_dict().items():
            if value.dtype.is_floating_point:
                self.averaged[name].lerp_(value, 1 - past)

    def save(self) -> None:
        """Save the checkpoint to a temporary file, then rename it so that it is always complete."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(".part")
        torch.save(
            {
                "step": self.step,
                "averaged": self.averaged,
                "weights": self._model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
            },
            beside,
        )
        beside.replace(self._file)


class _ProgressReport:
    """Prints the progress of a training run and appends mean losses to its CSV file."""

    def __init__(self, course: Course, step: int) -> None:
        self._course = course
        self._losses: list[float] = []
        self._started = (monotonic(), step)
        course.folder.mkdir(parents=True, exist_ok=True)
        self._file = course.losses
        if step == 0:
            self._file.write_text("step,loss,cpu_seconds\n", encoding="utf-8")

    def record(self, step: int, loss: float) -> None:
        self._losses.append(loss)
        if step % REPORT_STEPS and step != self._course.steps:
            return
        mean = sum(self._losses) / len(self._losses)
        self._losses.clear()
        times = os.times()
        with self._file.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow([step, f"{mean:.5f}", f"{times.user + times.system:.0f}"])
        since, first = self._started
        left = (monotonic() - since) / (step - first) * (self._course.steps - step)
        print(
            f"{self._course.name}: step {step} of {self._course.steps}, loss {mean:.4f}, "
            f"{left / 60:.1f} minutes to go",
            flush=True,
        )
