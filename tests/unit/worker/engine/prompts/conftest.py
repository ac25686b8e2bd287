"""Pipelines with small random text encoders of every kind, built once."""

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
    """Use one thread, as the engine does for models of this size: torch's threads spin."""
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
    """A pipeline with a padding token of its own and a padding mask, like Stable Diffusion 2."""
    pipeline = a_pipeline("random:base", models_directory)
    pipeline.tokenizer.pad_token = "!"
    pipeline.text_encoder.config.use_attention_mask = True
    return pipeline


@pytest.fixture(scope="session")
def xl(models_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A pipeline whose second tokenizer has another padding token than the first, as in XL."""
    folder = tmp_path_factory.mktemp("xl")
    saved_xl(stand_in_folder("base", models_directory), folder)
    pipeline = a_pipeline(str(folder), models_directory)
    pipeline.tokenizer_2.pad_token = "!"
    return pipeline


@pytest.fixture(scope="session")
def refiner(xl: Any) -> Any:
    """A Stable Diffusion XL without the first text encoder, like its refiner."""
    return type(xl)(**{**xl.components, "text_encoder": None, "tokenizer": None})


KINDS = ["standin", "masked", "xl", "refiner"]


@pytest.fixture(params=KINDS)
def pipeline(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def encoder(pipeline: Any) -> PromptEncoder:
    return PromptEncoder(pipeline)
