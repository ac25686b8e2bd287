"""The model's own safety checker, requested and not."""

from pathlib import Path

import pytest
from PIL import Image

from common.domain.errors import ConfigurationError
from common.domain.generation import Endpoint
from tests.unit.worker.engine.batching.harness import decibels
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.generating import generate
from tests.unit.worker.engine.other_models import saved_with_checker
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.models.stand_in import stand_in_folder


@pytest.fixture(scope="module", params=[True, False], ids=["flags all", "flags none"])
def checked(
    request: pytest.FixtureRequest, models_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DiffusersEngine, bool]:
    flags = bool(request.param)
    folder = saved_with_checker(
        stand_in_folder("base", models_directory), tmp_path_factory.mktemp("checked"), flags=flags
    )
    entry = an_entry("checked", str(folder), *Endpoint, safety_checker=True)
    return DiffusersEngine([entry], models_directory, "cpu"), flags


@pytest.mark.parametrize("endpoint", Endpoint)
def test_an_unsafe_image_is_black_and_flagged(
    checked: tuple[DiffusersEngine, bool], endpoint: Endpoint
) -> None:
    engine, flags = checked
    request = a_request(endpoint, model="checked", samples=2)
    unchecked = generate(engine, request)
    assert unchecked.nsfw == (False, False)
    result = generate(engine, a_request(endpoint, model="checked", samples=2, safety_checker=True))
    assert result.nsfw == (flags, flags)
    blank = Image.new("RGB", (64, 64), "black")
    for image, before in zip(result.images, unchecked.images, strict=True):
        assert decibels(image, blank if flags else before) > 45


def test_weights_without_a_checker_are_rejected(models_directory: Path) -> None:
    entry = an_entry("bare", "random:base", Endpoint.TEXT2IMG, safety_checker=True)
    with pytest.raises(ConfigurationError, match="hold no safety checker; set safety_checker"):
        DiffusersEngine([entry], models_directory, "cpu").load()
