"""Random captions of scenes: several wordings, some incomplete, some with unrelated words.

API clients and the gateway add words that have no meaning for these images (styles, default
negative prompts), so the model is trained to ignore them.
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
# Share of empty captions, for a thing and for an empty hole. Guidance exaggerates the difference
# that a caption makes to the empty one, which should therefore stand for neither: a mean of things
# alone would move the background away from them, and the background alone would move things away
# from its colour.
_NO_CAPTION: Final = 0.08
_NO_CAPTION_IF_EMPTY: Final = 0.6
# Share of captions without colour or shape. Small, since what is missing can only be guessed, and
# a wrong guess teaches nothing.
_NO_COLOUR: Final = 0.05
_NO_SHAPE: Final = 0.05

_UNRELATED: Final = tuple(
    phrase
    for subject in (GENERIC_SUBJECT, *SUBJECTS)
    for phrase in (*subject.looks, *subject.lights, *subject.finishes, *sorted(subject.words))
) + tuple(DEFAULT_NEGATIVE_PROMPT.split(", "))
# Each of these is one token of the model: tokenized as bytes, the gateway's additions would not
# fit into one chunk of its text model.
VOCABULARY: Final = tuple(dict.fromkeys([*WORDS, *re.findall(r"\b[a-z]+\b", " ".join(_UNRELATED))]))
# Numbers of unrelated phrases; the default negative prompt has about twelve.
_COUNTS: Final = (1, 2, 3, 4, 12)


def caption(rng: Random, scene: Scene, unrelated: float = 0.25) -> str:
    """Return a random caption of the content of the hole in `scene`; sometimes an empty string.

    `unrelated` is the probability (0 to 1) that unrelated phrases are appended.
    """
    no_caption = _NO_CAPTION_IF_EMPTY if scene.thing is None else _NO_CAPTION
    text = "" if rng.random() < no_caption else _description(rng, scene)
    if rng.random() < unrelated:
        count = _COUNTS[int(rng.integers(len(_COUNTS)))]
        extra = [one_of(rng, _UNRELATED) for _ in range(count)]
        text = ", ".join([text, *extra] if text else extra)
    return text


def short_caption(scene: Scene) -> str:
    """Return the shortest full caption of `scene`, such as "a red heart".

    For a scene without a shape, the caption names the background, as in "a blue background".
    """
    return _with_article(
        _background_name(scene.background) if scene.thing is None else _name(scene.thing)
    )


def _description(rng: Random, scene: Scene) -> str:
    background = _with_article(_background_name(scene.background))
    if scene.thing is None:
        return one_of(
            rng, (background, f"nothing on {background}", f"an empty {background.split(' ', 1)[1]}")
        )
    thing = _partial_description(rng, scene.thing)
    if rng.random() < 0.45:
        return thing
    return one_of(
        rng, (f"{thing} on {background}", f"{thing} on {background}", f"{background} with {thing}")
    )


def _partial_description(rng: Random, thing: Thing) -> str:
    """Return a random description of the shape and its colour, or occasionally of just one."""
    part = rng.random()
    if part < _NO_COLOUR:
        return one_of(rng, (_with_article(thing.shape), thing.shape))
    if part < _NO_COLOUR + _NO_SHAPE:
        return one_of(
            rng,
            (f"{_with_article(thing.colour)} shape", f"something {thing.colour}", thing.colour),
        )
    named = _name(thing)
    return one_of(
        rng,
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


def _name(thing: Thing) -> str:
    return f"{thing.colour} {thing.shape}"


def _background_name(back: Background) -> str:
    pattern = "" if back.pattern == "plain" else f"{back.pattern} "
    return f"{back.colour} {pattern}background"


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
