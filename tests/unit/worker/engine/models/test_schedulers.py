"""Every scheduler of the table exists in diffusers and behaves the same for any model."""

import inspect
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMParallelScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)

from common.domain.schedulers import SCHEDULER_NAMES, SCHEDULERS, SchedulerEntry
from worker.engine.models.schedulers import fresh_scheduler, scheduler_named, scheduler_names

# diffusers' schedulers hand torch tensors to NumPy 2 in the way of NumPy 1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

TRAINED = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "steps_offset": 1,
}
MODELS_OWN = PNDMScheduler(skip_prk_steps=True, **TRAINED)
# Different from the settings of every name.
ODD_ONE = DPMSolverMultistepScheduler(
    use_exponential_sigmas=True, algorithm_type="sde-dpmsolver++", solver_order=3, **TRAINED
)


def named(name: str, template: Any = MODELS_OWN) -> Any:
    scheduler = scheduler_named(name, template)
    assert scheduler is not None
    return scheduler


@pytest.mark.parametrize("entry", SCHEDULERS, ids=lambda entry: entry.name)
def test_a_scheduler_name_overrides_the_settings_of_the_model(entry: SchedulerEntry) -> None:
    scheduler = named(entry.name, ODD_ONE)
    assert type(scheduler).__name__ == entry.class_name
    assert {key: scheduler.config[key] for key in entry.settings} == entry.settings
    assert {key: scheduler.config.get(key, TRAINED[key]) for key in TRAINED} == TRAINED


def run(scheduler: Any, steps: int) -> tuple[int, torch.Tensor]:
    """Run all steps on noise; return their number and the result."""
    scheduler.set_timesteps(steps)
    noise = torch.Generator().manual_seed(1)
    seeded = "generator" in inspect.signature(scheduler.step).parameters
    latents = torch.randn(1, 4, 2, 2, generator=noise) * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        predicted = scheduler.scale_model_input(latents, time) * 0.5
        given = {"generator": noise} if seeded else {}
        latents = scheduler.step(predicted, time, latents, **given).prev_sample
    return len(scheduler.timesteps), latents


@pytest.mark.parametrize("entry", SCHEDULERS, ids=lambda entry: entry.name)
@pytest.mark.parametrize("steps", [1, 2, 7, 51])
def test_any_number_of_steps_up_to_the_limit_is_run(entry: SchedulerEntry, steps: int) -> None:
    if entry.most_steps is not None and steps > entry.most_steps:
        with pytest.raises(ValueError, match="smaller than"):
            run(named(entry.name), steps)
        steps = entry.most_steps
    evaluations, latents = run(named(entry.name), steps)
    assert torch.isfinite(latents).all()
    # Schedulers with two evaluations need one in the last step; PNDM does its second step twice.
    assert abs(evaluations - steps * entry.evaluations) <= 1
    assert torch.equal(run(named(entry.name), steps)[1], latents)


def test_each_image_gets_a_scheduler_without_state() -> None:
    first = named("UniPC")
    run(first, 5)
    second = named("UniPC")
    assert second.num_inference_steps is None
    assert second.model_outputs == [None, None]
    again = fresh_scheduler(named("DPM2 Karras"))
    assert again.config == named("DPM2 Karras").config
    assert again.config.beta_end == MODELS_OWN.config.beta_end


@pytest.mark.parametrize(
    "name", ["LMS", "LMSDiscreteScheduler", "EDMEulerScheduler", "unknown", ""]
)
def test_unknown_names_have_no_scheduler(name: str) -> None:
    assert scheduler_named(name, MODELS_OWN) is None


def test_the_scheduler_of_the_weights_can_be_named() -> None:
    own = DDIMParallelScheduler(**TRAINED)
    assert named("DDIMParallelScheduler", own).config == fresh_scheduler(own).config == own.config
    assert named("Euler", own).config.beta_end == own.config.beta_end
    assert scheduler_names(own) == [*SCHEDULER_NAMES, "DDIMParallelScheduler"]
    assert scheduler_names(MODELS_OWN) == scheduler_names(named("LCM")) == list(SCHEDULER_NAMES)


def test_flow_models_accept_only_their_own_scheduler() -> None:
    own = FlowMatchEulerDiscreteScheduler()
    assert scheduler_names(own) == ["FlowMatchEulerDiscreteScheduler"]
    assert scheduler_named("Euler", own) is None
    assert scheduler_named("FlowMatchEulerDiscreteScheduler", own) is not None
    switched_over = DPMSolverMultistepScheduler(use_flow_sigmas=True)
    assert scheduler_named("DDIM", switched_over) is None
    assert scheduler_names(switched_over) == ["DPMSolverMultistepScheduler"]
    kept = named("DPMSolverMultistepScheduler", switched_over)
    assert kept.config.use_flow_sigmas is True
