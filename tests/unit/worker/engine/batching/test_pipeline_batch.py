"""Models of other families, run as whole pipelines: equal requests share a call."""

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
from tests.unit.worker.engine.generating import generate, generate_image, inputs_for
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
def engine(
    models_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DiffusersEngine]:
    folder = saved_sd3(
        stand_in_folder("base", models_directory), tmp_path_factory.mktemp("gathered")
    )
    engine = DiffusersEngine([an_entry("sd3", str(folder), *Endpoint)], models_directory, "cpu")
    generate_image(engine, REQUEST)  # so that it is known what one takes
    yield engine
    engine.close()


@contextmanager
def rows_of(engine: DiffusersEngine) -> Iterator[list[int]]:
    """Yield the number of rows of each call of the denoising network."""
    rows: list[int] = []

    def before(_network: object, _inputs: object, given: dict[str, torch.Tensor]) -> None:
        rows.append(len(given["hidden_states"]))

    with engine._models.borrow("sd3") as model:
        hook = model.components["transformer"].register_forward_pre_hook(before, with_kwargs=True)
        yield rows
        hook.remove()


@contextmanager
def held_up(engine: DiffusersEngine) -> Iterator[ThreadPoolExecutor]:
    """Keep the device busy until the block ends, so that requests wait."""
    holds, go = threading.Event(), threading.Event()

    def hold() -> None:
        holds.set()
        assert go.wait(DEADLINE_SECONDS)

    with ThreadPoolExecutor(8) as threads:
        threads.submit(engine._loop.run, hold)
        assert holds.wait(DEADLINE_SECONDS)
        yield threads
        go.set()


def generate_in_thread(
    threads: ThreadPoolExecutor,
    engine: DiffusersEngine,
    request: GenerationRequest,
    callback: GenerationCallback,
    *,
    behind: int,
) -> Future[GenerationResult]:
    """Generate in another thread, and wait until `behind` entries are in the engine's inbox."""
    future = threads.submit(generate, engine, request, callback)
    waiting = threading.Event()
    while engine._loop._inbox.qsize() < behind and not future.done():
        waiting.wait(0.01)
    return future


def test_equal_requests_share_a_call_and_give_the_same_as_alone(engine: DiffusersEngine) -> None:
    requests = [replace(REQUEST, seed=seed) for seed in (1, 2)]
    alone = [generate_image(engine, request) for request in requests]
    callbacks = [RecordingCallback(), RecordingCallback()]
    with rows_of(engine) as rows, held_up(engine) as threads:
        futures = [
            generate_in_thread(threads, engine, request, callback, behind=number)
            for number, (request, callback) in enumerate(
                zip(requests, callbacks, strict=True), start=1
            )
        ]
    assert rows == [4] * 3  # two halves each, three steps
    for future, expected, callback in zip(futures, alone, callbacks, strict=True):
        result = future.result(DEADLINE_SECONDS)
        assert decibels(result.images[0], expected) > 45
        assert result.engine_seconds <= 0.5 * result.seconds
        assert [(progress.step, progress.steps) for progress in callback.steps] == [
            (1, 3),
            (2, 3),
            (3, 3),
        ]


def test_a_stopped_request_does_not_delay_others(engine: DiffusersEngine) -> None:
    stopped = RecordingCallback(stop=True)
    with held_up(engine) as threads:
        one = generate_in_thread(threads, engine, REQUEST, stopped, behind=1)
        other = generate_in_thread(threads, engine, REQUEST, RecordingCallback(), behind=2)
    assert one.exception(DEADLINE_SECONDS)
    with pytest.raises(GenerationStoppedError):
        one.result(DEADLINE_SECONDS)
    assert other.result(DEADLINE_SECONDS).images


def test_waiting_and_running_requests_can_be_stopped_at_each_step(
    engine: DiffusersEngine,
) -> None:
    """A call may take minutes, and a worker treats an engine that does not respond as stuck."""
    leaves, waits = RecordingCallback(), RecordingCallback()
    futures: list[Future[GenerationResult]] = []
    all_stopped: list[bool] = []

    class Runs(RecordingCallback):
        def on_step(self, progress: Progress) -> None:
            if progress.step == 1:
                leaves.stop = waits.stop = True
            if progress.step == 3:  # they have been asked; the run is not over
                all_stopped.append(not wait(futures, DEADLINE_SECONDS).not_done)

    with held_up(engine) as threads:
        stays = generate_in_thread(threads, engine, REQUEST, Runs(), behind=1)
        futures.append(generate_in_thread(threads, engine, REQUEST, leaves, behind=2))
        other = replace(REQUEST, guidance_scale=3.0)
        futures.append(generate_in_thread(threads, engine, other, waits, behind=3))
    assert stays.result(DEADLINE_SECONDS).images
    for future in futures:
        with pytest.raises(GenerationStoppedError):
            future.result(DEADLINE_SECONDS)
    assert all_stopped == [True]


