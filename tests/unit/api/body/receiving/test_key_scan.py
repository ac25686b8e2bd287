import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.body.receiving.key_scan import MAX_KEYS, MAX_TEXTS, KeyScanner
from common.domain.api_key import new_key

KEY = new_key()


@given(st.integers(1, 70), st.binary(max_size=60), st.binary(max_size=60))
def test_a_key_is_found_wherever_the_chunks_are_cut(size: int, before: bytes, after: bytes) -> None:
    body = before + b'"' + KEY.encode() + b'"' + after
    scanner = KeyScanner()
    found = [key for at in range(0, len(body), size) for key in scanner.feed(body[at : at + size])]
    assert found == [KEY]


@pytest.mark.parametrize(
    "text",
    [KEY[:-1], KEY.upper(), KEY[:-1] + "!", "adm" + KEY[3:], ""],
    ids=["short", "upper case", "other letters", "other prefix", "empty"],
)
def test_other_text_is_no_key(text: str) -> None:
    assert KeyScanner().feed(text.encode() + b'"') == []


def test_a_key_with_a_wrong_checksum_is_not_reported() -> None:
    last = "1" if KEY[-1] == "0" else "0"
    assert KeyScanner().feed(KEY[:-1].encode() + last.encode()) == []


def test_a_repeated_key_is_reported_once() -> None:
    scanner = KeyScanner()
    assert scanner.feed(f"{KEY},{KEY}".encode()) == [KEY]
    assert scanner.feed(KEY.encode()) == []


def test_the_number_of_keys_is_limited() -> None:
    keys = [new_key() for _ in range(MAX_KEYS + 1)]
    assert KeyScanner().feed(",".join(keys).encode()) == keys[:MAX_KEYS]


def test_the_number_of_texts_like_keys_is_limited() -> None:
    scanner = KeyScanner()
    scanner.feed((KEY[:-1] + "!" + "inf_" + "0" * 43).encode() * MAX_TEXTS)
    assert scanner.feed(KEY.encode()) == []
