"""The text encoders of one model, run on batches of chunks."""

from collections.abc import Sequence
from typing import Any

import torch

from worker.engine.prompts.chunks import Section
from worker.engine.prompts.conditioning import Conditioning
from worker.engine.prompts.weighting import apply_emphasis

# A chunk as each of the text encoders takes it, in the encoders' order.
Chunk = tuple[Section, ...]


class TextEncoders:
    """The text encoder of Stable Diffusion, or the two of Stable Diffusion XL.

    The outputs equal those of diffusers' `encode_prompt` for the same ids. For Stable Diffusion,
    these are the last hidden states after the final norm. For Stable Diffusion XL, these are the
    hidden states before the last layer of both encoders, side by side, and the projection of the
    second encoder as `pooled`. The refiner of Stable Diffusion XL has only the second encoder.
    """

    def __init__(self, pipeline: Any) -> None:
        """Use the tokenizers and text encoders of `pipeline`."""
        components = pipeline.components
        self._is_xl = "text_encoder_2" in components
        names = ["", "_2"] if self._is_xl else [""]
        present = [name for name in names if components[f"text_encoder{name}"] is not None]
        self._encoders = [components[f"text_encoder{name}"] for name in present]
        self.tokenizers = [components[f"tokenizer{name}"] for name in present]

    @property
    def lengths(self) -> list[int]:
        """Return the number of ids that each encoder takes, including start and end."""
        return [
            min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
            for tokenizer, encoder in zip(self.tokenizers, self._encoders, strict=True)
        ]

    @torch.no_grad()
    def encode(self, chunks: Sequence[Chunk]) -> list[Conditioning]:
        """Encode `chunks` in one batch; return their embeddings, with emphasis applied."""
        run = self._hidden_and_pooled if self._is_xl else self._hidden
        outputs = [
            run(encoder, sections)
            for encoder, sections in zip(self._encoders, zip(*chunks, strict=True), strict=True)
        ]
        last = self._encoders[-1]
        hidden = torch.cat([rows for rows, _ in outputs], dim=-1).to(last.device, last.dtype)
        pooled = outputs[-1][1]
        # Copies: a view of one chunk would keep the whole batch in memory.
        return [
            Conditioning(hidden[index].clone(), None if pooled is None else pooled[index].clone())
            for index in range(len(chunks))
        ]

    def _hidden(self, encoder: Any, sections: Sequence[Section]) -> tuple[torch.Tensor, None]:
        mask = None
        if getattr(encoder.config, "use_attention_mask", False):
            length = len(sections[0].ids)
            rows = [
                [1] * component.filled + [0] * (length - component.filled) for component in sections
            ]
            mask = _upload(rows, encoder.device)
        hidden = encoder(_ids(encoder, sections), attention_mask=mask)[0]
        return _apply_weights(hidden, sections), None

    def _hidden_and_pooled(
        self, encoder: Any, sections: Sequence[Section]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        output = encoder(_ids(encoder, sections), output_hidden_states=True)
        # Only the second encoder has a projection.
        return _apply_weights(output.hidden_states[-2], sections), getattr(
            output, "text_embeds", None
        )


def _ids(encoder: Any, sections: Sequence[Section]) -> torch.Tensor:
    return _upload([component.ids for component in sections], encoder.device)


def _apply_weights(hidden: torch.Tensor, sections: Sequence[Section]) -> torch.Tensor:
    """Return `hidden` with emphasis applied; chunks without emphasis stay bit-for-bit unchanged."""
    if not any(component.weights for component in sections):
        return hidden
    unweighted = (1.0,) * len(sections[0].ids)
    weights = _upload([component.weights or unweighted for component in sections], hidden.device)
    has_emphasis = (weights != 1).any(1).view(-1, 1, 1)
    return torch.where(has_emphasis, apply_emphasis(hidden, weights), hidden)


def _upload(rows: Sequence[Sequence[float]], device: torch.device) -> torch.Tensor:
    """Return `rows` as a tensor on `device`.

    The copy goes through pinned memory, because otherwise the host would wait for all queued GPU
    work.
    """
    tensor = torch.tensor(rows)
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)
