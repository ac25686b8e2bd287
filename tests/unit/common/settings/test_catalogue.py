"""The models file: parsing, and messages of mistakes in it."""

from pathlib import Path

import pytest

from common.domain.errors import ConfigurationError
from common.domain.generation import Endpoint
from common.settings import ModelSettings
from common.settings.catalogue import Shape, load_catalogue

TWO = """
[[models]]
name = "painter"
source = "./weights/painter"
endpoints = ["inpaint", "img2img"]
licence = "MIT"

[[models]]
name = "writer"
source = "random:base"
dtype = "float32"
endpoints = ["text2img", "img2img"]
licence = "MIT"
"""


def settings(tmp_path: Path, content: str | bytes = TWO, *serve: str) -> ModelSettings:
    file = tmp_path / "models.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ModelSettings(file=file, serve=serve)


def message(given: ModelSettings) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_catalogue(given)
    return caught.value.message


def test_the_shipped_models_file_serves_every_endpoint() -> None:
    catalogue = load_catalogue(ModelSettings())
    assert all(catalogue.find_models(endpoint) for endpoint in Endpoint)
    assert len(set(catalogue.queues)) == len(catalogue.entries)


def test_models_keep_the_order_of_the_file(tmp_path: Path) -> None:
    catalogue = load_catalogue(settings(tmp_path))
    assert catalogue.queues == ("painter", "writer")
    assert [entry.dtype for entry in catalogue.entries] == ["float16", "float32"]
    assert [entry.has_random_weights for entry in catalogue.entries] == [False, True]


def test_the_first_model_with_an_endpoint_is_its_default(tmp_path: Path) -> None:
    catalogue = load_catalogue(settings(tmp_path))
    painter, writer = catalogue.entries
    assert catalogue.find_models(Endpoint.IMG2IMG) == (painter, writer)
    assert catalogue.find_models(Endpoint.TEXT2IMG) == (writer,)
    assert catalogue.find_models(Endpoint.INPAINT, {"writer"}) == ()
    assert catalogue.find_models(Endpoint.IMG2IMG, {"writer", "gone"}) == (writer,)
    assert catalogue.get("writer") is writer
    assert catalogue.get("unknown") is None


def test_only_the_chosen_models_are_served(tmp_path: Path) -> None:
    catalogue = load_catalogue(settings(tmp_path, TWO, "writer"))
    assert catalogue.queues == ("writer",)
    assert catalogue.find_models(Endpoint.INPAINT) == ()
    assert catalogue.get("painter") is None


def test_a_relative_folder_starts_at_the_file(tmp_path: Path) -> None:
    painter, writer = load_catalogue(settings(tmp_path)).entries
    assert painter.source == str(tmp_path.resolve() / "weights" / "painter")
    assert writer.source == "random:base"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "nowhere.toml"
    assert str(file) in message(ModelSettings(file=file))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[[models]\nname", "line 1"),
        (b"\xff\xfe", "utf-8"),
        (TWO.replace("licence", "license", 1), "models.0.license: Extra inputs"),
        (TWO.replace('licence = "MIT"', "", 1), "models.0.licence: Field required"),
        (TWO.replace('"img2img"', '"upscale"', 1), "models.0.endpoints.1: Input should be"),
        (TWO.replace('["text2img", "img2img"]', "[]"), "models.1.endpoints"),
        (TWO.replace('"float32"', '"int4"'), "models.1.dtype: Input should be 'float32'"),
        (TWO.replace('"painter"', '"Big Painter"'), "models.0.name: String should match"),
        (TWO.replace('"painter"', '"../x"'), "models.0.name: String should match"),
        (TWO + "\n[defaults]\nsteps = 3", "defaults: Extra inputs"),
        ("", "models: Field required"),
        (TWO.replace('"painter"', '"writer"'), "duplicate model names: writer"),
    ],
)
def test_a_mistake_is_reported_with_its_location(
    tmp_path: Path, content: str | bytes, expected: str
) -> None:
    result = message(settings(tmp_path, content))
    assert expected in result
    assert str(tmp_path / "models.toml") in result
    assert "https://" not in result


def test_a_name_to_serve_must_be_in_the_file(tmp_path: Path) -> None:
    result = message(settings(tmp_path, TWO, "writer", "unknown"))
    assert "INFILL_MODELS_SERVE names unknown" in result
    assert "painter, writer" in result


def tuned(tmp_path: Path, line: str) -> ModelSettings:
    return settings(tmp_path, TWO + line)


def test_optimizations_are_off_by_default(tmp_path: Path) -> None:
    keys = 'compile = "regional"\nshapes = ["512x512", "512x768*4"]\nchannels_last = false'
    painter, writer = load_catalogue(tuned(tmp_path, keys)).entries
    assert (painter.compile, painter.shapes, painter.channels_last) == ("off", (), None)
    assert (writer.compile, writer.channels_last) == ("regional", False)
    assert writer.shapes == (Shape(512, 512, 1), Shape(512, 768, 4))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('compile = "fast"', "models.1.compile: Input should be 'off', 'regional' or 'graphs'"),
        ('shapes = ["512"]', "models.1.shapes.0: Value error, '512' is not a shape: write WIDTHx"),
        ("shapes = [512]", "512 is not a shape"),
        ('shapes = ["512x500"]', "512x500: sides must be multiples of 8"),
        ('shapes = ["512x512*0"]', "512x512*0: sides must be multiples of 8, images at least 1"),
    ],
)
def test_an_invalid_optimization_is_reported(tmp_path: Path, line: str, expected: str) -> None:
    assert expected in message(tuned(tmp_path, line))
