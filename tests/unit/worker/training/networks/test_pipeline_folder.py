"""A very short training from start to end, whose model the engine serves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from common.domain.generation import Endpoint
from common.settings.catalogue import ModelEntry
from tests.support.generation_request import generation_request
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.images.inputs import InputImages
from worker.training.learning.scale import TINY
from worker.training.measuring.tasks import fill, random_task
from worker.training.networks.autoencoder import new_autoencoder
from worker.training.networks.denoiser import train_denoiser
from worker.training.networks.pipeline_folder import open_model, save_model, weight_bytes
from worker.training.networks.safety_checker import train_checker

# diffusers' schedulers hand torch tensors to NumPy 2 in the way of NumPy 1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SIZE = 64
MEGABYTES = 20e6


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Train for a moment, and return the folder of the model."""
    torch.manual_seed(0)
    new_autoencoder().save_pretrained(tmp_path / "autoencoder")
    autoencoder = AutoencoderKL.from_pretrained(tmp_path / "autoencoder")
    learned = train_denoiser(autoencoder, 1, tmp_path, TINY)
    save_model(autoencoder, learned, train_checker(1, tmp_path, TINY), tmp_path / "model")
    return tmp_path / "model"


def test_a_trained_model_is_served_by_the_ordinary_loader(trained: Path, tmp_path: Path) -> None:
    assert weight_bytes(trained) <= MEGABYTES
    configurations = [file.read_text(encoding="utf-8") for file in trained.rglob("*config.json")]
    assert configurations
    assert not [text for text in configurations if str(tmp_path) in text], (
        "it contains a path of this machine"
    )
    entry = ModelEntry(
        name="tiny",
        source=str(trained),
        safety_checker=True,
        endpoints=(Endpoint.INPAINT,),
        licence="none",
    )
    engine = DiffusersEngine([entry], tmp_path, "cpu")
    engine.load()
    hole = random_task(np.random.default_rng(0), SIZE)
    image = Image.fromarray(hole.image.astype(np.uint8))
    mask = Image.fromarray(hole.hole.astype(np.uint8) * 255)
    request = generation_request(
        model="tiny",
        prompt=hole.prompt,
        width=SIZE,
        height=SIZE,
        samples=1,
        inference_steps=3,
        safety_checker=True,
    )
    result = engine.generate(request, InputImages(image, mask))
    assert result.images[0].size == (SIZE, SIZE)
    assert len(result.nsfw) == 1


def test_a_trained_model_is_loaded_for_measuring(trained: Path) -> None:
    tasks = [random_task(np.random.default_rng(seed), SIZE) for seed in range(2)]
    one, other = fill(open_model(trained), tasks, num_inference_steps=2)
    assert one.shape == other.shape == (SIZE, SIZE, 3)
