"""The format of API keys, and their digests."""

import string

from hypothesis import example, given
from hypothesis import strategies as st

from common.domain.api_key import (
    ALPHABET,
    LENGTH,
    PREFIX,
    KeyKind,
    digest,
    is_well_formed,
    last_four,
    new_key,
)

# Lone surrogates too: a JSON body can hold them.
ANY_TEXT = st.text(st.characters(), max_size=60)
KEYS = st.builds(new_key)


def test_a_new_key_is_well_formed() -> None:
    key = new_key()
    assert is_well_formed(key)
    assert key.startswith(PREFIX)
    assert len(key) == LENGTH
    assert set(key.removeprefix(PREFIX)) <= set(ALPHABET)


def test_keys_do_not_repeat() -> None:
    assert len({new_key() for _ in range(1000)}) == 1000


@given(ANY_TEXT | st.text(ALPHABET, min_size=LENGTH - 4, max_size=LENGTH - 4).map(PREFIX.__add__))
@example("")
@example(PREFIX)
@example("inf_" + "\ud800" * 43)
def test_junk_is_rejected(junk: str) -> None:
    assert not is_well_formed(junk)


@given(KEYS, st.integers(0, LENGTH - 1), st.characters())
def test_one_changed_character_is_rejected(key: str, position: int, other: str) -> None:
    changed = key[:position] + other + key[position + 1 :]
    assert is_well_formed(changed) == (changed == key)


@given(KEYS, st.integers(0, LENGTH - 2))
def test_two_swapped_characters_are_rejected(key: str, position: int) -> None:
    swapped = key[:position] + key[position + 1] + key[position] + key[position + 2 :]
    assert is_well_formed(swapped) == (swapped == key)


@given(KEYS, st.sampled_from(string.whitespace))
def test_space_around_a_key_is_rejected(key: str, space: str) -> None:
    assert not is_well_formed(key + space)
    assert not is_well_formed(space + key)


def test_the_digest_depends_on_key_and_pepper() -> None:
    key, other = new_key(), new_key()
    assert digest(key, "pepper") == digest(key, "pepper")
    assert len({digest(key, "pepper"), digest(key, "salt"), digest(other, "pepper")}) == 3
    assert len(digest(key, "pepper")) == 32


def test_an_api_key_is_not_well_formed_as_an_admin_key() -> None:
    api, admin = new_key(), new_key(KeyKind.ADMIN)
    assert admin.startswith("adm_")
    assert is_well_formed(admin, KeyKind.ADMIN)
    assert not is_well_formed(admin)
    assert not is_well_formed(api, KeyKind.ADMIN)
    assert not is_well_formed("adm_" + api.removeprefix("inf_"), KeyKind.ADMIN)


def test_a_key_is_recognized_by_its_last_four_characters() -> None:
    assert last_four("inf_0123456789") == "6789"
