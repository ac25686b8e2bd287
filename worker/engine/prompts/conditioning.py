"""What a model is steered by."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Conditioning:
    """A text as the model takes it, on the model's device and in its type.

    `hidden` is tokens × width, one row for each token of the text; `pooled`, of its own width, is
    the whole text in one row, which Stable Diffusion XL wants too; None for other models.

    Never changed in place: texts that come again share these tensors.
    """

    hidden: torch.Tensor
    pooled: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class PromptEmbeds:
    """What one sample is steered to and, with classifier-free guidance, away from.

    Both have as many tokens; `negative` None means that no guidance was asked for.
    """

    positive: Conditioning
    negative: Conditioning | None
