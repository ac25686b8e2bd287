r"""Parser of emphasis marks in prompts.

The syntax is that of AUTOMATIC1111's Stable Diffusion web UI, for which many prompts are written:

    (word)      weight × 1.1; nested brackets multiply: ((word)) is × 1.21
    [word]      weight ÷ 1.1
    (word:1.3)  weight × 1.3
    \( \) \[ \] \\   the characters themselves

Malformed marks are taken literally, as text: a bracket without its counterpart, and round brackets
with a colon that is not followed by a number, as in `(word:abc)`. The web UI guesses the meaning in
these cases.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final

EMPHASIS: Final = 1.1
# Above the largest weight every image is noise; a weight below 0 has no meaning.
MIN_WEIGHT: Final = 0.0
MAX_WEIGHT: Final = 10.0

_DECIMALS: Final = 4  # so that ((word)) is the same as (word:1.21)
_OPENING: Final = {")": "(", "]": "["}
# Possessive quantifiers do not backtrack, so the time is linear for any text.
_LEXEME: Final = re.compile(
    r"""
      \\(?P<escaped>[\\()\[\]])
    | (?P<opening>[(\[])
    | (?P<closing>(?: :\s*+(?P<weight>[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++))\s*+ )?\) | \])
    | (?P<colon>:)
    | [^\\()\[\]:]++
    | \\
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class WeightedText:
    """A part of a prompt and its weight; 1 means no emphasis."""

    text: str
    weight: float


def weighted_texts(prompt: str) -> list[WeightedText]:
    """Return the parts of `prompt` with their weights, emphasis marks removed.

    Neighbouring parts have different weights. Every prompt is valid: malformed marks are text.
    Weights are clamped to `MIN_WEIGHT` to `MAX_WEIGHT`, so the depth of nesting does not have to be
    limited.
    """
    lexemes = list(_LEXEME.finditer(prompt))
    factors, ends = _match_brackets(lexemes)
    weights = [1.0]
    texts: list[WeightedText] = []
    for place, lexeme in enumerate(lexemes):
        if place in factors:
            weights.append(_clamp(weights[-1] * factors[place]))
        elif place in ends:
            weights.pop()
        else:
            text = lexeme["escaped"] or lexeme.group()
            texts.append(WeightedText(text, round(weights[-1], _DECIMALS)))
    return [
        WeightedText("".join(part.text for part in parts), weight)
        for weight, parts in groupby(texts, attrgetter("weight"))
    ]


def _match_brackets(lexemes: Sequence[re.Match[str]]) -> tuple[dict[int, float], set[int]]:
    """Return the weight factor by index of opening bracket, and the indices of closing brackets.

    Only brackets that mark emphasis are included. A closing bracket matches the last unclosed
    bracket of its kind; brackets opened after that one are text.
    """
    factors: dict[int, float] = {}
    ends: set[int] = set()
    unclosed: list[int] = []
    waiting: Counter[str] = Counter()
    announced: set[int] = set()  # brackets in which a colon was found
    for place, lexeme in enumerate(lexemes):
        if lexeme["opening"]:
            unclosed.append(place)
            waiting[lexeme["opening"]] += 1
        elif lexeme["colon"]:
            announced.update(unclosed[-1:])
        elif lexeme["closing"] and waiting[_OPENING[lexeme["closing"][-1]]]:
            start = _close_bracket(lexeme, unclosed, waiting, lexemes)
            factor = _factor(lexeme, announced=start in announced)
            if factor is not None:
                factors[start] = factor
                ends.add(place)
    return factors, ends


def _close_bracket(
    closing: re.Match[str],
    unclosed: list[int],
    waiting: Counter[str],
    lexemes: Sequence[re.Match[str]],
) -> int:
    """Return the index of the opening bracket that `closing` matches.

    That bracket and all later brackets are removed from `unclosed` and from the counts in
    `waiting`.
    """
    expected = _OPENING[closing["closing"][-1]]
    while True:
        place = unclosed.pop()
        opening = lexemes[place]["opening"]
        waiting[opening] -= 1
        if opening == expected:
            return place


def _factor(closing: re.Match[str], *, announced: bool) -> float | None:
    """Return the weight factor of a pair of brackets; None if the brackets are text.

    `announced` is true if a colon was found inside the brackets, which announces a weight.
    """
    if closing["closing"] == "]":
        return 1 / EMPHASIS
    if closing["weight"]:
        return _clamp(float(closing["weight"]))
    return None if announced else EMPHASIS


def _clamp(weight: float) -> float:
    return min(max(weight, MIN_WEIGHT), MAX_WEIGHT)
