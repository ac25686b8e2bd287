"""Apply emphasis weights to text embeddings."""

from typing import Final

import torch

from worker.engine.prompts.emphasis import MAX_WEIGHT

# Relative to the root mean square. A mean below it is rounding error: a layer norm that was never
# trained gives every token a mean of 0, and the ratio of two zeros is undefined.
_MIN_MEAN: Final = 1e-3


def apply_emphasis(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return `hidden` (chunks × tokens × width) multiplied by token weights (chunks × tokens).

    Each chunk is then scaled back to its previous mean: the formula of the Stable Diffusion web UI
    by AUTOMATIC1111 (`EmphasisOriginal` in modules/sd_emphasis.py), whose authors found that it
    prevents artifacts. There are three differences. Each chunk is scaled by itself, so that the
    result does not depend on the batch. A mean close to 0 is not restored. And no scale exceeds the
    largest weight or its reciprocal, because otherwise the whole chunk would be scaled up extremely
    if the weights moved its mean close to 0.
    """
    exact = hidden.float()
    weighted = exact * weights.unsqueeze(-1)
    scale = _mean_restoring_scale(exact, weighted, weights)
    return (weighted * scale.view(-1, 1, 1)).to(hidden.dtype)


def _mean_restoring_scale(
    before: torch.Tensor, after: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    mean, new_mean = before.mean((1, 2)), after.mean((1, 2))
    ratio = mean / new_mean
    strongest = torch.maximum(weights, 1 / weights).amax(1).clamp(max=MAX_WEIGHT)
    restorable = (ratio > 0) & (mean.abs() > _MIN_MEAN * before.square().mean((1, 2)).sqrt())
    return torch.where(restorable, ratio.clamp(1 / strongest, strongest), torch.ones_like(ratio))
