"""Models of other families, run whole by their own pipelines, several requests at once."""

from collections.abc import Callable
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
from common.domain.generation import Endpoint
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.drawings import pixels_for
from tests.unit.worker.engine.other_models import saved_pixart, saved_sd3
from tests.unit.worker.engine.sample_images import a_request, same
from worker.engine.batching.pipeline_run import PipelineSample, batch_key, run_pipeline
from worker.engine.models.families import Family
from worker.engine.models.loaded_model import LoadedModel
from worker.engine.models.loader import load_model
from worker.engine.models.stand_in import stand_in_folder

# diffusers' schedulers hand torch tensors to NumPy 2 in the way of NumPy 1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

CPU = torch.device("cpu")
PLAIN: dict[str, Any] = {"strength": 1.0, "inference_steps": 2}


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


def drawn(model: LoadedModel, wanted: list[PipelineSample]) -> list[Image.Image]:
    return run_pipeline(model, wanted[0].request.endpoint, wanted, lambda: False)


def stopping_at(look: int) -> Callable[[], bool]:
    looks = iter(range(100))
    return lambda: next(looks) >= look


@pytest.mark.parametrize("endpoint", Endpoint)
def test_together_they_give_what_each_gives_alone(sd3: LoadedModel, endpoint: Endpoint) -> None:
    assert sd3.family is Family.OTHER
    wanted = orders(endpoint, 2, **PLAIN)
    together = drawn(sd3, wanted)
    alone = [drawn(sd3, [order])[0] for order in wanted]
    assert [(image.mode, image.size) for image in together] == [("RGB", (64, 64))] * 2
    for one, other in zip(together, alone, strict=True):
        assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1
    assert not same(together[0], together[1])


@pytest.fixture(scope="module")
def before(sd3: LoadedModel) -> Image.Image:
    return drawn(sd3, orders(Endpoint.IMG2IMG, **PLAIN))[0]


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
    (after,) = drawn(sd3, orders(Endpoint.IMG2IMG, **{**PLAIN, **change}))
    assert same(before, after) is not differs


def test_a_family_that_only_draws_from_text(pixart: LoadedModel) -> None:
    wanted = orders(Endpoint.TEXT2IMG, 2, inference_steps=2)
    one, other = drawn(pixart, wanted)
    assert one.size == other.size == (64, 64)
    assert not same(one, other)


def test_it_draws_the_size_that_is_asked(pixart: LoadedModel) -> None:
    """This family would rather choose among sizes of its own."""
    (image,) = drawn(pixart, orders(Endpoint.TEXT2IMG, width=96, inference_steps=1))
    assert image.size == (96, 64)


@pytest.mark.parametrize("look", [0, 1, 2])
def test_it_can_be_stopped_before_each_step(
    sd3: LoadedModel, pixart: LoadedModel, look: int
) -> None:
    for model in (sd3, pixart):
        wanted = orders(Endpoint.TEXT2IMG, inference_steps=3)
        with pytest.raises(GenerationStoppedError):
            run_pipeline(model, Endpoint.TEXT2IMG, wanted, stopping_at(look))


def test_a_scheduler_that_does_not_fit_is_refused(sd3: LoadedModel) -> None:
    with pytest.raises(UnsupportedRequestError, match="scheduler: PNDMScheduler does not fit"):
        drawn(sd3, orders(Endpoint.TEXT2IMG, scheduler="PNDMScheduler"))


def test_a_failure_is_told_as_ours(sd3: LoadedModel) -> None:
    broken = [replace(order, init=None) for order in orders(Endpoint.IMG2IMG)]
    with pytest.raises(GenerationError, match="the model failed"):
        drawn(sd3, broken)


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
