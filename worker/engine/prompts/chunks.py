"""Tokenize texts, and split them into chunks of the text encoder's input length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from worker.engine.prompts.emphasis import WeightedText

# How many tokens before the end of a full chunk are searched for a comma or the end of a word: the
# web UI's default, so that its prompts are cut at the same places.
BREAK_SEARCH_TOKENS: Final = 20

_WORD_ENDS: Final = "</w>"  # how CLIP's vocabulary marks the last token of a word
_COMMA: Final = "," + _WORD_ENDS


@dataclass(frozen=True, slots=True)
class Section:
    """The token ids of one chunk for one text encoder: start, up to 75 text tokens, end, padding.

    `weights` has one weight for each of `ids`, and is empty if all are 1. The first `filled` ids
    are not padding.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    filled: int


class SectionTokenizer:
    """Tokenizes texts for one text encoder and cuts them into sections; thread-safe."""

    def __init__(self, tokenizer: Any, length: int) -> None:
        """Use a CLIP `tokenizer`; sections have `length` ids, including start and end."""
        self._tokenizer = tokenizer
        self._length = length
        self._start, self._end = tokenizer("").input_ids
        # A call changes the tokenizer's settings, which raises an error during another call.
        self._lock = Lock()
        self.empty: Final = self._section([], [])

    @property
    def capacity(self) -> int:
        """Return the number of text tokens that fit into a section."""
        return self._length - 2

    def tokenize(self, texts: Sequence[WeightedText]) -> list[Section]:
        """Return the sections of the concatenated `texts`; an empty text gives one empty section.

        The texts must not contain lone surrogates.
        """
        ids: list[int] = []
        weights: list[float] = []
        with self._lock:
            for part in texts:
                part_ids = self._ids(part.text)
                ids += part_ids
                weights += [part.weight] * len(part_ids)
            tokens = self._tokenizer.convert_ids_to_tokens(ids)
        if not ids:
            return [self.empty]
        return [self._section(ids[cut], weights[cut]) for cut in cuts(tokens, self.capacity)]

    def _ids(self, text: str) -> list[int]:
        # A user who writes <|endoftext|> means these characters: the special token would end the
        # text for Stable Diffusion XL's pooled embedding.
        encoded = self._tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=False,
            verbose=False,
        )
        ids: list[int] = encoded.input_ids
        return ids

    def _section(self, ids: list[int], weights: list[float]) -> Section:
        filled = len(ids) + 2
        padding = self._length - filled
        emphasis = any(weight != 1 for weight in weights)
        return Section(
            ids=(self._start, *ids, self._end, *[self._tokenizer.pad_token_id] * padding),
            weights=(1.0, *weights, 1.0, *[1.0] * padding) if emphasis else (),
            filled=filled,
        )


def cuts(tokens: Sequence[str], capacity: int) -> Iterator[slice]:
    """Yield slices of at most `capacity` tokens, which end after a comma or word if possible.

    A comma is preferred: text between two commas mostly belongs together, and the encoder sees a
    chunk without its neighbours. Without a comma or word end among the last 20 tokens, the slice
    has the full length.
    """
    start = 0
    while start < len(tokens):
        end = _cut(tokens, start, start + capacity)
        yield slice(start, end)
        start = end


def _cut(tokens: Sequence[str], start: int, end: int) -> int:
    if end >= len(tokens):
        return len(tokens)
    near = range(end, max(end - BREAK_SEARCH_TOKENS, start), -1)
    commas = (place for place in near if tokens[place - 1] == _COMMA)
    words = (place for place in near if tokens[place - 1].endswith(_WORD_ENDS))
    return next(commas, next(words, end))
