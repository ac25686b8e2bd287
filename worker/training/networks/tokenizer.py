"""A tokenizer with one token for each word of the world; other text is tokenized as bytes."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from transformers import CLIPTokenizer

from worker.engine.models.byte_tokenizer import MAX_TOKENS, byte_vocabulary

_WORD_END: Final = "</w>"
Merge = tuple[str, str]


def world_tokenizer(words: Iterable[str]) -> CLIPTokenizer:
    """Build a tokenizer in which each of `words` (a to z) is one token; it takes any text."""
    merges = merges_for(words)
    vocabulary = byte_vocabulary()
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def merges_for(words: Iterable[str]) -> list[Merge]:
    """Return byte-pair merges, in order of rank, that turn each of `words` into a single token.

    Each word is merged by the pairs known so far, and the remaining pieces from the left. New
    pairs rank lower, so they are never applied before those of earlier words.
    """
    merges: list[Merge] = []
    for word in dict.fromkeys(words):
        pieces = merged([*word[:-1], word[-1] + _WORD_END], merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    return merges


def merged(pieces: list[str], merges: list[Merge]) -> list[str]:
    """Merge neighbouring pieces like a byte-pair tokenizer: the lowest rank first, repeatedly."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    while True:
        pairs = list(pairwise(pieces))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)), default=None)
        if best not in ranks:
            return pieces
        at = pairs.index(best)
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]
