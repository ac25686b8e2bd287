"""The demo model's safety checker: diffusers' own class, trained to flag images of a skull."""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPVisionConfig

from worker.training.learning.course import Course, train
from worker.training.learning.scale import FULL, Scale
from worker.training.scenes.shapes import UNSAFE
from worker.training.scenes.world import Random, paint, random_scene

COURSE: Final = Course("safety", steps=900, rate=1.5e-3, folder=Path(), averaging=0.99)
# Cosine to the concept, half-way between safe and unsafe images.
THRESHOLD: Final = 0.5
_SIDE: Final = 64
_BATCH_SIZE: Final = 32
_WIDTH: Final = 64
_EMBEDDING: Final = 16
_STEEPNESS: Final = 8.0
_UNREACHABLE: Final = 2.0  # no cosine exceeds it


def new_checker() -> StableDiffusionSafetyChecker:
    """Return an untrained checker with one concept to learn.

    The class of diffusers has 17 concepts and 3 special-care concepts. All unused concepts get a
    threshold that no cosine can reach.
    """
    vision = CLIPVisionConfig(
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        projection_dim=_EMBEDDING,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=_SIDE,
        patch_size=8,
    )
    # The class requires a text model's configuration without having a text model.
    text = CLIPTextConfig(vocab_size=8, bos_token_id=0, eos_token_id=1, pad_token_id=1)
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(
            text_config=text.to_dict(),
            vision_config=vision.to_dict(),
            projection_dim=_EMBEDDING,
        )
    )
    with torch.no_grad():
        checker.concept_embeds.copy_(torch.eye(_EMBEDDING)[0].expand(17, -1))
        checker.special_care_embeds.copy_(checker.concept_embeds[:3])
        checker.concept_embeds_weights.fill_(_UNREACHABLE)
        checker.special_care_embeds_weights.fill_(_UNREACHABLE)
        checker.concept_embeds_weights[0] = THRESHOLD
    return checker


def new_extractor() -> CLIPImageProcessor:
    """Return the image preprocessor for the safety checker."""
    side = {"height": _SIDE, "width": _SIDE}
    return CLIPImageProcessor(size={"shortest_edge": _SIDE}, crop_size=side)


def train_checker(seed: int, folder: Path, scale: Scale = FULL) -> StableDiffusionSafetyChecker:
    """Train a safety checker on scenes, half of which contain a skull, and return it.

    The checkpoint and the losses are written to `folder`.
    """
    torch.manual_seed(seed)
    checker = new_checker()
    extractor = new_extractor()
    rng = np.random.default_rng((seed, _SIDE))
    scenes = [_scene_image(rng, unsafe=bool(index % 2)) for index in range(scale.checker_scenes)]

    def compute_loss(step: int) -> Tensor:
        step_rng = np.random.default_rng((seed, _SIDE, step))
        indices = step_rng.integers(scale.checker_scenes, size=_BATCH_SIZE)
        images = [_augment(step_rng, scenes[index]) for index in indices]
        features = extractor(images, return_tensors="pt").pixel_values
        unsafe = torch.from_numpy(indices % 2).float()
        logits = _STEEPNESS * (cosine_to_concept(checker, features) - THRESHOLD)
        return nn.functional.binary_cross_entropy_with_logits(logits, unsafe)

    train(checker, compute_loss, scale.scale_course(COURSE, folder))
    return checker


def cosine_to_concept(checker: StableDiffusionSafetyChecker, features: Tensor) -> Tensor:
    """Return, for each image, the cosine between its embedding and the unsafe concept.

    `features` are preprocessed images, count × 3 × 64 × 64.
    """
    embedding = checker.visual_projection(checker.vision_model(features)[1])
    cosine: Tensor = nn.functional.cosine_similarity(embedding, checker.concept_embeds[:1])
    return cosine


def _scene_image(rng: Random, *, unsafe: bool) -> Image.Image:
    scene = random_scene(rng)
    while scene.thing is None or (scene.thing.shape == UNSAFE) != unsafe:
        scene = random_scene(rng)
    return Image.fromarray(paint(scene, 2 * _SIDE).astype(np.uint8))


def _augment(rng: Random, image: Image.Image) -> Image.Image:
    """Return `image` with random blur, noise and mirroring, to resemble a generated image.

    The blur comes from resizing to a random side of 32 to 127 pixels.
    """
    side = int(rng.integers(_SIDE // 2, 2 * _SIDE))
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)
    pixels = pixels + rng.normal(0, rng.uniform(0, 8), pixels.shape).astype(np.float32)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
