"""Optimize a loaded model: memory layout, attention, compilation, warm-up."""

from typing import Any, Final

import structlog
import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from common.domain.errors import ConfigurationError
from common.runtime.clock import monotonic
from common.settings.catalogue import Shape
from worker.engine.models.families import Family
from worker.engine.models.loaded_model import LoadedModel

log = structlog.get_logger(__name__)

# The torch.compile backend.
BACKEND: Final = "inductor"
# One compiled block for all shapes, since batch sizes vary.
REGIONAL: Final[dict[str, Any]] = {"fullgraph": True, "dynamic": True}
# A CUDA graph has one shape; past torch's limit of shapes the block runs uncompiled.
_GRAPHS: Final[dict[str, Any]] = {"mode": "reduce-overhead", "dynamic": False}
# Any timestep will do.
_TIME: Final = 1


def optimize(model: LoadedModel) -> None:
    """Apply the optimizations that the model's entry asks for, in place.

    Generated pixels change by at most 1/255.

    Raises:
        ConfigurationError: the model or its device does not support an optimization asked for.
    """
    _check(model)
    for network in _networks(model):
        if _uses_channels_last(model):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if model.family is not Family.OTHER:
        # diffusers' default as well, unless another processor was set.
        model.unet.set_attn_processor(AttnProcessor2_0())
    if model.entry.compile != "off":
        _compile(model)
    if model.entry.shapes:
        _warm_up(model)


def _check(model: LoadedModel) -> None:
    entry = model.entry
    if entry.compile == "graphs" and model.device.type != "cuda":
        raise ConfigurationError(
            f"model {entry.name}: compile = graphs records CUDA graphs, and the device is "
            f"{model.device}; write regional or off"
        )
    if entry.shapes and model.family is Family.OTHER:
        raise ConfigurationError(
            f"model {entry.name}: shapes can be warmed up for Stable Diffusion and Stable "
            "Diffusion XL alone; leave them out"
        )


def _uses_channels_last(model: LoadedModel) -> bool:
    if model.entry.channels_last is not None:
        return model.entry.channels_last
    return model.device.type == "cuda" and model.dtype is not torch.float32


def _networks(model: LoadedModel) -> list[torch.nn.Module]:
    """Return the networks that account for most of the time: denoising network and autoencoder."""
    components = (model.components.get(name) for name in ("unet", "transformer", "vae"))
    return [component for component in components if isinstance(component, torch.nn.Module)]


def _compile(model: LoadedModel) -> None:
    """Set up the repeated blocks of the denoising network to be compiled at their first call."""
    network: Any = model.components.get("unet") or model.components.get("transformer")
    if not getattr(network, "_repeated_blocks", None):
        raise ConfigurationError(
            f"model {model.entry.name}: diffusers names no blocks of {type(network).__name__} to "
            "be compiled; write compile = off"
        )
    if model.entry.compile == "regional":
        network.compile_repeated_blocks(backend=BACKEND, **REGIONAL)
        return
    network.compile_repeated_blocks(backend=BACKEND, **_GRAPHS)
    # The outputs of one step's graphs are overwritten when the next step begins.
    network.register_forward_pre_hook(_step_begins)


def _step_begins(_network: torch.nn.Module, _inputs: Any) -> None:
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


def _warm_up(model: LoadedModel) -> None:
    started = monotonic()
    # As when generating: a block compiled in another mode would be recompiled.
    with torch.inference_mode():
        for shape in model.entry.shapes:
            model.unet(**_zero_inputs(model, shape))
    log.info(
        "model_warm",
        model=model.entry.name,
        shapes=["{}x{}*{}".format(*shape) for shape in model.entry.shapes],
        seconds=round(monotonic() - started, 3),
    )


def _zero_inputs(model: LoadedModel, shape: Shape) -> dict[str, Any]:
    """Return the UNet's arguments, all zeros, for one step of a batch of `shape`.

    An image takes two rows of the batch: negative and positive prompt.
    """
    config, rows = model.unet.config, 2 * shape.samples
    factor = 2 ** (len(model.vae.config.block_out_channels) - 1)
    size = (rows, config.in_channels, shape.height // factor, shape.width // factor)
    options: dict[str, Any] = {"device": model.device, "dtype": model.dtype}
    arguments: dict[str, Any] = {
        "sample": torch.zeros(size, **options),
        "timestep": torch.tensor(_TIME, device=model.device),
        "encoder_hidden_states": torch.zeros(
            rows, _tokens(model), config.cross_attention_dim, **options
        ),
    }
    if model.family is Family.STABLE_DIFFUSION_XL:
        arguments["added_cond_kwargs"] = {
            "text_embeds": torch.zeros(
                rows, model.components["text_encoder_2"].config.projection_dim, **options
            ),
            "time_ids": torch.zeros(rows, 6, **options),
        }
    return arguments


def _tokens(model: LoadedModel) -> int:
    tokens: int = model.components["text_encoder"].config.max_position_embeddings
    return tokens
