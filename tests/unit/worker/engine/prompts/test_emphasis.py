"""Emphasis marks: how they are parsed, and that no text is lost."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engine.prompts.emphasis import MAX_WEIGHT, MIN_WEIGHT, weighted_texts

HOSTILE = st.text("()[]\\:.+-019 a,é\n", max_size=200)


def pairs(prompt: str) -> list[tuple[str, float]]:
    return [(part.text, part.weight) for part in weighted_texts(prompt)]


def joined(prompt: str) -> str:
    return "".join(part.text for part in weighted_texts(prompt))


def escaped(text: str) -> str:
    return re.sub(r"([\\()\[\]])", r"\\\1", text)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", []),
        ("a red cat", [("a red cat", 1.0)]),
        ("a (red) cat", [("a ", 1.0), ("red", 1.1), (" cat", 1.0)]),
        ("((red))", [("red", 1.21)]),
        ("(red:1.21)", [("red", 1.21)]),
        ("[red]", [("red", 0.9091)]),
        ("[[red]]", [("red", 0.8264)]),
        ("[(red)]", [("red", 1.0)]),
        ("a [(red)] cat", [("a red cat", 1.0)]),
        ("(red:1.3)", [("red", 1.3)]),
        ("(red : 1.3 )", [("red ", 1.3)]),
        ("(red:.5)", [("red", 0.5)]),
        ("(red:2.)", [("red", 2.0)]),
        ("(red:+2)", [("red", 2.0)]),
        ("(red:0)", [("red", 0.0)]),
        ("(a (red:1.5) cat:2)", [("a ", 2.0), ("red", 3.0), (" cat", 2.0)]),
        ("(at 16:9:1.3)", [("at 16:9", 1.3)]),
        ("(a)(b)", [("ab", 1.1)]),
        (r"a \(red\) cat", [("a (red) cat", 1.0)]),
        (r"\[red\] \\ cat", [(r"[red] \ cat", 1.0)]),
        (r"(a \(red\):1.3)", [("a (red)", 1.3)]),
        (r"c:\dir", [(r"c:\dir", 1.0)]),
        ("at 16:9", [("at 16:9", 1.0)]),
        ("[at 16:9]", [("at 16:9", 0.9091)]),
    ],
)
def test_well_formed_emphasis_is_parsed(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert pairs(prompt) == expected


@pytest.mark.parametrize(
    "prompt",
    [
        "(", ")", "[", "]", "((red", "red))", "[red", "red]", ")red(", "(red]", "[red)",
        "(red:abc)", "(red:)", "(red:1.2.3)", "(red:1e3)", "(red:nan)", "red:1.3)", "[red:1.3)",
        "(red:\uff11.3)", "trailing \\",
    ],
)  # fmt: skip
def test_malformed_emphasis_is_text(prompt: str) -> None:
    assert pairs(prompt) == [(prompt, 1.0)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("((red)", [("(", 1.0), ("red", 1.1)]),
        ("(red))", [("red", 1.1), (")", 1.0)]),
        ("([red)", [("[red", 1.1)]),
        ("([red)]", [("[red", 1.1), ("]", 1.0)]),
        ("((re:zero))", [("(re:zero)", 1.1)]),
        ("(a [b (c] d)", [("a ", 1.1), ("b (c", 1.0), (" d", 1.1)]),
    ],
)
def test_an_unmatched_bracket_leaves_the_rest(
    prompt: str, expected: list[tuple[str, float]]
) -> None:
    assert pairs(prompt) == expected


def test_weights_have_limits() -> None:
    assert pairs("(red:99)") == [("red", MAX_WEIGHT)]
    assert pairs("(red:-1)") == [("red", MIN_WEIGHT)]
    assert pairs(f"(red:{'9' * 1000})") == [("red", MAX_WEIGHT)]
    assert pairs(f"((red:{'9' * 1000}):0)") == [("red", MIN_WEIGHT)]
    assert pairs("(" * 900 + "red" + ")" * 900) == [("red", MAX_WEIGHT)]
    assert pairs("[" * 900 + "red" + "]" * 900) == [("red", MIN_WEIGHT)]


@given(st.text(max_size=200))
def test_text_without_marks_stays_whole(text: str) -> None:
    assert joined(escaped(text)) == text
    assert all(part.weight == 1 for part in weighted_texts(escaped(text)))


@given(HOSTILE)
def test_any_text_is_valid_and_loses_only_marks(prompt: str) -> None:
    parts = weighted_texts(prompt)
    assert all(MIN_WEIGHT <= part.weight <= MAX_WEIGHT and part.text for part in parts)
    assert all(left.weight != right.weight for left, right in pairwise(parts))
    # Characters of marks may be removed; all others keep their order.
    kept = re.sub(r"[()\[\]\\:+\-.0-9\s]", "", prompt)
    assert re.sub(r"[()\[\]\\:+\-.0-9\s]", "", joined(prompt)) == kept


@st.composite
def emphasised_prompts(draw: st.DrawFn, outer: float = 1.0) -> tuple[str, list[tuple[str, float]]]:
    """A well-formed prompt within brackets of weight `outer`, and the weight of each letter."""
    text = draw(st.text("ab, \\([", min_size=1, max_size=5))
    letters = [(letter, outer) for letter in text]
    if draw(st.booleans()):
        return escaped(text), letters
    weight = draw(st.sampled_from([0.5, 1.1, 1.25, 2.0]))
    inner, inner_letters = draw(emphasised_prompts(min(outer * weight, MAX_WEIGHT)))
    mark = "" if weight == 1.1 else f":{weight}"
    return f"{escaped(text)}({inner}{mark})", letters + inner_letters


@given(emphasised_prompts())
def test_nested_emphasis_multiplies(made: tuple[str, list[tuple[str, float]]]) -> None:
    prompt, letters = made
    tokenize = [(letter, weight) for text, weight in pairs(prompt) for letter in text]
    assert [letter for letter, _ in tokenize] == [letter for letter, _ in letters]
    assert [weight for _, weight in tokenize] == pytest.approx(
        [weight for _, weight in letters], abs=1e-4
    )


@pytest.mark.parametrize(
    "piece", ["(", ")", "[", "]", "(]", "[)", "\\", ":", "(:", "(a:1", ": ", ":9", "((a))", "(a:1)"]
)
def test_long_hostile_prompts_are_parsed(piece: str) -> None:
    prompt = (piece * 2000)[:2000]
    assert len(joined(prompt)) <= len(prompt)
