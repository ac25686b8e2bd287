"""Models that run whole, behind the same engine: equal requests go together."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from common.domain.errors import (
    ConfigurationError,
    GenerationError,
    GenerationStoppedError,
    UnsupportedRequestError,
)
from common.domain.generation import Endpoint, GenerationRequest
from tests.unit.worker.engine.batching.harness import RecordingCallback, decibels
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.drawings import drawn, generated, pixels_for
from tests.unit.worker.engine.other_models import saved_pixart, saved_sd3
from tests.unit.worker.engine.sample_images import a_request, same
from worker.engine.batching.pipeline_batch import PipelineSample, batch_key, run_pipeline
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.interface import GenerationCallback, GenerationResult, Progress
from worker.engine.models.families import Family
from worker.engine.models.loaded_model import LoadedModel
from worker.engine.models.loader import load_model
from worker.engine.models.stand_in import stand_in_folder

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

DEADLINE_SECONDS = 30.0
REQUEST = a_request(Endpoint.INPAINT, model="sd3", inference_steps=3, strength=1.0)
CPU = torch.device("cpu")
PLAIN: dict[str, Any] = {"strength": 1.0, "inference_steps": 2}


@pytest.fixture(scope="module")
def whole(
    models_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DiffusersEngine]:
    folder = saved_sd3(
        stand_in_folder("base", models_directory), tmp_path_factory.mktemp("gathered")
    )
    engine = DiffusersEngine([an_entry("sd3", str(folder), *Endpoint)], models_directory, "cpu")
    drawn(engine, REQUEST)  # so that it is known what one takes
    yield engine
    engine.close()


@contextmanager
def rows_of(engine: DiffusersEngine) -> Iterator[list[int]]:
    """The rows of each call of the denoising network."""
    rows: list[int] = []

    def before(_network: object, _inputs: object, given: dict[str, torch.Tensor]) -> None:
        rows.append(len(given["hidden_states"]))

    with engine._models.borrow("sd3") as model:
        hook = model.components["transformer"].register_forward_pre_hook(before, with_kwargs=True)
        yield rows
        hook.remove()


@contextmanager
def held_up(engine: DiffusersEngine) -> Iterator[ThreadPoolExecutor]:
    """The device is busy until the block ends; what is asked meanwhile gathers."""
    holds, go = threading.Event(), threading.Event()

    def hold() -> None:
        holds.set()
        assert go.wait(DEADLINE_SECONDS)

    with ThreadPoolExecutor(8) as threads:
        threads.submit(engine._loop.run, hold)
        assert holds.wait(DEADLINE_SECONDS)
        yield threads
        go.set()


def asked(
    threads: ThreadPoolExecutor,
    engine: DiffusersEngine,
    request: GenerationRequest,
    callback: GenerationCallback,
    *,
    behind: int,
) -> Future[GenerationResult]:
    """Ask from another thread, and wait until so many are in the engine's inbox."""
    answer = threads.submit(generated, engine, request, callback)
    waiting = threading.Event()
    while engine._loop._inbox.qsize() < behind and not answer.done():
        waiting.wait(0.01)
    return answer


def test_equal_requests_go_together_and_give_what_they_give_alone(whole: DiffusersEngine) -> None:
    requests = [replace(REQUEST, seed=seed) for seed in (1, 2)]
    alone = [drawn(whole, request) for request in requests]
    callbacks = [RecordingCallback(), RecordingCallback()]
    with rows_of(whole) as rows, held_up(whole) as threads:
        answers = [
            asked(threads, whole, request, callback, behind=number)
            for number, (request, callback) in enumerate(
                zip(requests, callbacks, strict=True), start=1
            )
        ]
    assert rows == [4] * 3  # two halves each, three steps
    for answer, expected, callback in zip(answers, alone, callbacks, strict=True):
        result = answer.result(DEADLINE_SECONDS)
        assert decibels(result.images[0], expected) > 45
        assert result.engine_seconds <= 0.5 * result.seconds
        assert [(told.step, told.steps) for told in callback.steps] == [(1, 3), (2, 3), (3, 3)]


