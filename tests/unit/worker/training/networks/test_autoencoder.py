import numpy as np
import torch

from worker.training.networks.autoencoder import new_autoencoder, to_images, to_tensor
from worker.training.networks.mean_colour_start import mean_colours
from worker.training.scenes.world import paint, random_scene


def test_an_untrained_autoencoder_encodes_mean_colours() -> None:
    torch.manual_seed(0)
    model = new_autoencoder()
    signal = to_tensor(paint(random_scene(np.random.default_rng(2)), 64)[None])
    with torch.no_grad():
        latents = model.encode(signal).latent_dist.mean
        back = model.decode(latents).sample
    means = mean_colours(signal, 8)
    assert latents.shape == (1, 4, 8, 8)
    assert (latents[:, :3] - means).abs().mean() < 0.05
    # Soft, and darker at the border, beyond which there is nothing: but its colour is there.
    inside = (back - signal)[:, :, 16:-16, 16:-16]
    assert inside.mean(dim=(2, 3)).abs().max() < 0.15


def test_images_survive_the_conversion_to_tensors() -> None:
    image = paint(random_scene(np.random.default_rng(2)), 16)[None]
    assert np.abs(to_images(to_tensor(image)) - image).max() < 0.01
