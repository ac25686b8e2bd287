"""A CLIP tokenizer with a token for each word of the training captions, and one for each byte."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from transformers import CLIPTokenizer

from worker.engine.models.byte_tokenizer import MAX_TOKENS, byte_vocabulary

_WORD_END: Final = "</w>"
Merge = tuple[str, str]


def world_tokenizer(words: Iterable[str]) -> CLIPTokenizer:
    """Return a CLIP tokenizer in which each of `words` (letters a to z only) is one token.

    Any other text is tokenized as bytes, so every prompt is accepted.
    """
    merges = merges_for(words)
    vocabulary = byte_vocabulary()
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def merges_for(words: Iterable[str]) -> list[Merge]:
    """Return byte-pair merges, in order of rank, that turn each of `words` into a single token.

    Each word is first merged by the pairs of earlier words; the remaining pieces are merged from
    left to right by new pairs. New pairs rank lower, so they never change how earlier words are
    merged.
    """
    merges: list[Merge] = []
    for word in dict.fromkeys(words):
        pieces = merged([*word[:-1], word[-1] + _WORD_END], merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    return merges


def merged(pieces: list[str], merges: list[Merge]) -> list[str]:
    """Return `pieces` after byte-pair merging with `merges`, which are in order of rank.

    The neighbouring pair of lowest rank is merged first, until none of the neighbouring pairs is in
    `merges`.
    """
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    while True:
        pairs = list(pairwise(pieces))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)), default=None)
        if best not in ranks:
            return pieces
        at = pairs.index(best)
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]