def test_all_requests_of_a_call_can_be_stopped(engine: DiffusersEngine) -> None:
    with pytest.raises(GenerationStoppedError):
        generate(engine, REQUEST, RecordingCallback(stop=True))


def test_a_failing_callback_fails_the_request(engine: DiffusersEngine) -> None:
    class Blind(RecordingCallback):
        def should_stop(self) -> bool:
            raise ZeroDivisionError("blind")

    with pytest.raises(GenerationError) as failed:
        generate(engine, REQUEST, Blind())
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


def samples_for(endpoint: Endpoint, number: int = 1, **changes: Any) -> list[PipelineSample]:
    prompts = ["a cat", "a dog", "a house"]
    requests = [a_request(endpoint, **{"prompt": prompt, **changes}) for prompt in prompts[:number]]
    inputs = [inputs_for(request) for request in requests]
    return [
        PipelineSample(request, given.init, given.mask, seed)
        for seed, (request, given) in enumerate(zip(requests, inputs, strict=True))
    ]


def run(model: LoadedModel, samples: list[PipelineSample]) -> list[Image.Image]:
    return run_pipeline(model, samples[0].request.endpoint, samples, lambda: False)


def stopping_at(look: int) -> Callable[[], bool]:
    looks = iter(range(100))
    return lambda: next(looks) >= look


@pytest.mark.parametrize("endpoint", Endpoint)
def test_a_shared_call_gives_what_single_calls_give(sd3: LoadedModel, endpoint: Endpoint) -> None:
    assert sd3.family is Family.OTHER
    samples = samples_for(endpoint, 2, **PLAIN)
    together = run(sd3, samples)
    alone = [run(sd3, [sample])[0] for sample in samples]
    assert [(image.mode, image.size) for image in together] == [("RGB", (64, 64))] * 2
    for one, other in zip(together, alone, strict=True):
        assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1
    assert not same(together[0], together[1])


@pytest.fixture(scope="module")
def before(sd3: LoadedModel) -> Image.Image:
    return run(sd3, samples_for(Endpoint.IMG2IMG, **PLAIN))[0]


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
def test_parameters_are_passed_to_the_pipeline(
    sd3: LoadedModel, before: Image.Image, change: dict[str, object], *, differs: bool
) -> None:
    (after,) = run(sd3, samples_for(Endpoint.IMG2IMG, **{**PLAIN, **change}))
    assert same(before, after) is not differs


def test_a_family_with_text2img_only_generates(pixart: LoadedModel) -> None:
    samples = samples_for(Endpoint.TEXT2IMG, 2, inference_steps=2)
    one, other = run(pixart, samples)
    assert one.size == other.size == (64, 64)
    assert not same(one, other)


def test_images_have_the_requested_size(pixart: LoadedModel) -> None:
    """This family would otherwise choose among sizes of its own."""
    (image,) = run(pixart, samples_for(Endpoint.TEXT2IMG, width=96, inference_steps=1))
    assert image.size == (96, 64)


@pytest.mark.parametrize("look", [0, 1, 2])
def test_a_call_can_be_stopped_before_each_step(
    sd3: LoadedModel, pixart: LoadedModel, look: int
) -> None:
    for model in (sd3, pixart):
        samples = samples_for(Endpoint.TEXT2IMG, inference_steps=3)
        with pytest.raises(GenerationStoppedError):
            run_pipeline(model, Endpoint.TEXT2IMG, samples, stopping_at(look))


def test_an_incompatible_scheduler_is_rejected(sd3: LoadedModel) -> None:
    with pytest.raises(UnsupportedRequestError, match="does not support PNDMScheduler"):
        run(sd3, samples_for(Endpoint.TEXT2IMG, scheduler="PNDMScheduler"))


def test_a_pipeline_failure_is_a_generation_error(sd3: LoadedModel) -> None:
    broken = [replace(sample, init=None) for sample in samples_for(Endpoint.IMG2IMG)]
    with pytest.raises(GenerationError, match="the model failed with an unexpected error"):
        run(sd3, broken)


def test_an_unsupported_endpoint_is_named(pixart_folder: Path, tmp_path: Path) -> None:
    entry = an_entry("pixart", str(pixart_folder), Endpoint.TEXT2IMG, Endpoint.INPAINT)
    with pytest.raises(ConfigurationError) as rejected:
        load_model(entry, tmp_path, CPU)
    assert rejected.value.message == (
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
def test_the_batch_key_has_every_shared_parameter(change: dict[str, object]) -> None:
    request = a_request(Endpoint.INPAINT)
    alike = replace(request, prompt="b", negative_prompt="c", seed=7, samples=4)
    assert batch_key(request) == batch_key(alike)
    assert batch_key(request) != batch_key(replace(request, **change))  # type: ignore[arg-type]
