"""One course of training: steps, learning rate, a running average of the weights, checkpoints."""

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
    """How long to learn and how fast; `folder` keeps what an interrupted run goes on from.

    A step learns from `parts` losses, each worked out in a thread of its own: of models as small
    as ours, two halves beside each other take two thirds of the time that the whole takes when
    each of its operations is shared out. With more than two, sums would depend on who comes first.
    `averaging` is the largest weight the past has in the running average of the weights.
    """

    name: str
    steps: int
    rate: float
    folder: Path
    averaging: float = 0.999
    parts: int = 1

    @property
    def losses(self) -> Path:
        """Where its losses are left."""
        return self.folder / f"{self.name}-loss.csv"


def learn(model: nn.Module, loss_of: Callable[[int], Tensor], course: Course) -> None:
    """Lower `loss_of(number)`, then give `model` its averaged weights.

    Numbers count up from 0, as many to a step as it has parts. A loss must depend on its number
    alone, so that an interrupted course goes on as if it had not been.
    """
    state = _State(model, course)
    report = _Report(course, state.step)

    def work_out(number: int) -> float:
        loss = loss_of(number)
        torch.autograd.backward(loss / course.parts)
        return float(loss.detach())

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // course.parts))
    try:
        with ThreadPoolExecutor(course.parts) as pool:
            while state.step < course.steps:
                first = state.step * course.parts
                losses = list(pool.map(work_out, range(first, first + course.parts)))
                state.advance()
                report.take(state.step, sum(losses) / len(losses))
                if state.step % CHECKPOINT_STEPS == 0 or state.step == course.steps:
                    state.keep()
    finally:
        torch.set_num_threads(threads)
    model.load_state_dict(state.averaged)
    model.eval()


def rate_at(step: int, course: Course) -> float:
    """Give the learning rate: up in a line, then down along a cosine to a hundredth."""
    rise = min(1.0, (step + 1) / WARMUP_STEPS)
    fall = 0.01 + 0.99 * (1 + cos(pi * min(1.0, step / course.steps))) / 2
    return course.rate * rise * fall


class _State:
    """The weights, the optimizer's memory and the step, in memory and on disk."""

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
            self._go_on_from(torch.load(self._file, weights_only=True))
        model.train()

    def _go_on_from(self, kept: dict[str, Any]) -> None:
        self.step = kept["step"]
        self.averaged = kept["averaged"]
        self._model.load_state_dict(kept["weights"])
        self._optimizer.load_state_dict(kept["optimizer"])

    def advance(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate_at(self.step, self._course)
        nn.utils.clip_grad_norm_(self._model.parameters(), _GRADIENT_LIMIT)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average()

    def _average(self) -> None:
        # Early on the past weighs little: the first weights are random.
        past = min(self._course.averaging, self.step / (self.step + 10))
        for name, value in self._model.state_dict().items():
            if value.dtype.is_floating_point:
                self.averaged[name].lerp_(value, 1 - past)

    def keep(self) -> None:
        """Write all of it beside its place, then move it in, so that no half file is left."""
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


class _Report:
    """Says how far it is, and adds to the file of losses."""

    def __init__(self, course: Course, step: int) -> None:
        self._course = course
        self._losses: list[float] = []
        self._started = (monotonic(), step)
        course.folder.mkdir(parents=True, exist_ok=True)
        self._file = course.losses
        if step == 0:
            self._file.write_text("step,loss,cpu_seconds\n", encoding="utf-8")

    def take(self, step: int, loss: float) -> None:
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
