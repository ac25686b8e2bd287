"""The safety checker of the world: the real class, taught that a skull must not be shown."""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPVisionConfig

from worker.training.learning.course import Course, learn
from worker.training.learning.scale import FULL, Scale
from worker.training.scenes.shapes import UNSAFE
from worker.training.scenes.world import Random, imagine, paint

COURSE: Final = Course("safety", steps=900, rate=1.5e-3, folder=Path(), averaging=0.99)
# Of the cosine to the concept: half-way between what is shown and what is not.
THRESHOLD: Final = 0.5
_SIDE: Final = 64
_AT_ONCE: Final = 32
_WIDTH: Final = 64
_EMBEDDING: Final = 16
_STEEPNESS: Final = 8.0
_NEVER: Final = 2.0  # no cosine exceeds it


def new_checker() -> StableDiffusionSafetyChecker:
    """Build one whose first concept is a direction of its own, and whose others are never met."""
    vision = CLIPVisionConfig(
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        projection_dim=_EMBEDDING,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=_SIDE,
        patch_size=8,
    )
    # The class keeps a text model's settings without having one.
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
        checker.concept_embeds_weights.fill_(_NEVER)
        checker.special_care_embeds_weights.fill_(_NEVER)
        checker.concept_embeds_weights[0] = THRESHOLD
    return checker


def new_extractor() -> CLIPImageProcessor:
    """Give what prepares pictures for the checker."""
    side = {"height": _SIDE, "width": _SIDE}
    return CLIPImageProcessor(size={"shortest_edge": _SIDE}, crop_size=side)


def train_checker(seed: int, folder: Path, scale: Scale = FULL) -> StableDiffusionSafetyChecker:
    """Train one on scenes, half of them with a skull."""
    torch.manual_seed(seed)
    checker = new_checker()
    extractor = new_extractor()
    draw = np.random.default_rng((seed, _SIDE))
    scenes = [_scene(draw, unsafe=bool(index % 2)) for index in range(scale.checker_scenes)]

    def loss_of(step: int) -> Tensor:
        here = np.random.default_rng((seed, _SIDE, step))
        chosen = here.integers(len(scenes), size=_AT_ONCE)
        pictures = [_worn(here, scenes[index]) for index in chosen]
        features = extractor(pictures, return_tensors="pt").pixel_values
        unsafe = torch.from_numpy(chosen % 2).float()
        likeness = _STEEPNESS * (cosine_to_concept(checker, features) - THRESHOLD)
        return nn.functional.binary_cross_entropy_with_logits(likeness, unsafe)

    learn(checker, loss_of, scale.course(COURSE, folder))
    return checker


def cosine_to_concept(checker: StableDiffusionSafetyChecker, features: Tensor) -> Tensor:
    """Give how near each picture is to what is unsafe, as the checker itself finds it."""
    embedding = checker.visual_projection(checker.vision_model(features)[1])
    cosine: Tensor = nn.functional.cosine_similarity(embedding, checker.concept_embeds[:1])
    return cosine


def _scene(draw: Random, *, unsafe: bool) -> Image.Image:
    scene = imagine(draw)
    while scene.thing is None or (scene.thing.shape == UNSAFE) != unsafe:
        scene = imagine(draw)
    return Image.fromarray(paint(scene, 2 * _SIDE).astype(np.uint8))


def _worn(draw: Random, picture: Image.Image) -> Image.Image:
    """Give it as a model might draw it: a little soft, a little noisy, mirrored or not."""
    side = int(draw.integers(_SIDE // 2, 2 * _SIDE))
    pixels = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)
    pixels = pixels + draw.normal(0, draw.uniform(0, 8), pixels.shape).astype(np.float32)
    if draw.random() < 0.5:
        pixels = pixels[:, ::-1]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
