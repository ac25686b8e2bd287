"""The training objective is minimal for a model that knows the answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from worker.training.learning.objective import CaptionedBatch, exaggeration_of, loss
from worker.training.learning.stages import STAGES, Stage
from worker.training.networks.denoiser import new_scheduler

COUNT, SIDE = 6, 8
ALL_MOMENTS = replace(STAGES[-1], exaggeration=0.0)


@pytest.fixture
def given() -> CaptionedBatch:
    torch.manual_seed(0)
    masks = torch.zeros(COUNT, 1, SIDE, SIDE)
    masks[..., 2:6, 1:5] = 1
    latents = torch.randn(COUNT, 4, SIDE, SIDE)
    return CaptionedBatch(["a red circle"] * COUNT, latents, latents * (1 - masks), masks)


class PerfectModel:
    """A model that knows the latents; `off` is the error it makes, and where."""

    def __init__(self, given: CaptionedBatch, off: Tensor | float = 0.0) -> None:
        self._kept = new_scheduler().alphas_cumprod
        self._latents = given.latents + off
        self.noisy: Tensor | None = None

    def __call__(self, inputs: Tensor, timesteps: Tensor, captions: list[str]) -> Tensor:
        assert inputs.shape == (COUNT, 9, SIDE, SIDE)
        assert len(captions) == COUNT
        kept = self._kept[timesteps][:, None, None, None]
        self.noisy = inputs[:, :4]
        velocity: Tensor = (kept.sqrt() * self.noisy - self._latents) / (1 - kept).sqrt()
        return velocity


def loss_of(model: PerfectModel, given: CaptionedBatch, stage: Stage) -> float:
    return float(loss(model, new_scheduler(), given, stage, np.random.default_rng(3)))


@pytest.mark.parametrize("exaggeration", [0.0, 5.0])
def test_a_perfect_model_has_no_loss(given: CaptionedBatch, exaggeration: float) -> None:
    stage = replace(ALL_MOMENTS, exaggeration=exaggeration)
    assert loss_of(PerfectModel(given), given, stage) == pytest.approx(0, abs=1e-5)
    assert loss_of(PerfectModel(given, off=1.0), given, stage) > 0.1


def test_errors_outside_the_hole_have_little_weight(given: CaptionedBatch) -> None:
    stage = replace(ALL_MOMENTS, outside_weight=0.1)
    inside = loss_of(PerfectModel(given, off=given.masks), given, stage)
    outside_weight = loss_of(PerfectModel(given, off=1 - given.masks), given, stage)
    assert 0 < outside_weight < inside


def test_the_exaggeration_is_contrast_in_holes_and_a_colour_cast(given: CaptionedBatch) -> None:
    added = exaggeration_of(given, 5.0, np.random.default_rng(1))
    touched = added.flatten(1).any(dim=1)
    assert 0 < int(touched.sum()) < COUNT
    inside = given.masks.expand_as(added) > 0
    for each, hole in zip(added[touched], inside[touched], strict=True):
        # Outside, each channel is off by one value, the mean of what is added in the hole.
        for channel, within in zip(each, hole, strict=True):
            assert float(channel[~within].std()) == pytest.approx(0, abs=1e-6)
            cast = float(channel[~within].mean())
            assert float(channel[within].mean()) == pytest.approx(cast, abs=1e-4)
            assert float(channel[within].std()) > 0
    assert not torch.equal(shown(given, 0.0), shown(given, 5.0))


def shown(given: CaptionedBatch, exaggeration: float) -> Tensor:
    model = PerfectModel(given)
    loss_of(model, given, replace(ALL_MOMENTS, exaggeration=exaggeration))
    assert model.noisy is not None
    return model.noisy