def test_others_do_not_wait_for_one_that_is_stopped(whole: DiffusersEngine) -> None:
    stopped = RecordingCallback(stop=True)
    with held_up(whole) as threads:
        one = asked(threads, whole, REQUEST, stopped, behind=1)
        other = asked(threads, whole, REQUEST, RecordingCallback(), behind=2)
    assert one.exception(DEADLINE_SECONDS)
    with pytest.raises(GenerationStoppedError):
        one.result(DEADLINE_SECONDS)
    assert other.result(DEADLINE_SECONDS).images


def test_whoever_waits_or_is_in_the_run_is_answered_at_its_next_step(
    whole: DiffusersEngine,
) -> None:
    """A run may take minutes, and a worker takes an engine for stuck that does not let go."""
    leaves, waits = RecordingCallback(), RecordingCallback()
    answers: list[Future[GenerationResult]] = []
    answered: list[bool] = []

    class Runs(RecordingCallback):
        def on_step(self, progress: Progress) -> None:
            if progress.step == 1:
                leaves.stop = waits.stop = True
            if progress.step == 3:  # they have been asked; the run is not over
                answered.append(not wait(answers, DEADLINE_SECONDS).not_done)

    with held_up(whole) as threads:
        stays = asked(threads, whole, REQUEST, Runs(), behind=1)
        answers.append(asked(threads, whole, REQUEST, leaves, behind=2))
        other = replace(REQUEST, guidance_scale=3.0)
        answers.append(asked(threads, whole, other, waits, behind=3))
    assert stays.result(DEADLINE_SECONDS).images
    for answer in answers:
        with pytest.raises(GenerationStoppedError):
            answer.result(DEADLINE_SECONDS)
    assert answered == [True]


def test_all_of_them_stopped(whole: DiffusersEngine) -> None:
    with pytest.raises(GenerationStoppedError):
        generated(whole, REQUEST, RecordingCallback(stop=True))


def test_whoever_looks_on_may_fail(whole: DiffusersEngine) -> None:
    class Blind(RecordingCallback):
        def should_stop(self) -> bool:
            raise ZeroDivisionError("blind")

    with pytest.raises(GenerationError) as failed:
        generated(whole, REQUEST, Blind())
    assert "blind" in failed.value.detail


@pytest.fixture(scope="module")
def sd3(models_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    standin = stand_in_folder("base", models_directory)
    folder = saved_sd3(standin, tmp_path_factory.mktemp("sd3"))
    return load_model(an_entry("sd3", str(folder), *Endpoint), models_directory, CPU)


@pytest.fixture(scope="module")
def pixart_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_pixart(tmp_path_factory.mktemp("pixart"))


@pytest.fixture(scope="module")
def pixart(models_directory: Path, pixart_folder: Path) -> LoadedModel:
    entry = an_entry("pixart", str(pixart_folder), Endpoint.TEXT2IMG)
    return load_model(entry, models_directory, CPU)


def orders(endpoint: Endpoint, number: int = 1, **changes: Any) -> list[PipelineSample]:
    prompts = ["a cat", "a dog", "a house"]
    asked = [a_request(endpoint, **{"prompt": prompt, **changes}) for prompt in prompts[:number]]
    pixels = [pixels_for(request) for request in asked]
    return [
        PipelineSample(request, given.init, given.mask, seed)
        for seed, (request, given) in enumerate(zip(asked, pixels, strict=True))
    ]


def run(model: LoadedModel, positive: list[PipelineSample]) -> list[Image.Image]:
    return run_pipeline(model, positive[0].request.endpoint, positive, lambda: False)


def stopping_at(look: int) -> Callable[[], bool]:
    looks = iter(range(100))
    return lambda: next(looks) >= look


@pytest.mark.parametrize("endpoint", Endpoint)
def test_together_they_give_what_each_gives_alone(sd3: LoadedModel, endpoint: Endpoint) -> None:
    assert sd3.family is Family.OTHER
    positive = orders(endpoint, 2, **PLAIN)
    together = run(sd3, positive)
    alone = [run(sd3, [order])[0] for order in positive]
    assert [(image.mode, image.size) for image in together] == [("RGB", (64, 64))] * 2
    for one, other in zip(together, alone, strict=True):
        assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1
    assert not same(together[0], together[1])


@pytest.fixture(scope="module")
def before(sd3: LoadedModel) -> Image.Image:
    return run(sd3, orders(Endpoint.IMG2IMG, **PLAIN))[0]


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"negative_prompt": "sharp"}, True),
        ({"guidance_scale": 2.0}, True),
        ({"strength": 0.5}, True),
        ({"inference_steps": 1}, True),
        ({}, False),
    ],
)
def test_what_is_asked_is_handed_on(
    sd3: LoadedModel, before: Image.Image, change: dict[str, object], *, differs: bool
) -> None:
    (after,) = run(sd3, orders(Endpoint.IMG2IMG, **{**PLAIN, **change}))
    assert same(before, after) is not differs


