"""The tokenizer: the world's words are one token each, anything else is spelled in bytes."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from transformers import CLIPTokenizer

from worker.engine.models.byte_tokenizer import MAX_TOKENS, byte_vocabulary

_WORD_END: Final = "</w>"
Merge = tuple[str, str]


def world_tokenizer(words: Iterable[str]) -> CLIPTokenizer:
    """Build a tokenizer in which each of `words` (a to z) is one token, and any text is taken."""
    merges = merges_for(words)
    vocabulary = byte_vocabulary()
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def merges_for(words: Iterable[str]) -> list[Merge]:
    """Give pairs to merge, first ones first, that turn each of `words` into a single piece.

    Each word is first merged by the pairs known so far, and what is left of it from its start.
    Later pairs rank lower, so they never come before those that an earlier word needs.
    """
    merges: list[Merge] = []
    for word in dict.fromkeys(words):
        pieces = merged([*word[:-1], word[-1] + _WORD_END], merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    return merges


def merged(pieces: list[str], merges: list[Merge]) -> list[str]:
    """Merge neighbours as a byte-pair tokenizer does: the pair of the lowest rank, then again."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    while True:
        pairs = list(pairwise(pieces))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)), default=None)
        if best not in ranks:
            return pieces
        at = pairs.index(best)
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]
