"""The engine as a worker gets it."""

from pathlib import Path

import pytest

from common.domain.generation import Endpoint
from common.settings import Settings
from common.settings.catalogue import Catalogue
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.drawings import drawn
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.factory import create_engine


def test_is_made_of_settings_and_catalogue(
    monkeypatch: pytest.MonkeyPatch, models_directory: Path
) -> None:
    monkeypatch.setenv("INFILL_MODELS_DIRECTORY", str(models_directory))
    monkeypatch.setenv("INFILL_WORKER_DEVICE", "cpu")
    catalogue = Catalogue((an_entry("standin", "random:base", Endpoint.TEXT2IMG),))
    engine = create_engine(Settings(), catalogue)
    assert drawn(engine, a_request(Endpoint.TEXT2IMG)).size == (64, 64)
