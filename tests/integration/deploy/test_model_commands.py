"""`infill models`: list, pull from a hub on loopback, and check."""

import json
from pathlib import Path
from shutil import copytree

import huggingface_hub.constants
import pytest
from click.testing import CliRunner

from common.domain.errors import InfillError
from deploy.cli.main import infill
from tests.integration.engine.hub import REPOSITORY, serving
from worker.engine.models.stand_in import stand_in_folder

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


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("operator")
    (home / "models.toml").write_text(FILE)
    (home / "elsewhere.toml").write_text(FILE.replace(REPOSITORY, "infill-tests/elsewhere"))
    copytree(stand_in_folder("base", home / "models"), home / "weights")
    return home


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment of an operator; the hub client reads its variables at import."""
    monkeypatch.setenv("INFILL_MODELS_FILE", str(home / "models.toml"))
    monkeypatch.setenv("INFILL_MODELS_DIRECTORY", str(home / "models"))
    monkeypatch.setenv("INFILL_MODELS_SERVE", '["of-a-hub", "of-a-folder"]')
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def run(*arguments: str) -> tuple[int, str]:
    """Return the exit code and the output, including the message of an InfillError."""
    result = CliRunner().invoke(infill, ["models", *arguments])
    error = result.exception
    if isinstance(error, InfillError):
        return result.exit_code, error.message
    assert error is None or isinstance(error, SystemExit), error
    return result.exit_code, result.output


def listed() -> dict[str, dict[str, str]]:
    _, output = run("list", "--json")
    return {row["name"]: row for row in json.loads(output)}


def test_models_are_listed_with_the_state_of_their_weights() -> None:
    rows = listed()
    assert {name: row["weights"] for name, row in rows.items()} == {
        "of-a-hub": "missing",
        "of-a-folder": "present",
        "wrong": "present",
    }
    assert rows["of-a-hub"]["default_for"] == "img2img, text2img"
    assert (rows["of-a-hub"]["served"], rows["wrong"]["served"]) == ("yes", "no")
    _, output = run("list")
    assert output.splitlines()[0].startswith("name         source ")


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # of diffusers' schedulers
def test_downloaded_weights_generate_without_the_hub(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "weights" / "all-in-one.safetensors").write_bytes(b"not wanted")
    unet = home / "weights" / "unet"
    (unet / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"not wanted")
    with serving(home / "weights") as address, monkeypatch.context() as online:
        online.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        online.setattr(huggingface_hub.constants, "ENDPOINT", address)
        resolving = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        online.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", resolving)
        code, output = run("pull", "of-a-hub")
    assert code == 0
    assert f"of-a-hub: downloaded to {home / 'cache'}" in output
    fetched = {path.name for path in (home / "cache").rglob("*.safetensors")}
    assert fetched == {"diffusion_pytorch_model.safetensors", "model.safetensors"}
    row = listed()["of-a-hub"]
    assert (row["weights"], row["size"]) == ("present", "1 MB")
    code, output = run("check", "of-a-hub", "wrong")
    assert code == 1
    assert "of-a-hub: works for text2img, img2img" in output
    assert "model wrong: no scheduler NoScheduler fits it" in output


def test_a_missing_component_is_named(home: Path) -> None:
    (weights,) = (home / "weights" / "vae").glob("*.safetensors")
    kept = weights.read_bytes()
    weights.unlink()
    assert listed()["of-a-folder"]["weights"] == "lacks vae"
    weights.write_bytes(kept)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (
            ("pull", "unknown"),
            1,
            "unknown models: unknown; the models file has: of-a-hub, of-a-folder",
        ),
        (("pull",), 2, "name at least one model, or use --all"),
        (("pull", "of-a-hub"), 1, "elsewhere could not be fetched: the hub cannot be reached"),
        (("pull", "of-a-folder"), 0, "nothing to download"),
    ],
)
def test_models_that_cannot_be_pulled_are_explained(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    monkeypatch.setenv("INFILL_MODELS_FILE", str(home / "elsewhere.toml"))
    ended, output = run(*arguments)
    assert ended == code
    assert expected in output
