"""The UNet and its text encoder, trained together on encoded scenes."""

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
from worker.training.learning.course import train
from worker.training.learning.objective import CaptionedBatch, loss
from worker.training.learning.scale import FULL, Scale
from worker.training.learning.stages import STAGES, Stage
from worker.training.networks.tokenizer import world_tokenizer
from worker.training.scenes.captions import VOCABULARY
from worker.training.scenes.pool import Pool, load_pool
from worker.training.scenes.world import Random, Scene

TEXT_WIDTH: Final = 64
_EMBEDDING_STD: Final = 0.2
_END_KEY_OFFSET: Final = 0.3


class Denoiser(nn.Module):
    """The networks trained to denoise: text encoder (with its tokenizer) and UNet."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = world_tokenizer(VOCABULARY)
        self.text_encoder = _new_text_encoder(self.tokenizer)
        # Convolutions are faster on a CPU with channels last.
        self.unet = _new_unet().to(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor, timesteps: Tensor, captions: list[str]) -> Tensor:
        """Return the velocity (count × 4 × side × side) predicted for `inputs` at `timesteps`.

        `inputs` is count × 9 × side × side: noisy latents, mask and masked latents. There is one
        caption for each input.
        """
        ids = self.tokenizer(
            captions, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        embeddings = self.text_encoder(ids).last_hidden_state
        velocity: Tensor = self.unet(inputs, timesteps, embeddings).sample
        return velocity


def new_scheduler() -> DDIMScheduler:
    """Return a scheduler with the noise schedule that the denoiser is trained for.

    At the last timestep, where sampling starts ("trailing" spacing), less than half a percent of
    the image is left. If more of the image were left, large plain areas would show through the
    noise, and the model would copy their brightness.
    """
    return DDIMScheduler(
        beta_start=0.0001,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,  # unused with trailing steps, but pipelines require it
        set_alpha_to_one=False,
    )


def train_denoiser(
    autoencoder: AutoencoderKL, seed: int, folder: Path, scale: Scale = FULL
) -> Denoiser:
    """Train a denoiser in all stages of `STAGES` and return it.

    Checkpoints, losses and encoded scenes are written to `folder`; an interrupted training resumes
    from its last checkpoint.
    """
    torch.manual_seed(seed)
    model = Denoiser()
    scheduler = new_scheduler()
    pools = {
        size: load_pool(autoencoder, seed, size, count, folder / f"pool-{size}.pt")
        for size, count in scale.pools.items()
    }
    stages = [replace(stage, batches=scale.batches or stage.batches) for stage in STAGES]
    for stage_number, stage in enumerate(stages):
        suitable = {size: _suitable_scenes(pool, stage) for size, pool in pools.items()}

        def compute_loss(
            number: int,
            stage_number: int = stage_number,
            stage: Stage = stage,
            suitable: Any = suitable,
        ) -> Tensor:
            size, count = stage.batches[number % len(stage.batches)]
            rng = np.random.default_rng((seed, stage_number, number))
            indices = rng.choice(suitable[size], size=count)
            batch = _batch(pools[size], indices, stage.describe, rng)
            return loss(model, scheduler, batch, stage, rng)

        train(model, compute_loss, scale.scale_course(stage.course, folder))
    return model


def _suitable_scenes(pool: Pool, stage: Stage) -> list[int]:
    return [
        index
        for index, scene in enumerate(pool.scenes)
        if scene.background.pattern in stage.patterns
    ]


def _batch(
    pool: Pool, indices: Any, describe: Callable[[Random, Scene], str], rng: Random
) -> CaptionedBatch:
    captions = [describe(rng, pool.scenes[index]) for index in indices]
    tensors = (pool.latents, pool.masked, pool.masks)
    return CaptionedBatch(captions, *(tensor[indices].float() for tensor in tensors))


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
    _attend_to_words(model, tokenizer.eos_token_id)
    return model


@torch.no_grad()
def _attend_to_words(model: CLIPTextModel, end: int) -> None:
    """Initialize attention to prefer words over the end tokens that fill the rest of the prompt.

    Of 77 tokens about three are words. If all tokens were attended to equally, the embeddings would
    hardly depend on the words, and most of the training would be spent on learning to ignore the
    padding. The embedding of the end token (`end` is its id) gets a dimension of its own, for which
    the key projections have negative weights, so that queries do not attend to end tokens. The
    outputs at the end tokens also become the mean of the words.
    """
    embedding = model.get_input_embeddings().weight
    nn.init.normal_(embedding, std=_EMBEDDING_STD)
    embedding[:, 0] = 0
    embedding[end] = 0
    embedding[end, 0] = 1
    for name, module in model.named_modules():
        if name.endswith("q_proj"):
            nn.init.ones_(module.bias)
        elif name.endswith("k_proj"):
            module.weight[:, 0] = -_END_KEY_OFFSET


def _new_unet() -> UNet2DConditionModel:
    # No attention at the largest level, where it would cost more than all the rest.
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=9,
        out_channels=4,
        # At the lowest of four levels the receptive field contains the whole thing and its hole.
        block_out_channels=(32, 48, 64, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        up_block_types=(*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(1, 1, 2, 3),  # which in this class is the number of heads
        norm_num_groups=8,
        # A velocity is a combination of noisy and clean latents with factors that depend on the
        # timestep.
        resnet_time_scale_shift="scale_shift",
        # Blocks get the pooled caption beside the timestep, not through attention alone.
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )
