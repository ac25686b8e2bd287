"""Types of the prompt embeddings that condition the UNet."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Conditioning:
    """The embeddings of a text, on the model's device and in its data type.

    `hidden` is tokens × width. `pooled` is one vector for the whole text, which only Stable
    Diffusion XL uses; it is None for other models. The tensors are cached and shared, so they must
    not be changed in place.
    """

    hidden: torch.Tensor
    pooled: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class PromptEmbeds:
    """The embeddings of a request's positive and negative prompt, of equal numbers of tokens.

    `negative` is None if the request has no guidance.
    """

    positive: Conditioning
    negative: Conditioning | None
