"""Pipelines with text encoders of every kind, small and random, built once for these tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from common.domain.generation import Endpoint
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.other_models import saved_xl
from worker.engine.models.loader import load_model
from worker.engine.models.stand_in import stand_in_folder
from worker.engine.prompts.encoder import PromptEncoder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As the engine runs models of this size: torch's threads spin where cores are scarce."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def a_pipeline(source: str, directory: Path) -> Any:
    entry = an_entry("a-model", source, Endpoint.TEXT2IMG)
    return load_model(entry, directory, torch.device("cpu")).pipelines[Endpoint.TEXT2IMG]


@pytest.fixture(scope="session")
def standin(models_directory: Path) -> Any:
    return a_pipeline("random:base", models_directory)


@pytest.fixture(scope="session")
def masked(models_directory: Path) -> Any:
    """Pads with another token than the end, as Stable Diffusion 2 does, and masks the padding."""
    pipeline = a_pipeline("random:base", models_directory)
    pipeline.tokenizer.pad_token = "!"
    pipeline.text_encoder.config.use_attention_mask = True
    return pipeline


@pytest.fixture(scope="session")
def xl(models_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Its second tokenizer pads with another token than the first, as the real one's does."""
    folder = tmp_path_factory.mktemp("xl")
    saved_xl(stand_in_folder("base", models_directory), folder)
    pipeline = a_pipeline(str(folder), models_directory)
    pipeline.tokenizer_2.pad_token = "!"
    return pipeline


@pytest.fixture(scope="session")
def refiner(xl: Any) -> Any:
    """A Stable Diffusion XL without the first text encoder, as its refiner is."""
    return type(xl)(**{**xl.components, "text_encoder": None, "tokenizer": None})


KINDS = ["standin", "masked", "xl", "refiner"]


@pytest.fixture(params=KINDS)
def pipeline(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def encoder(pipeline: Any) -> PromptEncoder:
    return PromptEncoder(pipeline)
