"""Models, loaded once, and a stepper harness for each test."""

from pathlib import Path

import pytest
import torch

from common.domain.generation import Endpoint
from tests.unit.worker.engine.batching.harness import StepperHarness
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.other_models import saved_with_prompt_beside_time, saved_xl
from worker.engine.models.loaded_model import LoadedModel
from worker.engine.models.loader import load_model
from worker.engine.models.stand_in import stand_in_folder


@pytest.fixture(scope="session")
def models(
    models_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, LoadedModel]:
    xl = saved_xl(stand_in_folder("base", models_directory), tmp_path_factory.mktemp("xl"))
    pooled = saved_with_prompt_beside_time(
        stand_in_folder("inpainting", models_directory), tmp_path_factory.mktemp("pooled")
    )
    entries = (
        an_entry("standin-inpainting", "random:inpainting", Endpoint.INPAINT),
        an_entry("standin", "random:base", *Endpoint),
        an_entry("xl", str(xl), *Endpoint),
        an_entry("pooled", str(pooled), Endpoint.INPAINT),
    )
    cpu = torch.device("cpu")
    return {entry.name: load_model(entry, models_directory, cpu) for entry in entries}


@pytest.fixture
def stepping(models: dict[str, LoadedModel]) -> StepperHarness:
    return StepperHarness(models)
