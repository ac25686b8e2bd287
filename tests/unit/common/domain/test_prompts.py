import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.domain.prompts import GENERIC_SUBJECT, SUBJECTS, enhance_prompt, find_subject


@pytest.mark.parametrize(
    ("prompt", "index"),
    [
        ("an oil painting of a cat", 0),
        ("portrait of an old woman", 1),
        ("two Cats sitting on a bench", 2),
        ("a kitchen", 3),
        ("misty MOUNTAINS above a lake", 4),
        ("a slice of chocolate cake", 5),
        ("a red car", 6),
    ],
)
def test_the_subject_of_a_prompt_is_found(prompt: str, index: int) -> None:
    assert find_subject(prompt) is SUBJECTS[index]


@pytest.mark.parametrize("prompt", ["", "xyzzy", "кот на скамейке", "猫"])
def test_a_prompt_without_a_known_subject_gets_the_generic_style(prompt: str) -> None:
    assert find_subject(prompt) is GENERIC_SUBJECT


@pytest.mark.parametrize("subject", [*SUBJECTS, GENERIC_SUBJECT])
def test_every_choice_of_a_subject_is_selected_by_some_seed(subject: object) -> None:
    prompt = " ".join(sorted(getattr(subject, "words", ())))
    enhanced = " ".join(enhance_prompt(prompt, seed) for seed in range(60))
    for part in ("looks", "lights", "finishes"):
        assert all(choice in enhanced for choice in getattr(subject, part))


@given(st.text(max_size=200), st.integers(0, 2**32 - 1))
def test_a_style_is_appended_and_the_same_for_the_same_seed(prompt: str, seed: int) -> None:
    enhanced = enhance_prompt(prompt, seed)
    assert enhanced.startswith(prompt.rstrip(" ,.;") + ", ")
    assert enhanced == enhance_prompt(prompt, seed)


def test_an_end_of_sentence_is_not_doubled() -> None:
    assert enhance_prompt("A cat.", 1).startswith("A cat, ")
