from pathlib import Path

import numpy as np
import pytest
import torch

from worker.training.networks.autoencoder import new_autoencoder
from worker.training.networks.denoiser import Denoiser, new_scheduler
from worker.training.scenes.pool import FACTOR, load_pool

HEARD = 1e-3


def test_a_pool_is_read_back_as_it_was_filled(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, file = new_autoencoder(), tmp_path / "pool.pt"
    filled = load_pool(model, 3, 64, 5, file)
    assert filled.latents.shape == filled.masked.shape == (5, 4, 64 // FACTOR, 64 // FACTOR)
    assert filled.masks.shape == (5, 1, 64 // FACTOR, 64 // FACTOR)
    assert set(filled.masks.flatten().tolist()) == {0.0, 1.0}
    # Outside the hole both show the same, but for what lies next to it.
    apart = (filled.latents - filled.masked).abs().mean(dim=1, keepdim=True)
    assert apart[filled.masks == 0].mean() < apart[filled.masks == 1].mean()

    again = load_pool(model, 3, 64, 5, file)
    assert torch.equal(again.latents, filled.latents)
    assert again.scenes == filled.scenes


def test_the_last_timestep_is_pure_noise() -> None:
    scheduler = new_scheduler()
    assert float(scheduler.alphas_cumprod[-1]) ** 0.5 == pytest.approx(0, abs=0.01)
    scheduler.set_timesteps(20)
    assert int(scheduler.timesteps[0]) == scheduler.config.num_train_timesteps - 1


def test_an_untrained_denoiser_depends_on_the_words() -> None:
    torch.manual_seed(0)
    model = Denoiser().eval()
    inputs = torch.from_numpy(np.ones((3, 9, 8, 8), dtype=np.float32))
    captions = ["a red circle", "a blue circle", "été 🎈"]
    with torch.no_grad():
        velocity = model(inputs, torch.tensor([999, 999, 1]), captions)
    assert velocity.shape == (3, 4, 8, 8)
    assert (velocity[0] - velocity[1]).abs().max() > HEARD
