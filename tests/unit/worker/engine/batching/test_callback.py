"""What whoever looks on is asked and told."""

import gc
import weakref
from copy import copy

import pytest
import torch

from common.domain.errors import GenerationError, GenerationStoppedError
from common.domain.generation import Endpoint
from common.runtime.clock import monotonic
from tests.unit.worker.engine.batching.harness import Floor, Looker, failure_of
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.batching.previews import LatentPreview

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

REQUEST = a_request(Endpoint.TEXT2IMG, scheduler="DDIM", inference_steps=10)


def test_every_step_is_told_and_now_and_then_a_preview(floor: Floor) -> None:
    looker = Looker()
    floor.admit(REQUEST, looker)
    floor.work_off()
    assert looker.began == 1
    plain = [(told.step, told.steps) for told in looker.seen if told.preview is None]
    assert plain == [(step, 10) for step in range(1, 11)]
    previews = [told.preview for told in looker.seen if told.preview is not None]
    assert [preview.size for preview in previews] == [(8, 8), (8, 8)]
    assert previews[0].tobytes() != previews[1].tobytes()


def test_the_steps_of_all_images_count(floor: Floor) -> None:
    looker = Looker()
    floor.admit(a_request(Endpoint.TEXT2IMG, samples=3, inference_steps=2), looker)
    floor.work_off()
    assert looker.seen[-1].step == looker.seen[-1].steps == 3 * 3  # PNDM takes one call more


def test_a_cancel_takes_effect_at_the_next_step(floor: Floor) -> None:
    looker = Looker()
    ticket = floor.admit(REQUEST, looker)
    for _ in range(3):
        floor.stepper.turn()
    looker.stops = True
    floor.stepper.turn()
    assert isinstance(failure_of(ticket), GenerationStoppedError)
    assert max(told.step for told in looker.seen) == 3
    assert not floor.stepper


def test_canceled_before_it_began(floor: Floor) -> None:
    looker = Looker(stops=True)
    ticket = floor.admit(REQUEST, looker)
    floor.stepper.turn()
    assert isinstance(failure_of(ticket), GenerationStoppedError)
    assert (looker.began, looker.seen) == (0, [])


def test_all_that_is_under_way_can_be_given_up(floor: Floor) -> None:
    tickets = [floor.admit(REQUEST) for _ in range(2)]
    floor.stepper.turn()
    tickets.append(floor.admit(REQUEST))
    floor.stepper.fail_all(GenerationError("over"))
    assert [failure_of(ticket).message for ticket in tickets] == ["over"] * 3
    assert not floor.stepper


def test_the_time_of_a_step_is_shared_by_those_who_took_it(floor: Floor) -> None:
    began = monotonic()
    tickets = [floor.admit(REQUEST) for _ in range(4)]
    floor.work_off()
    seconds = monotonic() - began
    shares = [ticket.future.result().engine_seconds for ticket in tickets]
    assert all(0 < share < seconds for share in shares)
    assert sum(shares) <= seconds


class Straight(torch.nn.Module):
    """An autoencoder that draws eight pixels a side for each latent, by a straight line."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = weights

    def decode(self, latents: torch.Tensor, **_options: object) -> tuple[torch.Tensor]:
        small = torch.einsum("bchw,cr->brhw", latents, self.weights) + 0.1
        return (torch.nn.functional.interpolate(small, scale_factor=8.0),)


def test_a_preview_is_fitted_to_the_model_s_own_decoder(floor: Floor) -> None:
    parts = copy(floor.recipe(REQUEST).parts)
    weights = torch.randn((4, 3), generator=torch.Generator().manual_seed(3)) / 10
    parts.vae = Straight(weights)
    preview = LatentPreview.of(parts, torch.device("cpu"))
    latents = torch.randn((1, 4, 5, 6), generator=torch.Generator().manual_seed(4))
    colours = torch.einsum("chw,cr->hwr", latents[0] / parts.scaling, weights) + 0.1
    expected = (colours * 0.5 + 0.5).clamp(0, 1).mul(255)
    assert preview.levels(latents).shape == (5, 6, 3)
    assert (preview.levels(latents) - expected).abs().max() <= 1


def test_nobody_fails_for_want_of_a_preview(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(*_arguments: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(LatentPreview, "of", fall)  # a GPU that is just full
    ticket = floor.admit(REQUEST)
    floor.work_off()
    assert ticket.future.result()


def test_nothing_is_kept_of_a_request_that_has_ended(floor: Floor) -> None:
    gc.disable()  # what only the collector would find is kept for minutes in a worker
    try:
        ticket, canceled = floor.admit(REQUEST), floor.admit(REQUEST, Looker())
        floor.stepper.turn()
        floor.stepper.turn()
        canceled.watch.stops = True  # type: ignore[attr-defined] # it is a Looker
        tickets = [weakref.ref(ticket), weakref.ref(canceled)]
        floor.work_off()
        del ticket, canceled
        assert [reference() for reference in tickets] == [None, None]
    finally:
        gc.enable()


def test_latents_that_are_no_numbers_have_a_preview_all_the_same(floor: Floor) -> None:
    preview = LatentPreview.of(floor.recipe(REQUEST).parts, torch.device("cpu"))
    assert preview.levels(torch.full((1, 4, 2, 3), float("nan"))).shape == (2, 3, 3)
