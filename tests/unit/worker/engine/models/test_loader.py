"""Weights from a folder or a hub, and everything that can be wrong with them."""

import json
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
import torch
from structlog.testing import capture_logs

from common.domain.errors import ConfigurationError
from common.domain.generation import Endpoint
from common.settings.catalogue import ModelEntry
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.generating import generate_image
from tests.unit.worker.engine.other_models import saved_xl
from tests.unit.worker.engine.sample_images import a_request, same
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.models.families import Family, family_of
from worker.engine.models.loaded_model import LoadedModel
from worker.engine.models.loader import load_model
from worker.engine.models.stand_in import stand_in_folder

CPU = torch.device("cpu")


@pytest.fixture
def folder(models_directory: Path, tmp_path: Path) -> Path:
    """A copy of the base stand-in, to be damaged."""
    return Path(copytree(stand_in_folder("base", models_directory), tmp_path / "model"))


def loaded(entry: ModelEntry, directory: Path) -> LoadedModel:
    return load_model(entry, directory, CPU)


def load_error(entry: ModelEntry, device: torch.device = CPU) -> str:
    with pytest.raises(ConfigurationError) as rejected:
        load_model(entry, Path("unused"), device)
    assert rejected.value.message.startswith(f"model {entry.name}: ")
    return rejected.value.message


def test_a_folder_loads_through_the_same_code(
    engine: DiffusersEngine, folder: Path, tmp_path: Path
) -> None:
    entry = an_entry("standin", str(folder), *Endpoint, scheduler="DDIMScheduler")
    by_folder = DiffusersEngine([entry], tmp_path, "cpu")
    for endpoint in Endpoint:
        request = a_request(endpoint, model="standin")
        assert same(generate_image(by_folder, request), generate_image(engine, request))


def test_endpoints_share_one_set_of_weights(models_directory: Path) -> None:
    model = loaded(an_entry("all", "random:base", *Endpoint), models_directory)
    assert set(model.pipelines) == set(Endpoint)
    for part in ("unet", "vae", "text_encoder"):
        assert len({id(pipeline.components[part]) for pipeline in model.pipelines.values()}) == 1


def test_random_weights_are_logged(models_directory: Path, folder: Path) -> None:
    with capture_logs() as logs:
        loaded(an_entry("standin", "random:base", Endpoint.TEXT2IMG), models_directory)
        loaded(an_entry("real", str(folder), Endpoint.TEXT2IMG), models_directory)
    warnings = [line for line in logs if line["log_level"] == "warning"]
    assert [(line["event"], line["model"]) for line in warnings] == [
        ("model_has_random_weights", "standin")
    ]
    assert [line["model"] for line in logs if line["event"] == "model_loaded"] == [
        "standin",
        "real",
    ]


def test_the_cpu_uses_single_precision(models_directory: Path) -> None:
    entry = an_entry("half", "random:base", Endpoint.TEXT2IMG, dtype="float16")
    pipeline = loaded(entry, models_directory).pipelines[Endpoint.TEXT2IMG]
    assert pipeline.unet.dtype == pipeline.vae.dtype == torch.float32


def test_the_entry_s_scheduler_replaces_the_model_s_own(models_directory: Path) -> None:
    own = loaded(an_entry("own", "random:base", Endpoint.TEXT2IMG), models_directory)
    named = loaded(
        an_entry("named", "random:base", Endpoint.TEXT2IMG, scheduler="DDIMScheduler"),
        models_directory,
    )
    assert type(own.scheduler).__name__ == "PNDMScheduler"
    assert type(named.scheduler).__name__ == "DDIMScheduler"
    assert named.scheduler.config.beta_schedule == own.scheduler.config.beta_schedule


