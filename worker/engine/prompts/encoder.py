"""Encode prompts to embeddings, in batches, with a cache."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from common.domain.errors import UnsupportedRequestError
from worker.engine.prompts.chunks import SectionTokenizer
from worker.engine.prompts.conditioning import Conditioning, PromptEmbeds
from worker.engine.prompts.emphasis import weighted_texts
from worker.engine.prompts.text_encoders import Chunk, TextEncoders

# A chunk cut at the worst place holds 56 tokens, so 2,000 ASCII characters of a token each still
# fit, and as many of Russian fill 30 chunks. Longer prompts slow down every step of the whole
# batch: 2,000 characters of Chinese, of which CLIP understands nothing, would fill 75 chunks.
MAX_CHUNKS: Final = 40

# Chunks in one call of the text encoders. The hidden states of all layers are in memory meanwhile:
# 7 MB a chunk for the larger encoder of Stable Diffusion XL, in half precision.
MAX_BATCH: Final = 16

# Cached chunks: 0.3 MB each for Stable Diffusion XL in half precision, 0.1 MB for Stable Diffusion
# 1.5.
CACHE_SIZE: Final = 256


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """Positive and negative prompt as equal numbers of chunks of token ids.

    `negative` is None if the request has no guidance.
    """

    positive: tuple[Chunk, ...]
    negative: tuple[Chunk, ...] | None

    @property
    def tokens(self) -> int:
        """Return the number of tokens of the embeddings, padding included."""
        return sum(len(chunk[0].ids) for chunk in self.positive)

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """Return all chunks: the positive prompt's, then the negative prompt's."""
        return self.positive + (self.negative or ())


class PromptEncoder:
    """Tokenizes and encodes the prompts of one model.

    A text longer than the text encoder's input is cut into chunks that are encoded separately;
    their hidden states are concatenated, and `pooled` is taken from the first chunk. Embeddings are
    cached by chunk, so a negative prompt that all requests share, and the empty chunk that pads the
    shorter of two prompts, are encoded once.
    """

    def __init__(self, pipeline: Any, *, cache_size: int = CACHE_SIZE) -> None:
        """Use the text encoders of `pipeline`, diffusers' Stable Diffusion or Stable Diffusion XL.

        `cache_size` is the number of chunks whose embeddings are cached.
        """
        self._encoders = TextEncoders(pipeline)
        self._tokenizers = [
            SectionTokenizer(tokenizer, length)
            for tokenizer, length in zip(
                self._encoders.tokenizers, self._encoders.lengths, strict=True
            )
        ]
        self._limit = cache_size
        self._cache: OrderedDict[Chunk, Conditioning] = OrderedDict()

    def tokenize(self, prompt: str, negative_prompt: str | None) -> TokenizedPrompt:
        """Return both prompts tokenized and cut into chunks; thread-safe, and runs on the host.

        Emphasis marks are parsed. If `negative_prompt` is None, the request has no guidance.

        Raises:
            UnsupportedRequestError: a text is too long or has lone surrogates; the message begins
                with the field.
        """
        positive = self._chunks("prompt", prompt)
        if negative_prompt is None:
            return TokenizedPrompt(positive, None)
        negative = self._chunks("negative_prompt", negative_prompt)
        length = max(len(positive), len(negative))
        return TokenizedPrompt(self._pad(positive, length), self._pad(negative, length))

    def encode(self, prompts: Sequence[TokenizedPrompt]) -> list[PromptEmbeds]:
        """Return the embeddings of each prompt; not thread-safe.

        Chunks that are not cached are encoded in batches.
        """
        known = self._encode_chunks(chunk for prompt in prompts for chunk in prompt.chunks)
        return [
            PromptEmbeds(
                positive=_concatenate([known[chunk] for chunk in prompt.positive]),
                negative=None
                if prompt.negative is None
                else _concatenate([known[chunk] for chunk in prompt.negative]),
            )
            for prompt in prompts
        ]

    def _chunks(self, field: str, text: str) -> tuple[Chunk, ...]:
        _check_surrogates(field, text)
        texts = weighted_texts(text)
        by_tokenizer = [section_tokenizer.tokenize(texts) for section_tokenizer in self._tokenizers]
        length = max(len(sections) for sections in by_tokenizer)
        if length > MAX_CHUNKS:
            capacity = self._tokenizers[0].capacity
            raise UnsupportedRequestError(
                f"{field}: the text is too long: it needs {length} chunks of {capacity} tokens, "
                f"and at most {MAX_CHUNKS} chunks ({MAX_CHUNKS * capacity} tokens) are accepted; "
                "shorten it"
            )
        # Two tokenizers might split a text into different numbers of tokens, though none known
        # does.
        even = [
            sections + [section_tokenizer.empty] * (length - len(sections))
            for sections, section_tokenizer in zip(by_tokenizer, self._tokenizers, strict=True)
        ]
        return tuple(zip(*even, strict=True))

    def _pad(self, chunks: tuple[Chunk, ...], length: int) -> tuple[Chunk, ...]:
        empty = tuple(section_tokenizer.empty for section_tokenizer in self._tokenizers)
        return chunks + (empty,) * (length - len(chunks))

    def _encode_chunks(self, chunks: Iterable[Chunk]) -> dict[Chunk, Conditioning]:
        known: dict[Chunk, Conditioning] = {}
        missing: list[Chunk] = []
        for chunk in dict.fromkeys(chunks):
            if chunk in self._cache:
                self._cache.move_to_end(chunk)
                known[chunk] = self._cache[chunk]
            else:
                missing.append(chunk)
        for batch in _batches(missing):
            encoded = zip(batch, self._encoders.encode(batch), strict=True)
            for chunk, conditioning in encoded:
                known[chunk] = self._cache[chunk] = conditioning
        while len(self._cache) > self._limit:
            self._cache.popitem(last=False)
        return known


def _check_surrogates(field: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnsupportedRequestError(
            f"{field}: character {error.start + 1} is a lone surrogate, "
            f"U+{ord(text[error.start]):04X}; send valid Unicode"
        ) from error


def _batches(chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    for start in range(0, len(chunks), MAX_BATCH):
        yield chunks[start : start + MAX_BATCH]


def _concatenate(chunks: Sequence[Conditioning]) -> Conditioning:
    """Return the concatenated embeddings of `chunks`; a single one is returned as it is."""
    if len(chunks) == 1:
        return chunks[0]
    return Conditioning(torch.cat([chunk.hidden for chunk in chunks]), chunks[0].pooled)
