"""Progress, previews and cancellation through the callback."""

import gc
import weakref
from copy import copy

import pytest
import torch

from common.domain.errors import GenerationError, GenerationStoppedError
from common.domain.generation import Endpoint
from common.runtime.clock import monotonic
from tests.unit.worker.engine.batching.harness import RecordingCallback, StepperHarness, failure_of
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.batching.previews import LatentPreview

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

REQUEST = a_request(Endpoint.TEXT2IMG, scheduler="DDIM", inference_steps=10)


def test_every_step_is_reported_and_some_have_a_preview(stepping: StepperHarness) -> None:
    callback = RecordingCallback()
    stepping.add(REQUEST, callback)
    stepping.run_to_end()
    assert callback.starts == 1
    plain = [
        (progress.step, progress.steps) for progress in callback.steps if progress.preview is None
    ]
    assert plain == [(step, 10) for step in range(1, 11)]
    previews = [progress.preview for progress in callback.steps if progress.preview is not None]
    assert [preview.size for preview in previews] == [(8, 8), (8, 8)]
    assert previews[0].tobytes() != previews[1].tobytes()


def test_progress_counts_the_steps_of_all_images(stepping: StepperHarness) -> None:
    callback = RecordingCallback()
    stepping.add(a_request(Endpoint.TEXT2IMG, samples=3, inference_steps=2), callback)
    stepping.run_to_end()
    assert callback.steps[-1].step == callback.steps[-1].steps == 3 * 3  # PNDM takes one call more


def test_a_cancellation_takes_effect_at_the_next_step(stepping: StepperHarness) -> None:
    callback = RecordingCallback()
    active = stepping.add(REQUEST, callback)
    for _ in range(3):
        stepping.stepper.run_once()
    callback.stop = True
    stepping.stepper.run_once()
    assert isinstance(failure_of(active), GenerationStoppedError)
    assert max(progress.step for progress in callback.steps) == 3
    assert not stepping.stepper


def test_a_request_can_be_cancelled_before_its_start(stepping: StepperHarness) -> None:
    callback = RecordingCallback(stop=True)
    active = stepping.add(REQUEST, callback)
    stepping.stepper.run_once()
    assert isinstance(failure_of(active), GenerationStoppedError)
    assert (callback.starts, callback.steps) == (0, [])


def test_all_active_requests_can_be_failed(stepping: StepperHarness) -> None:
    active_requests = [stepping.add(REQUEST) for _ in range(2)]
    stepping.stepper.run_once()
    active_requests.append(stepping.add(REQUEST))
    stepping.stepper.fail_all(GenerationError("over"))
    assert [failure_of(active).message for active in active_requests] == ["over"] * 3
    assert not stepping.stepper


def test_a_step_s_time_is_shared_by_its_requests(stepping: StepperHarness) -> None:
    started_at = monotonic()
    active_requests = [stepping.add(REQUEST) for _ in range(4)]
    stepping.run_to_end()
    seconds = monotonic() - started_at
    shares = [active.future.result().wait().engine_seconds for active in active_requests]
    assert all(0 < share < seconds for share in shares)
    assert sum(shares) <= seconds


class Straight(torch.nn.Module):
    """An autoencoder that decodes each latent linearly to eight by eight pixels."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = weights

    def decode(self, latents: torch.Tensor, **_options: object) -> tuple[torch.Tensor]:
        small = torch.einsum("bchw,cr->brhw", latents, self.weights) + 0.1
        return (torch.nn.functional.interpolate(small, scale_factor=8.0),)


def test_a_preview_is_fitted_to_the_model_s_own_decoder(stepping: StepperHarness) -> None:
    components = copy(stepping.prepare(REQUEST).components)
    weights = torch.randn((4, 3), generator=torch.Generator().manual_seed(3)) / 10
    components.vae = Straight(weights)
    preview = LatentPreview.of(components, torch.device("cpu"))
    latents = torch.randn((1, 4, 5, 6), generator=torch.Generator().manual_seed(4))
    colours = torch.einsum("chw,cr->hwr", latents[0] / components.scaling_factor, weights) + 0.1
    expected = (colours * 0.5 + 0.5).clamp(0, 1).mul(255)
    assert preview.pixels(latents).shape == (5, 6, 3)
    assert (preview.pixels(latents) - expected).abs().max() <= 1


def test_a_failed_preview_fails_no_request(
    stepping: StepperHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(*_arguments: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(LatentPreview, "of", fall)  # a GPU that is just full
    active = stepping.add(REQUEST)
    stepping.run_to_end()
    assert active.future.result()


def test_an_ended_request_is_garbage_collected_at_once(stepping: StepperHarness) -> None:
    gc.disable()  # what only the collector would find is kept for minutes in a worker
    try:
        active, canceled = stepping.add(REQUEST), stepping.add(REQUEST, RecordingCallback())
        stepping.stepper.run_once()
        stepping.stepper.run_once()
        canceled.callback.stop = True  # type: ignore[attr-defined] # it is a RecordingCallback
        active_requests = [weakref.ref(active), weakref.ref(canceled)]
        stepping.run_to_end()
        del active, canceled
        assert [reference() for reference in active_requests] == [None, None]
    finally:
        gc.enable()


def test_latents_that_are_not_numbers_have_a_preview(stepping: StepperHarness) -> None:
    preview = LatentPreview.of(stepping.prepare(REQUEST).components, torch.device("cpu"))
    assert preview.pixels(torch.full((1, 4, 2, 3), float("nan"))).shape == (2, 3, 3)