@pytest.mark.parametrize("name", ["NoScheduler", "UNet2DConditionModel", "LMSDiscreteScheduler"])
def test_an_incompatible_scheduler_is_rejected(folder: Path, name: str) -> None:
    """The last scheduler exists, but needs a package that is not installed."""
    message = load_error(an_entry("m", str(folder), Endpoint.TEXT2IMG, scheduler=name))
    assert f"no scheduler {name} fits it; there are DDIM, DDPM, " in message


def test_stable_diffusion_xl_loads_and_generates(models_directory: Path, tmp_path: Path) -> None:
    folder = saved_xl(stand_in_folder("base", models_directory), tmp_path / "xl")
    model = loaded(an_entry("xl", str(folder), *Endpoint, shapes=["64x64*2"]), tmp_path)
    assert model.family is Family.STABLE_DIFFUSION_XL
    engine = DiffusersEngine([an_entry("xl", str(folder), *Endpoint)], tmp_path, "cpu")
    for endpoint in Endpoint:
        request = a_request(endpoint, model="xl", strength=1.0)
        assert generate_image(engine, request).size == (64, 64)
        assert same(generate_image(engine, request), generate_image(engine, request))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    message = load_error(an_entry("m", str(tmp_path / "nowhere"), Endpoint.TEXT2IMG))
    assert f"there is no folder {tmp_path / 'nowhere'}; put the weights there" in message


def test_a_folder_without_an_index_is_rejected(tmp_path: Path) -> None:
    assert "model_index.json" in load_error(an_entry("m", str(tmp_path), Endpoint.TEXT2IMG))


def test_a_pipeline_that_generates_no_images_is_rejected(folder: Path) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "AudioLDM2Pipeline"}))
    message = load_error(an_entry("m", str(folder), Endpoint.TEXT2IMG))
    assert "holds a AudioLDM2Pipeline, for which diffusers has no pipeline that does text2img" in (
        message
    )


@pytest.mark.parametrize(
    ("change", "family"),
    [
        ({}, Family.STABLE_DIFFUSION),
        ({"in_channels": 9}, Family.STABLE_DIFFUSION),
        ({"in_channels": 8}, Family.OTHER),
        ({"time_cond_proj_dim": 256}, Family.OTHER),
        ({"class_embed_type": "projection"}, Family.OTHER),
        ({"addition_embed_type": "text"}, Family.STABLE_DIFFUSION),
        ({"addition_embed_type": "image"}, Family.OTHER),
    ],
)
def test_the_family_is_determined_by_the_inputs_of_the_unet(
    change: dict[str, object], family: Family
) -> None:
    unet = SimpleNamespace(config={"in_channels": 4, "out_channels": 4, **change})
    assert family_of(SimpleNamespace(components={"unet": unet, "vae": object()})) is family


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_damaged_weights_are_rejected(folder: Path, part: str) -> None:
    (weights,) = (folder / part).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "cannot be loaded" in load_error(an_entry("m", str(folder), Endpoint.TEXT2IMG))


def test_pickled_weights_are_not_read(folder: Path) -> None:
    (weights,) = (folder / "unet").glob("*.safetensors")
    weights.unlink()
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")
    assert "cannot be loaded" in load_error(an_entry("m", str(folder), Endpoint.TEXT2IMG))


def test_an_inpainting_model_serves_inpaint_only(models_directory: Path) -> None:
    folder = stand_in_folder("inpainting", models_directory)
    message = load_error(an_entry("m", str(folder), Endpoint.INPAINT, Endpoint.TEXT2IMG))
    assert "made for inpainting only, but its endpoints include text2img" in message


def test_a_missing_device_is_an_error(folder: Path) -> None:
    entry = an_entry("m", str(folder), Endpoint.TEXT2IMG)
    assert "the device has room" in load_error(entry, torch.device("cuda:99"))


def test_an_unreachable_hub_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its own switch for "do not try": trying would cost half a minute of retries.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = load_error(an_entry("m", "infill-tests/no-such-model", Endpoint.TEXT2IMG))
    assert "check that the hub can be reached" in message
