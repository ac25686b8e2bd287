"""CPU time of a denoising step with each optimization, beside the plain step."""

from collections.abc import Callable
from copy import deepcopy
from statistics import median
from time import process_time
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from tests.bench.figures import Figure
from tests.bench.sizes import Sizes, StepSizes
from worker.engine.models.optimizations import BACKEND, REGIONAL

ROWS = 2  # one image, guided
TOKENS = 77
WIDTH = 256


def network(sizes: StepSizes) -> Any:
    """Return a UNet of Stable Diffusion's architecture with random weights, much smaller."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=sizes.latent_side,
        block_out_channels=sizes.channels,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
    )
    unet.set_attn_processor(AttnProcessor2_0())
    return unet.eval().requires_grad_(requires_grad=False)


def arguments(side: int) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(0)
    return {
        "sample": torch.randn(ROWS, 4, side, side, generator=draw),
        "timestep": torch.tensor(500),
        "encoder_hidden_states": torch.randn(ROWS, TOKENS, WIDTH, generator=draw),
    }


def with_plain_attention(unet: Any, _sizes: StepSizes) -> None:
    unet.set_attn_processor(AttnProcessor())


def with_channels_last(unet: Any, _sizes: StepSizes) -> None:
    unet.to(memory_format=torch.channels_last)


def with_compiled_blocks(unet: Any, sizes: StepSizes) -> None:
    unet.compile_repeated_blocks(backend=sizes.backend or BACKEND, **REGIONAL)


# Not used by the product: expected to be no faster.
SLOWER = {"attention spelled out"}
OPTIMIZATIONS: dict[str, Callable[[Any, StepSizes], None]] = {
    "attention spelled out": with_plain_attention,
    "channels last": with_channels_last,
    "compiled blocks": with_compiled_blocks,
}


async def measure(sizes: Sizes) -> list[Figure]:
    """Run a step with each optimization in turn, on one core, and count its CPU time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return _measure(sizes.step)
    finally:
        torch.set_num_threads(threads)


def _measure(sizes: StepSizes) -> list[Figure]:
    plain, side = network(sizes), sizes.latent_side
    unets = {name: deepcopy(plain) for name in OPTIMIZATIONS}
    for name, change in OPTIMIZATIONS.items():
        change(unets[name], sizes)
    _, expected = _step(plain, side)
    first = {name: _step(unet, side) for name, unet in unets.items()}
    times: dict[str, list[float]] = {name: [] for name in ("plain", *OPTIMIZATIONS)}
    for _ in range(sizes.rounds):
        for name, unet in {"plain": plain, **unets}.items():
            times[name].append(_step(unet, side)[0])
    parameters = sum(parameter.numel() for parameter in plain.parameters())
    return [
        Figure(
            name=f"step with {name}",
            value=median(times[name]),
            baseline=median(times["plain"]),
            unit="s",
            target=1,
            at_least=name in SLOWER,
            note=f"CPU time of {ROWS} rows of {side} × {side} latents through "
            f"{parameters / 1e6:.0f} million weights on one core, the median of "
            f"{sizes.rounds} alternating rounds; the first took {first[name][0]:.1f} s; its "
            f"output differs by {_apart(first[name][1], expected):.2g} standard deviations",
        )
        for name in OPTIMIZATIONS
    ]


def _step(unet: Any, side: int) -> tuple[float, torch.Tensor]:
    given = arguments(side)
    begun = process_time()
    noise: torch.Tensor = unet(**given).sample
    return process_time() - begun, noise


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference, in standard deviations of `other`."""
    return float((one - other).abs().max() / other.std())
