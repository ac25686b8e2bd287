"""The denoiser and the text model it listens to, trained together on encoded scenes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from worker.engine.models.byte_tokenizer import MAX_TOKENS
from worker.training.learning.course import learn
from worker.training.learning.objective import Captioned, loss
from worker.training.learning.scale import FULL, Scale
from worker.training.learning.stages import STAGES, Stage
from worker.training.networks.tokenizer import world_tokenizer
from worker.training.scenes.captions import VOCABULARY
from worker.training.scenes.pool import Pool, filled_pool
from worker.training.scenes.world import Random, Scene

TEXT_WIDTH: Final = 64
_WORD_SPREAD: Final = 0.2
_DISLIKE: Final = 0.3


class Denoiser(nn.Module):
    """What is trained: the text model and the UNet."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = world_tokenizer(VOCABULARY)
        self.text_encoder = _new_text_encoder(self.tokenizer)
        # Convolutions are quicker on a CPU with channels last.
        self.unet = _new_unet().to(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor, moments: Tensor, captions: list[str]) -> Tensor:
        """Give the velocity of `inputs` (count × 9 × side × side) at `moments`."""
        ids = self.tokenizer(
            captions, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        heard = self.text_encoder(ids).last_hidden_state
        velocity: Tensor = self.unet(inputs, moments, heard).sample
        return velocity


def new_scheduler() -> DDIMScheduler:
    """Give the course of noise it learns.

    The last step is noise alone to within half a percent, and steps are counted from there:
    large plain areas would otherwise shine through, and the model would copy their brightness.
    """
    return DDIMScheduler(
        beta_start=0.0001,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,  # unused when counted from the end, but pipelines insist on it
        set_alpha_to_one=False,
    )


def train_denoiser(
    autoencoder: AutoencoderKL, seed: int, folder: Path, scale: Scale = FULL
) -> Denoiser:
    """Train one through all stages, each from its last checkpoint on."""
    torch.manual_seed(seed)
    model = Denoiser()
    scheduler = new_scheduler()
    pools = {
        size: filled_pool(autoencoder, seed, size, count, folder / f"pool-{size}.pt")
        for size, count in scale.pools.items()
    }
    stages = [replace(stage, diet=scale.diet or stage.diet) for stage in STAGES]
    for where, stage in enumerate(stages):
        suited = {size: _suited(pool, stage) for size, pool in pools.items()}

        def loss_of(
            number: int, where: int = where, stage: Stage = stage, suited: Any = suited
        ) -> Tensor:
            size, count = stage.diet[number % len(stage.diet)]
            draw = np.random.default_rng((seed, where, number))
            chosen = draw.choice(suited[size], size=count)
            given = _chosen(pools[size], chosen, stage.say, draw)
            return loss(model, scheduler, given, stage, draw)

        learn(model, loss_of, scale.course(stage.course, folder))
    return model


def _suited(pool: Pool, stage: Stage) -> list[int]:
    return [
        index
        for index, scene in enumerate(pool.scenes)
        if scene.background.pattern in stage.patterns
    ]


def _chosen(
    pool: Pool, chosen: Any, say: Callable[[Random, Scene], str], draw: Random
) -> Captioned:
    captions = [say(draw, pool.scenes[index]) for index in chosen]
    parts = (pool.latents, pool.masked, pool.masks)
    return Captioned(captions, *(part[chosen].float() for part in parts))


def _new_text_encoder(tokenizer: Any) -> CLIPTextModel:
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    _listen_to_words(model, tokenizer.eos_token_id)
    return model


@torch.no_grad()
def _listen_to_words(model: CLIPTextModel, end: int) -> None:
    """Let every token begin by attending to words alone, not to the many that fill up the end.

    Of 77 tokens three are words. Were all attended to alike, what the UNet hears would hardly
    depend on them, and most of a training would go into finding them. The end's own direction
    gives it keys that no query likes; so the ends, too, come to hold the mean of the words.
    """
    embedding = model.get_input_embeddings().weight
    nn.init.normal_(embedding, std=_WORD_SPREAD)
    embedding[:, 0] = 0
    embedding[end] = 0
    embedding[end, 0] = 1
    for name, part in model.named_modules():
        if name.endswith("q_proj"):
            nn.init.ones_(part.bias)
        elif name.endswith("k_proj"):
            part.weight[:, 0] = -_DISLIKE


def _new_unet() -> UNet2DConditionModel:
    # Attention stays off the largest level, where it would cost more than all the rest.
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=9,
        out_channels=4,
        # At the lowest of four levels one look takes in the whole thing and its hole.
        block_out_channels=(32, 48, 64, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        up_block_types=(*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(1, 1, 2, 3),  # which is, in this class, the number of heads
        norm_num_groups=8,
        # A velocity is the noisy latents less the clean ones, each times what the moment says.
        resnet_time_scale_shift="scale_shift",
        # Blocks hear the caption as a whole beside the moment, and not through attention alone.
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )
