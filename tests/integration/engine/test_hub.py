"""Weights from a hub are loaded by the same code as from a folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.engine.hub import REPOSITORY, serving
from worker.engine.models.stand_in import stand_in_folder

# A process of its own, as the hub's address is read when its client is imported.
PROGRAM = """
import sys
from hashlib import sha256
from pathlib import Path

from common.settings.catalogue import ModelEntry
from common.domain.generation import Endpoint
from tests.support.generation_request import generation_request
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.images.inputs import InputImages

request = generation_request(
    endpoint=Endpoint.TEXT2IMG, model="m", width=64, height=64, samples=1, inference_steps=2
)
for source in sys.argv[1:]:
    entry = ModelEntry(
        name="m", source=source, revision="main", endpoints=(Endpoint.TEXT2IMG,), licence="none"
    )
    engine = DiffusersEngine([entry], Path("unused"), "cpu")
    image = engine.generate(request, InputImages()).images[0]
    print("generated", sha256(image.tobytes()).hexdigest())
    engine.close()
"""


def test_weights_from_a_hub_generate_the_same_as_from_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stand_in_folder("base", tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONWARNINGS", "error::UserWarning")
    with serving(folder) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, REPOSITORY, str(folder)],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert run.stderr == ""
    assert run.returncode == 0
    generated = [line for line in run.stdout.splitlines() if line.startswith("generated")]
    assert len(generated) == 2
    assert generated[0] == generated[1]
    assert any((tmp_path / "cache").rglob("*.safetensors"))
