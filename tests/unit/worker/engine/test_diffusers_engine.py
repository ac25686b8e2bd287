"""The engine's guarantees: reproducibility, seeds, and untouched pixels outside the mask."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.domain.errors import (
    ConfigurationError,
    GenerationError,
    InvalidImageError,
    UnsupportedRequestError,
)
from common.domain.generation import SEED_LIMIT, Endpoint
from common.settings.catalogue import ModelEntry
from tests.unit.worker.engine.batching.harness import decibels
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.generating import generate, generate_image, inputs_for
from tests.unit.worker.engine.sample_images import a_request, disc, noise, same
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.images.encode import encode_png
from worker.engine.images.inputs import InputImages

# diffusers' schedulers hand torch tensors to NumPy 2 in the way of NumPy 1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

# What images in company may differ by from images alone, as peak signal to noise.
LEAST_DECIBELS = 45.0

each_endpoint = pytest.mark.parametrize("endpoint", Endpoint)


@each_endpoint
def test_the_same_request_and_seed_give_the_same_bytes(
    engine: DiffusersEngine, endpoint: Endpoint
) -> None:
    one, again = (generate_image(engine, a_request(endpoint)) for _ in range(2))
    assert encode_png(one) == encode_png(again)
    assert (one.mode, one.size) == ("RGB", (64, 64))


@each_endpoint
def test_another_engine_generates_the_same(
    engine: DiffusersEngine, models_directory: Path, endpoint: Endpoint
) -> None:
    entries = [
        an_entry("standin-inpainting", "random:inpainting", Endpoint.INPAINT),
        an_entry("standin", "random:base", *Endpoint, scheduler="DDIMScheduler"),
    ]
    other = DiffusersEngine(entries, models_directory, "cpu")
    assert same(
        generate_image(engine, a_request(endpoint)), generate_image(other, a_request(endpoint))
    )


@each_endpoint
@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1235},
        {"prompt": "a dog"},
        {"negative_prompt": "sharp"},
        {"guidance_scale": 3.0},
        {"inference_steps": 5},
        {"scheduler": "EulerDiscreteScheduler"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_parameter_changes_the_image(
    engine: DiffusersEngine, endpoint: Endpoint, change: dict[str, object]
) -> None:
    plain = a_request(endpoint, strength=1.0, inference_steps=4)
    changed = a_request(endpoint, **{"strength": 1.0, "inference_steps": 4, **change})
    assert not same(generate_image(engine, plain), generate_image(engine, changed))


@pytest.mark.parametrize("endpoint", [Endpoint.INPAINT, Endpoint.IMG2IMG])
def test_strength_changes_the_image(engine: DiffusersEngine, endpoint: Endpoint) -> None:
    weak, strong = (
        generate_image(engine, a_request(endpoint, strength=strength, inference_steps=4))
        for strength in (0.3, 1.0)
    )
    assert not same(weak, strong)


@each_endpoint
def test_image_i_is_image_0_of_seed_plus_i(engine: DiffusersEngine, endpoint: Endpoint) -> None:
    seed = SEED_LIMIT - 2  # so that the third wraps to 0
    many = generate(engine, a_request(endpoint, seed=seed, samples=3))
    assert many.nsfw == (False, False, False)
    assert many.seconds > 0
    # Near, not the same: three in a batch are rounded otherwise than one alone.
    for image, single in zip(many.images, (seed, seed + 1, 0), strict=True):
        assert (
            decibels(image, generate_image(engine, a_request(endpoint, seed=single)))
            > LEAST_DECIBELS
        )


@pytest.mark.parametrize("model", ["standin-inpainting", "standin"])
def test_pixels_outside_the_mask_are_unchanged(engine: DiffusersEngine, model: str) -> None:
    result = np.asarray(
        generate_image(engine, a_request(Endpoint.INPAINT, model=model, strength=1.0))
    )
    black = np.asarray(disc()) == 0
    before = np.asarray(noise())
    assert (result[black] == before[black]).all()
    assert (result[~black] != before[~black]).mean() > 0.9
    assert result[~black].std() > 10


def test_a_black_mask_is_rejected_before_anything_is_generated(engine: DiffusersEngine) -> None:
    pixels = InputImages(noise(), Image.new("L", (64, 64), 0))
    with pytest.raises(InvalidImageError, match="the mask repaints nothing"):
        engine.generate(a_request(Endpoint.INPAINT), pixels)


@each_endpoint
@pytest.mark.parametrize("size", [(72, 64), (64, 200), (136, 88)])
def test_sizes_that_do_not_halve_evenly_are_generated(
    engine: DiffusersEngine, endpoint: Endpoint, size: tuple[int, int]
) -> None:
    width, height = size
    assert generate_image(engine, a_request(endpoint, width=width, height=height)).size == size


@each_endpoint
def test_long_and_strange_prompts_are_accepted(engine: DiffusersEngine, endpoint: Endpoint) -> None:
    for prompt in ("", "x" * 2000, "猫 в саду 🐈\u200d⬛ \x00 <|endoftext|>"):
        assert generate_image(engine, a_request(endpoint, prompt=prompt, negative_prompt=prompt))


def test_concurrent_requests_do_not_affect_each_other(engine: DiffusersEngine) -> None:
    requests = [a_request(endpoint, seed=seed) for endpoint in Endpoint for seed in (1, 2)]
    alone = [generate_image(engine, request) for request in requests]
    with ThreadPoolExecutor(len(requests)) as threads:
        together = list(threads.map(lambda request: generate_image(engine, request), requests))
    assert all(
        decibels(one, other) > LEAST_DECIBELS for one, other in zip(alone, together, strict=True)
    )


def test_generating_prints_nothing(
    engine: DiffusersEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    for endpoint in Endpoint:
        generate_image(engine, a_request(endpoint))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("endpoint", "change", "message"),
    [
        (Endpoint.INPAINT, {"model": "unknown"}, "this service does not serve the model unknown"),
        (
            Endpoint.IMG2IMG,
            {"model": "standin-inpainting"},
            "the model standin-inpainting does not support img2img; it supports: inpaint",
        ),
        (
            Endpoint.TEXT2IMG,
            {"safety_checker": True},
            'safety_checker: the model standin has no safety checker; send "no"',
        ),
        (
            Endpoint.TEXT2IMG,
            {"scheduler": "AutoencoderKL"},
            "scheduler: the model standin does not support AutoencoderKL; it supports: DDIM, ",
        ),
    ],
)
def test_unsupported_requests_are_rejected_with_a_reason(
    engine: DiffusersEngine, endpoint: Endpoint, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UnsupportedRequestError) as rejected:
        generate(engine, a_request(endpoint, **change))
    assert rejected.value.message.startswith(message)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "unknown"},
        {"safety_checker": True},
        {"scheduler": "nonsense"},
        {"scheduler": "LCM", "inference_steps": 51},
        {"prompt": "half a character: \ud83d"},
        {"negative_prompt": "\ud83d"},
        {"height": 60},
    ],
    ids=str,
)
def test_bad_input_never_reaches_the_loop(
    models_directory: Path, change: dict[str, object]
) -> None:
    entry = an_entry("standin", "random:base", *Endpoint)
    fresh_scheduler = DiffusersEngine([entry], models_directory, "cpu")
    with pytest.raises(UnsupportedRequestError):
        generate_image(fresh_scheduler, a_request(Endpoint.TEXT2IMG, **change))
    assert fresh_scheduler._loop._thread is None, "nothing was handed in"


def test_wrong_input_images_are_rejected(engine: DiffusersEngine) -> None:
    pixels = inputs_for(a_request(Endpoint.IMG2IMG))
    for endpoint in (Endpoint.INPAINT, Endpoint.TEXT2IMG):
        with pytest.raises(UnsupportedRequestError, match="inpaint takes an init and a mask"):
            engine.generate(a_request(endpoint), pixels)


def test_an_unknown_device_is_an_error(models_directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="INFILL_WORKER_DEVICE: 'abacus'"):
        DiffusersEngine([], models_directory, "abacus")


def test_pixels_that_are_not_numbers_fail_the_request(models_directory: Path) -> None:
    entry = an_entry("standin", "random:base", Endpoint.TEXT2IMG)
    broken = DiffusersEngine([entry], models_directory, "cpu")
    broken.load()
    with broken._models.borrow("standin") as model:
        torch.nn.init.constant_(model.vae.decoder.conv_out.bias, float("nan"))
    with pytest.raises(GenerationError, match="invalid pixels"):
        generate_image(broken, a_request(Endpoint.TEXT2IMG))


def test_sizes_that_latents_cannot_have_are_rejected(engine: DiffusersEngine) -> None:
    with pytest.raises(UnsupportedRequestError, match="width: 63 is not a multiple of 8"):
        generate_image(engine, a_request(Endpoint.TEXT2IMG, width=63))


def test_real_weights_leave_one_core_to_others(
    models_directory: Path, engine: DiffusersEngine
) -> None:
    engine.load()  # so that the folder below is there
    folder = next(models_directory.glob("random-base-*"))
    entry: ModelEntry = an_entry("standin", str(folder), Endpoint.TEXT2IMG)
    cores = torch.get_num_threads()
    generate_image(DiffusersEngine([entry], models_directory, "cpu"), a_request(Endpoint.TEXT2IMG))
    assert 1 <= torch.get_num_threads() <= max(1, cores)
