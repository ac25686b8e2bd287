"""What each way to make a model fast gains or loses on this machine's CPU."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from tests.bench.figures import Figure
from worker.engine.models.optimizations import BACKEND, REGIONAL

ROUNDS = 3
LATENTS = 64  # a side: pictures of 512 × 512
ROWS = 2  # one image, guided
TOKENS = 77
WIDTH = 256


def network() -> Any:
    """Give a UNet of Stable Diffusion's architecture with random weights, a small part its size."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=LATENTS,
        block_out_channels=(96, 192, 384, 384),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
    )
    unet.set_attn_processor(AttnProcessor2_0())
    return unet.eval().requires_grad_(requires_grad=False)


def arguments() -> dict[str, Any]:
    draw = torch.Generator().manual_seed(0)
    return {
        "sample": torch.randn(ROWS, 4, LATENTS, LATENTS, generator=draw),
        "timestep": torch.tensor(500),
        "encoder_hidden_states": torch.randn(ROWS, TOKENS, WIDTH, generator=draw),
    }


def with_plain_attention(unet: Any) -> None:
    unet.set_attn_processor(AttnProcessor())


def with_channels_last(unet: Any) -> None:
    unet.to(memory_format=torch.channels_last)


def with_compiled_blocks(unet: Any) -> None:
    unet.compile_repeated_blocks(backend=BACKEND, **REGIONAL)


# What we do without: it is to be no faster.
SLOWER = {"attention spelled out"}
WAYS: dict[str, Callable[[Any], None]] = {
    "attention spelled out": with_plain_attention,
    "channels last": with_channels_last,
    "compiled blocks": with_compiled_blocks,
}


async def measure_tuning(_home: Path) -> list[Figure]:
    """Run a step each way in turn, on one core, and count its CPU time."""
    torch.set_num_threads(1)
    with torch.no_grad():
        return _measure()


def _measure() -> list[Figure]:
    plain = network()
    unets = {name: deepcopy(plain) for name in WAYS}
    for name, change in WAYS.items():
        change(unets[name])
    _, expected = _step(plain)
    first = {name: _step(unet) for name, unet in unets.items()}
    times: dict[str, list[float]] = {name: [] for name in ("plain", *WAYS)}
    for _ in range(ROUNDS):
        for name, unet in {"plain": plain, **unets}.items():
            times[name].append(_step(unet)[0])
    parameters = sum(parameter.numel() for parameter in plain.parameters())
    return [
        Figure(
            name=f"step with {name}",
            value=median(times[name]),
            baseline=median(times["plain"]),
            unit="s",
            target=1,
            at_least=name in SLOWER,
            note=f"CPU time of {ROWS} rows of {LATENTS} × {LATENTS} latents through "
            f"{parameters / 1e6:.0f} million weights on one core, the median of {ROUNDS} in "
            f"turn; the first took {first[name][0]:.1f} s; it is "
            f"{_apart(first[name][1], expected):.2g} of the spread of the latents' noise away",
        )
        for name in WAYS
    ]


def _step(unet: Any) -> tuple[float, torch.Tensor]:
    given = arguments()
    begun = process_time()
    noise: torch.Tensor = unet(**given).sample
    return process_time() - begun, noise


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Give the largest difference, in standard deviations of what is right."""
    return float((one - other).abs().max() / other.std())
