"""The part of a request's preparation that runs on the host, in the caller's thread."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from common.domain.errors import UnsupportedRequestError
from common.domain.generation import Endpoint, GenerationRequest
from worker.engine.batching.components import LATENT_CHANNELS, PipelineComponents
from worker.engine.batching.timesteps import Timesteps
from worker.engine.masks.canvas import Canvas
from worker.engine.prompts.encoder import TokenizedPrompt


@dataclass(frozen=True, slots=True)
class NoiseDraws:
    """Standard normal noise of one image, drawn in the order in which diffusers' pipelines draw it.

    Each tensor is 1 × 4 × latent height × latent width. `noise` is the noise that denoising starts
    with; `init` and `masked` are for sampling the latents of the init image and the masked image.
    """

    init: torch.Tensor | None
    noise: torch.Tensor
    masked: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class SampleStart:
    """Initial state of one image.

    `generator` has already drawn `draws`; after that, it draws the noise for the scheduler's steps.
    """

    timesteps: Timesteps
    generator: torch.Generator
    draws: NoiseDraws


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A checked request with preprocessed inputs, on the host.

    `init` is the init image, 1 × 3 × height × width, -1 to 1; `masked` is the init image with zeros
    inside the mask. `mask` is 1 × 1 × latent height × latent width, 1 where the image is repainted.
    `shape` is the shape of one image's latents, (1, 4, latent height, latent width). `starts` has
    one entry for each image to generate.
    """

    components: PipelineComponents
    request: GenerationRequest
    prompt: TokenizedPrompt
    shape: tuple[int, int, int, int]
    starts: tuple[SampleStart, ...]
    init: torch.Tensor | None = None
    masked: torch.Tensor | None = None
    mask: torch.Tensor | None = None

    @property
    def starts_from_noise(self) -> bool:
        """Return whether denoising starts from pure noise, without a trace of the init image."""
        endpoint, strength = self.request.endpoint, self.request.strength
        # diffusers' img2img pipeline uses the image at full strength too.
        return endpoint is Endpoint.TEXT2IMG or (endpoint is Endpoint.INPAINT and strength == 1)

    @property
    def is_blended(self) -> bool:
        """Return whether the init image's latents are blended in outside the mask after each step.

        This is the case for inpainting with a UNet that does not take the mask as input.
        """
        return self.request.endpoint is Endpoint.INPAINT and not self.components.takes_mask

    @property
    def needs_init(self) -> bool:
        """Return whether generating requires the latents of the init image."""
        return not self.starts_from_noise or self.is_blended


def prepare(
    components: PipelineComponents,
    request: GenerationRequest,
    canvas: Canvas,
    scheduler: Callable[[], Any],
) -> PreparedRequest:
    """Check `request` and return it with preprocessed inputs, timesteps, prompt tokens and noise.

    `canvas` has the input images. `scheduler` is called once for each image and returns a new
    scheduler.

    Raises:
        UnsupportedRequestError: the model does not support what was requested.
    """
    _check_size(components, request)
    all_timesteps = [Timesteps.of(request, scheduler()) for _ in request.seeds]
    has_guidance = request.guidance_scale > 1  # at 1 the negative prompt has no weight
    prompt = components.prompt_encoder.tokenize(
        request.prompt, request.negative_prompt if has_guidance else None
    )
    shape = (
        1,
        LATENT_CHANNELS,
        request.height // components.vae_scale_factor,
        request.width // components.vae_scale_factor,
    )
    init, masked, mask = _preprocess(components, canvas.init, canvas.mask, shape)
    unseeded = PreparedRequest(components, request, prompt, shape, (), init, masked, mask)
    starts = tuple(
        _start(unseeded, timesteps, seed)
        for timesteps, seed in zip(all_timesteps, request.seeds, strict=True)
    )
    return replace(unseeded, starts=starts)


def _check_size(components: PipelineComponents, request: GenerationRequest) -> None:
    for name, pixels in (("width", request.width), ("height", request.height)):
        if pixels % components.vae_scale_factor:
            raise UnsupportedRequestError(
                f"{name}: {pixels} is not a multiple of {components.vae_scale_factor}"
            )


def _preprocess(
    components: PipelineComponents,
    init: Image.Image | None,
    mask: Image.Image | None,
    shape: tuple[int, int, int, int],
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    if init is None:
        return None, None, None
    image: torch.Tensor = components.image_processor.preprocess(init).to(torch.float32)
    if mask is None:
        return image, None, None
    binary_mask = components.mask_processor.preprocess(mask)
    small = torch.nn.functional.interpolate(binary_mask, size=shape[2:])
    return image, image * (binary_mask < 0.5), small  # noqa: PLR2004 it is 0 or 1


def _start(prepared: PreparedRequest, timesteps: Timesteps, seed: int) -> SampleStart:
    generator = torch.Generator("cpu").manual_seed(seed)  # the same noise on every device

    def draw(dtype: torch.dtype) -> torch.Tensor:
        return torch.randn(prepared.shape, generator=generator, dtype=dtype)

    components = prepared.components
    init = draw(components.vae_dtype) if prepared.needs_init else None
    noise = draw(components.dtype)
    # Drawn even where it is unused, as diffusers does: the noise of the steps follows.
    masked = draw(components.vae_dtype) if prepared.masked is not None else None
    return SampleStart(timesteps, generator, NoiseDraws(init, noise, masked))
