"""Prompt embeddings."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Conditioning:
    """A text's embeddings, on the model's device and in its type.

    `hidden` is tokens × width. `pooled` is one vector for the whole text, which Stable Diffusion
    XL takes as well; None for other models.

    The tensors are cached and shared, so they must not be changed in place.
    """

    hidden: torch.Tensor
    pooled: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class PromptEmbeds:
    """The positive and the negative prompt of one request, of equal token counts.

    `negative` is None if the request has no guidance.
    """

    positive: Conditioning
    negative: Conditioning | None
