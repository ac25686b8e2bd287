"""Encoding of prompts by diffusers and by us, and comparison of the results."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from worker.engine.prompts.conditioning import Conditioning, PromptEmbeds
from worker.engine.prompts.encoder import PromptEncoder

LONG = "a red cat on a green mat, " * 12


def as_diffusers(pipeline: Any, prompt: str, negative: str) -> PromptEmbeds:
    """Return what the pipeline's own `encode_prompt` returns; pooled embeddings for XL only."""
    given = pipeline.encode_prompt(
        prompt=prompt,
        device=torch.device("cpu"),
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
        negative_prompt=negative,
    )
    if len(given) == 2:
        given = (*given, [None], [None])
    hidden, negative_hidden, pooled, negative_pooled = given
    return PromptEmbeds(
        Conditioning(hidden[0], pooled[0]), Conditioning(negative_hidden[0], negative_pooled[0])
    )


def encoded(encoder: PromptEncoder, prompt: str, negative: str | None = None) -> PromptEmbeds:
    (guided,) = encoder.encode([encoder.tokenize(prompt, negative)])
    return guided


def equal(one: Conditioning | None, other: Conditioning | None) -> bool:
    return near(one, other, tolerance=0)


def near(one: Conditioning | None, other: Conditioning | None, *, tolerance: float = 1e-5) -> bool:
    assert one is not None
    assert other is not None
    pairs = [(one.hidden, other.hidden)]
    if one.pooled is not None or other.pooled is not None:
        assert one.pooled is not None
        assert other.pooled is not None
        pairs.append((one.pooled, other.pooled))
    return all(
        left.shape == right.shape
        and left.dtype == right.dtype
        and torch.allclose(left, right, rtol=0, atol=tolerance)
        for left, right in pairs
    )


@contextmanager
def counted_chunks(pipeline: Any) -> Iterator[list[int]]:
    """Yield a list of the number of chunks in each call of the first text encoder."""
    batches: list[int] = []

    def note(_module: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        batches.append(len(arguments[0]))

    encoder = pipeline.components.get("text_encoder") or pipeline.text_encoder_2
    handle = encoder.register_forward_pre_hook(note)
    try:
        yield batches
    finally:
        handle.remove()
