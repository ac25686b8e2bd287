"""What is said of a scene: in full or in part, in several wordings, now and then among noise.

People and the gateway add words the world does not know (styles, default negative prompts), so
the model is taught that these mean nothing.
"""

import re
from typing import Final

from common.domain.prompts import DEFAULT_NEGATIVE_PROMPT, GENERIC_SUBJECT, SUBJECTS
from worker.training.scenes.shapes import SHAPES
from worker.training.scenes.world import COLOURS, PATTERNS, Background, Random, Scene, Thing, one_of

# Every word with a meaning.
WORDS: Final = (
    *COLOURS,
    *SHAPES,
    *PATTERNS,
    *("a", "an", "the", "on", "in", "of", "with", "is", "that"),
    *("shape", "something", "background", "nothing", "empty"),
)
# How often nothing is said of a thing, and of a hole with nothing in it. Guidance exaggerates what
# a caption changes of what silence gives, so that is to be neither one: a mean of things alone
# turns the background away from them, and the background alone turns things away from its colour.
_SILENCE: Final = 0.08
_SILENCE_ON_NOTHING: Final = 0.6
# How often colour or shape is left out. Seldom: what is not said can only be guessed at, and there
# is nothing to learn from a wrong guess.
_NO_COLOUR: Final = 0.05
_NO_SHAPE: Final = 0.05

_UNRELATED: Final = tuple(
    phrase
    for subject in (GENERIC_SUBJECT, *SUBJECTS)
    for phrase in (*subject.looks, *subject.lights, *subject.finishes, *sorted(subject.words))
) + tuple(DEFAULT_NEGATIVE_PROMPT.split(", "))
# Each of these is one token of the model: spelled in bytes, what the gateway adds would
# not fit into what its text model reads at once.
VOCABULARY: Final = tuple(dict.fromkeys([*WORDS, *re.findall(r"\b[a-z]+\b", " ".join(_UNRELATED))]))
# How many unrelated phrases come together; as many as the default negative prompt has, too.
_COUNTS: Final = (1, 2, 3, 4, 12)


def caption(draw: Random, scene: Scene, unrelated: float = 0.25) -> str:
    """Say what is in the hole of `scene`; "" or only unrelated words once in a while.

    `unrelated` is how often unrelated words are added.
    """
    silence = _SILENCE_ON_NOTHING if scene.thing is None else _SILENCE
    said = "" if draw.random() < silence else _said(draw, scene)
    if draw.random() < unrelated:
        count = _COUNTS[int(draw.integers(len(_COUNTS)))]
        extra = [one_of(draw, _UNRELATED) for _ in range(count)]
        said = ", ".join([said, *extra] if said else extra)
    return said


def short_caption(scene: Scene) -> str:
    """Name the thing, or the background where there is none, always in the same words."""
    return _with_article(_behind(scene.background) if scene.thing is None else _named(scene.thing))


def _said(draw: Random, scene: Scene) -> str:
    behind = _with_article(_behind(scene.background))
    if scene.thing is None:
        return one_of(draw, (behind, f"nothing on {behind}", f"an empty {behind.split(' ', 1)[1]}"))
    thing = _part_of(draw, scene.thing)
    if draw.random() < 0.45:
        return thing
    return one_of(draw, (f"{thing} on {behind}", f"{thing} on {behind}", f"{behind} with {thing}"))


def _part_of(draw: Random, thing: Thing) -> str:
    """Name colour and shape most of the time, else one of them."""
    part = draw.random()
    if part < _NO_COLOUR:
        return one_of(draw, (_with_article(thing.shape), thing.shape))
    if part < _NO_COLOUR + _NO_SHAPE:
        return one_of(
            draw,
            (f"{_with_article(thing.colour)} shape", f"something {thing.colour}", thing.colour),
        )
    named = _named(thing)
    return one_of(
        draw,
        (
            _with_article(named),
            _with_article(named),
            named,
            f"the {named}",
            f"a {thing.shape} that is {thing.colour}",
            f"{_with_article(thing.shape)} in {thing.colour}",
            f"{thing.colour}, {thing.shape}",
        ),
    )


def _named(thing: Thing) -> str:
    return f"{thing.colour} {thing.shape}"


def _behind(back: Background) -> str:
    pattern = "" if back.pattern == "plain" else f"{back.pattern} "
    return f"{back.colour} {pattern}background"


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
