"""Stand-in models, built once for all of these tests."""

from pathlib import Path

import pytest

from common.domain.generation import Endpoint
from common.settings.catalogue import ModelEntry
from worker.engine.diffusers_engine import DiffusersEngine


def an_entry(name: str, source: str, *endpoints: Endpoint, **changes: object) -> ModelEntry:
    given = {"name": name, "source": source, "endpoints": endpoints, "licence": "none", **changes}
    return ModelEntry.model_validate(given)


@pytest.fixture(scope="session")
def models_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def engine(models_directory: Path) -> DiffusersEngine:
    entries = (
        an_entry("standin-inpainting", "random:inpainting", Endpoint.INPAINT),
        an_entry("standin", "random:base", *Endpoint, scheduler="DDIMScheduler"),
    )
    loaded = DiffusersEngine(entries, models_directory, "cpu")
    loaded.load()
    return loaded
