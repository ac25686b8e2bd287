"""`infill models`: what is listed, fetched from a hub on loopback, and tried out."""

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import huggingface_hub.constants
import pytest
from click.testing import CliRunner

from common.domain.errors import InfillError
from deploy.cli import infill
from tests.integration.generation.hub import REPOSITORY, serving
from worker.generation.models.standin import standin_folder

FILE = f"""
[[models]]
name = "of-a-hub"
source = "{REPOSITORY}"
revision = "main"
scheduler = "DDIMScheduler"
endpoints = ["text2img", "img2img"]
licence = "MIT"

[[models]]
name = "of-a-folder"
source = "./weights"
endpoints = ["text2img"]
licence = "MIT"

[[models]]
name = "wrong"
source = "random:base"
scheduler = "NoScheduler"
endpoints = ["text2img"]
licence = "MIT"
"""


def run(home: Path, *arguments: str, hub: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as the hub's client reads its address once."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},  # noqa: TID251
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HF_HOME": str(home / "cache"),
        "HF_ENDPOINT": hub,
        "INFILL_MODELS_FILE": str(home / "models.toml"),
        "INFILL_MODELS_DIRECTORY": str(home / "models"),
        "INFILL_MODELS_SERVE": '["of-a-hub", "of-a-folder"]',
        "OMP_NUM_THREADS": "1",
    } | ({} if hub else {"HF_HUB_OFFLINE": "1"})
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", "models", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("operator")
    (home / "models.toml").write_text(FILE)
    copytree(standin_folder("base", home / "models"), home / "weights")
    return home


def listed(home: Path) -> dict[str, dict[str, str]]:
    answer = run(home, "list", "--json")
    assert answer.stderr == ""
    return {row["name"]: row for row in json.loads(answer.stdout)}


def test_from_listing_over_fetching_to_drawing_without_the_hub(home: Path) -> None:
    before = listed(home)
    assert {name: row["weights"] for name, row in before.items()} == {
        "of-a-hub": "not here",
        "of-a-folder": "here",
        "wrong": "here",
    }
    assert before["of-a-hub"]["default_for"] == "img2img, text2img"
    assert (before["of-a-hub"]["served"], before["wrong"]["served"]) == ("yes", "no")
    single = home / "weights" / "all-in-one.safetensors"
    variant = home / "weights" / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    for unwanted in (single, variant):
        unwanted.write_bytes(b"not read")
    with serving(home / "weights") as hub:
        pulled = run(home, "pull", "of-a-hub", hub=hub)
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.startswith(f"of-a-hub: fetched to {home / 'cache'}")
    fetched = {path.name for path in (home / "cache").rglob("*.safetensors")}
    assert fetched == {"diffusion_pytorch_model.safetensors", "model.safetensors"}
    after = listed(home)["of-a-hub"]
    assert (after["weights"], after["size"]) == ("here", "1 MB")
    for unwanted in (single, variant):
        unwanted.unlink()
    checked = run(home, "check", "of-a-hub", "wrong")
    assert checked.returncode == 1
    assert "of-a-hub: right, and draws text2img, img2img" in checked.stdout
    assert "model wrong: no scheduler NoScheduler fits it" in checked.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("pull", "nobody"), 1, "the models file has no nobody, only: of-a-hub, of-a-folder"),
        (("pull",), 2, "name models, or give --all"),
        (("pull", "of-a-hub"), 1, "elsewhere could not be fetched: the hub cannot be reached"),
        (("pull", "of-a-folder"), 0, "nothing to fetch"),
    ],
)
def test_what_cannot_be_pulled_is_said(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    elsewhere = home / "elsewhere.toml"
    elsewhere.write_text(FILE.replace(REPOSITORY, "infill-tests/elsewhere"))
    monkeypatch.setenv("INFILL_MODELS_FILE", str(elsewhere))
    # Its own switch for "do not try": trying would cost half a minute of retries.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    answer = CliRunner().invoke(infill, ["models", *arguments])
    told = answer.exception.message if isinstance(answer.exception, InfillError) else answer.output
    assert answer.exit_code == code
    assert said in told
