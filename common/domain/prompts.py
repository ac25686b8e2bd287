"""Prompt enhancement with style words that suit the prompt's subject; default negative prompt.

The choice of style words depends on the prompt and the seed only, so every gateway returns the same
prompt for the same request.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

DEFAULT_NEGATIVE_PROMPT: Final = (
    "blurry, out of focus, noisy, jpeg artifacts, distorted proportions, "
    "malformed hands, extra limbs, disfigured face, cropped subject, watermark, text, signature"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject of prompts: words that identify it, and the options for each part of its style."""

    words: frozenset[str]
    looks: tuple[str, ...]
    lights: tuple[str, ...]
    finishes: tuple[str, ...]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# If a prompt has equally many words of two subjects, the earlier one is taken: a medium before
# what it shows, and living things before their surroundings.
SUBJECTS: Final = (
    Subject(
        _words(
            "painting watercolor watercolour oil acrylic sketch drawing illustration anime manga "
            "comic cartoon pixel engraving woodcut pastel charcoal ink poster fresco mosaic"
        ),
        ("confident brushwork", "clean deliberate lines", "expressive composition"),
        ("balanced tones", "luminous colour", "gentle contrast"),
        ("gallery piece", "richly textured surface", "harmonious palette"),
    ),
    Subject(
        _words(
            "person people man woman boy girl child baby face portrait selfie model bride king "
            "queen soldier dancer doctor chef player crowd family smile hair"
        ),
        ("natural portrait", "85 mm portrait lens", "candid portrait"),
        ("soft window light", "warm rim light", "gentle studio light"),
        ("true skin texture", "sharp eyes, shallow depth of field", "subtle film grain"),
    ),
    Subject(
        _words(
            "cat dog kitten puppy bird horse lion tiger bear wolf fox elephant fish butterfly "
            "animal rabbit deer owl monkey cow sheep snake insect bee whale dolphin"
        ),
        ("wildlife photograph", "intimate animal portrait", "200 mm telephoto"),
        ("soft morning light", "golden backlight", "diffuse daylight"),
        ("fine fur and feather detail", "creamy background blur", "crisp focus on the eyes"),
    ),
    Subject(
        _words(
            "house building city street tower bridge castle church temple room kitchen bedroom "
            "office interior skyline apartment hotel museum station architecture"
        ),
        ("architectural photograph", "straight verticals, wide lens", "considered perspective"),
        ("blue hour light", "low raking sun", "even overcast light"),
        ("crisp material detail", "clean geometry", "quiet colour grading"),
    ),
    Subject(
        _words(
            "landscape mountain forest tree lake river sea ocean beach desert valley sky sunset "
            "sunrise waterfall field garden island meadow hill snow cloud canyon"
        ),
        ("sweeping landscape photograph", "layered depth", "wide vista"),
        ("golden hour light", "clearing storm light", "soft haze at dawn"),
        ("deep focus, rich tonal range", "delicate atmospheric detail", "vivid natural colour"),
    ),
    Subject(
        _words(
            "food cake bread pizza fruit salad coffee soup dessert dish meal burger sushi wine "
            "breakfast chocolate vegetable"
        ),
        ("appetising food photograph", "close table view", "styled still life"),
        ("soft side light", "bright airy light", "warm evening light"),
        ("fresh glistening texture", "shallow depth of field", "inviting colour"),
    ),
    Subject(
        _words(
            "car bench chair table lamp phone watch bottle shoe bag bicycle motorcycle train ship "
            "plane robot machine toy book vase product jewelry ring guitar"
        ),
        ("studio product photograph", "precise object study", "clean composition"),
        ("large softbox light", "controlled reflections", "crisp directional light"),
        ("tactile surface detail", "sharp edge to edge", "neutral colour grading"),
    ),
)
GENERIC_SUBJECT: Final = Subject(
    frozenset(),
    ("striking composition", "thoughtful framing", "clear focal point"),
    ("natural light", "soft directional light", "atmospheric light"),
    ("fine detail", "rich texture", "balanced colour"),
)


def enhance_prompt(prompt: str, seed: int) -> str:
    """Return the prompt followed by a style that suits its subject; `seed` selects the words."""
    subject = find_subject(prompt)
    draw = hashlib.sha256(f"{seed}".encode()).digest()
    parts = (subject.looks, subject.lights, subject.finishes)
    picked = [choices[byte % len(choices)] for choices, byte in zip(parts, draw, strict=False)]
    return ", ".join([prompt.rstrip(" ,.;"), *picked])


def find_subject(prompt: str) -> Subject:
    """Return the subject with the most words in the prompt, or the generic one if none matches.

    Plurals ending in `s` also match their singular.
    """
    spoken = re.findall(r"[a-z]+", prompt.lower())
    known = {*spoken, *(word.removesuffix("s") for word in spoken)}
    best = max(SUBJECTS, key=lambda subject: len(subject.words & known))
    return best if best.words & known else GENERIC_SUBJECT
