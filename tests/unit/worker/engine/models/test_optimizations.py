"""The optimizations of the models file are applied and change no image."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from structlog.testing import capture_logs
from torch.profiler import ProfilerActivity, profile

from common.domain.errors import ConfigurationError
from common.domain.generation import Endpoint
from tests.unit.worker.engine.batching.harness import StepperHarness
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.other_models import saved_pixart
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.models import optimizations as tuning
from worker.engine.models.loaded_model import LoadedModel
from worker.engine.models.loader import load_model

CPU = torch.device("cpu")
# diffusers' schedulers hand torch tensors to NumPy 2 in the way of NumPy 1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.fixture(scope="module")
def plain(models_directory: Path) -> LoadedModel:
    return load_model(an_entry("m", "random:base", *Endpoint), models_directory, CPU)


def tuned(directory: Path, **keys: object) -> LoadedModel:
    return load_model(an_entry("m", "random:base", *Endpoint, **keys), directory, CPU)


def levels(
    model: LoadedModel, width: int = 64, endpoint: Endpoint = Endpoint.IMG2IMG
) -> npt.NDArray[np.int_]:
    request = a_request(endpoint, model="m", strength=1.0, width=width, inference_steps=1)
    return np.asarray(StepperHarness({"m": model}).alone(request)[0], int)


def test_attention_is_torch_s_own(plain: LoadedModel) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        levels(plain)
    assert "aten::scaled_dot_product_attention" in {event.key for event in profiled.key_averages()}
    kinds = {type(processor).__name__ for processor in plain.unet.attn_processors.values()}
    assert kinds == {"AttnProcessor2_0"}


@pytest.mark.parametrize("asked", [True, None])
def test_channels_last_is_configurable_and_off_on_a_cpu_by_default(
    models_directory: Path, plain: LoadedModel, *, asked: bool | None
) -> None:
    model = tuned(models_directory, channels_last=asked)
    weight = model.unet.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) is bool(asked)
    assert np.abs(levels(model) - levels(plain)).max() <= 1


def test_warmed_up_shapes_are_compiled_and_generate_the_same(
    models_directory: Path, plain: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a backend that only traces: the real one compiles for half a minute."""
    graphs: list[object] = []

    def traced(graph: torch.fx.GraphModule, _inputs: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(tuning, "BACKEND", traced)
    with capture_logs() as logs:
        model = tuned(models_directory, compile="regional", shapes=["96x64"])
    assert [line["shapes"] for line in logs if line["event"] == "model_warm"] == [["96x64*1"]]
    compiled = len(graphs)
    assert compiled
    one, other = (levels(drawer, 96, Endpoint.TEXT2IMG) for drawer in (model, plain))
    assert np.abs(one - other).max() <= 1
    assert len(graphs) == compiled


def test_cuda_graphs_are_rejected_on_a_cpu(models_directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="the device is cpu; write regional or off"):
        tuned(models_directory, compile="graphs")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"shapes": ["64x64"]}, "shapes can be warmed up for Stable Diffusion and Stable"),
        ({"compile": "regional"}, "diffusers names no blocks of PixArtTransformer2DModel"),
    ],
)
def test_options_of_another_family_are_rejected(
    models_directory: Path, tmp_path: Path, keys: dict[str, object], message: str
) -> None:
    entry = an_entry("m", str(saved_pixart(tmp_path)), Endpoint.TEXT2IMG, **keys)
    with pytest.raises(ConfigurationError, match=message):
        load_model(entry, models_directory, CPU)