def test_a_family_that_only_draws_from_text(pixart: LoadedModel) -> None:
    positive = orders(Endpoint.TEXT2IMG, 2, inference_steps=2)
    one, other = run(pixart, positive)
    assert one.size == other.size == (64, 64)
    assert not same(one, other)


def test_it_draws_the_size_that_is_asked(pixart: LoadedModel) -> None:
    """This family would rather choose among sizes of its own."""
    (image,) = run(pixart, orders(Endpoint.TEXT2IMG, width=96, inference_steps=1))
    assert image.size == (96, 64)


@pytest.mark.parametrize("look", [0, 1, 2])
def test_it_can_be_stopped_before_each_step(
    sd3: LoadedModel, pixart: LoadedModel, look: int
) -> None:
    for model in (sd3, pixart):
        positive = orders(Endpoint.TEXT2IMG, inference_steps=3)
        with pytest.raises(GenerationStoppedError):
            run_pipeline(model, Endpoint.TEXT2IMG, positive, stopping_at(look))


def test_a_scheduler_that_does_not_fit_is_refused(sd3: LoadedModel) -> None:
    with pytest.raises(UnsupportedRequestError, match="scheduler: PNDMScheduler does not fit"):
        run(sd3, orders(Endpoint.TEXT2IMG, scheduler="PNDMScheduler"))


def test_a_failure_is_told_as_ours(sd3: LoadedModel) -> None:
    broken = [replace(order, init=None) for order in orders(Endpoint.IMG2IMG)]
    with pytest.raises(GenerationError, match="the model failed"):
        run(sd3, broken)


def test_an_endpoint_the_family_lacks_is_named(pixart_folder: Path, tmp_path: Path) -> None:
    entry = an_entry("pixart", str(pixart_folder), Endpoint.TEXT2IMG, Endpoint.INPAINT)
    with pytest.raises(ConfigurationError) as refused:
        load_model(entry, tmp_path, CPU)
    assert refused.value.message == (
        f"model pixart: {pixart_folder} holds a PixArtSigmaPipeline, for which diffusers has no "
        "pipeline that does inpaint; it can do text2img"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"endpoint": Endpoint.TEXT2IMG},
        {"width": 128},
        {"height": 128},
        {"inference_steps": 9},
        {"guidance_scale": 1.0},
        {"strength": 0.1},
        {"scheduler": "DDIMScheduler"},
    ],
)
def test_who_asks_otherwise_is_not_drawn_together(change: dict[str, object]) -> None:
    request = a_request(Endpoint.INPAINT)
    alike = replace(request, prompt="b", negative_prompt="c", seed=7, samples=4)
    assert batch_key(request) == batch_key(alike)
    assert batch_key(request) != batch_key(replace(request, **change))  # type: ignore[arg-type]
