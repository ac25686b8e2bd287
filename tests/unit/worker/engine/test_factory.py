"""The engine as a worker creates it."""

from pathlib import Path

import pytest

from common.domain.generation import Endpoint
from common.settings import Settings
from common.settings.catalogue import Catalogue
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.generating import generate_image
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.factory import create_engine


def test_an_engine_is_created_from_settings_and_catalogue(
    monkeypatch: pytest.MonkeyPatch, models_directory: Path
) -> None:
    monkeypatch.setenv("INFILL_MODELS_DIRECTORY", str(models_directory))
    monkeypatch.setenv("INFILL_WORKER_DEVICE", "cpu")
    catalogue = Catalogue((an_entry("standin", "random:base", Endpoint.TEXT2IMG),))
    engine = create_engine(Settings(), catalogue)
    assert generate_image(engine, a_request(Endpoint.TEXT2IMG)).size == (64, 64)
