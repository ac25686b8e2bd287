"""Where long texts are cut."""

from threading import Barrier, Thread
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker.engine.prompts.chunks import BREAK_SEARCH_TOKENS, SectionTokenizer, cuts
from worker.engine.prompts.emphasis import WeightedText, weighted_texts

ROOM = 75
WORD, COMMA, PART = "word</w>", ",</w>", "part"


def sizes(tokens: list[str], capacity: int = ROOM) -> list[int]:
    return [len(tokens[cut]) for cut in cuts(tokens, capacity)]


def test_a_text_that_fits_is_one_chunk() -> None:
    assert sizes([]) == []
    assert sizes([PART] * ROOM) == [ROOM]


def test_a_chunk_ends_after_a_nearby_comma() -> None:
    assert sizes([WORD] * 60 + [COMMA] + [WORD] * 30) == [61, 30]
    assert sizes([WORD] * 60 + [COMMA] + [WORD] * 5 + [COMMA] + [WORD] * 30) == [67, 30]


def test_a_distant_comma_does_not_count() -> None:
    assert sizes([WORD] * (ROOM - BREAK_SEARCH_TOKENS) + [COMMA] + [WORD] * 60) == [
        ROOM - BREAK_SEARCH_TOKENS + 1,
        60,
    ]
    assert sizes([WORD] * (ROOM - BREAK_SEARCH_TOKENS - 1) + [COMMA] + [WORD] * 60) == [ROOM, 40]


def test_without_a_comma_a_chunk_ends_after_a_word() -> None:
    assert sizes([WORD] * 70 + [PART] * 10 + [WORD]) == [70, 11]


def test_a_longer_word_is_cut_where_the_chunk_is_full() -> None:
    assert sizes([PART] * 160) == [75, 75, 10]


@given(st.lists(st.sampled_from([WORD, COMMA, PART]), max_size=400), st.integers(1, 100))
def test_nothing_is_lost_at_the_cuts(tokens: list[str], capacity: int) -> None:
    chunks = [tokens[cut] for cut in cuts(tokens, capacity)]
    assert [token for chunk in chunks for token in chunk] == tokens
    assert all(0 < len(chunk) <= capacity for chunk in chunks)
    assert all(len(chunk) > capacity - BREAK_SEARCH_TOKENS for chunk in chunks[:-1])


def test_every_character_is_in_some_chunk(standin: Any) -> None:
    section_tokenizer = SectionTokenizer(standin.tokenizer, 77)
    text = "a cat, " * 40 + "x" * 200 + " <|endoftext|> 猫"
    sections = section_tokenizer.tokenize([WeightedText(text, 1.0)])
    inner = [id_ for part in sections for id_ in part.ids[1 : part.filled - 1]]
    tokens = standin.tokenizer.convert_ids_to_tokens(inner)
    assert len(sections) == 6
    assert all(len(part.ids) == 77 and part.weights == () for part in sections)
    assert standin.tokenizer.decode(inner).replace(" ", "") == text.replace(" ", "")
    assert "<|endoftext|>" not in tokens


def test_weights_belong_to_their_tokens(standin: Any) -> None:
    (section,) = SectionTokenizer(standin.tokenizer, 77).tokenize(weighted_texts("a (red:1.3) cat"))
    assert section.filled == 9
    assert section.weights == (1.0, 1.0, 1.3, 1.3, 1.3, *[1.0] * 72)


def test_a_shorter_text_encoder_has_smaller_sections(standin: Any) -> None:
    sections = SectionTokenizer(standin.tokenizer, 7).tokenize([WeightedText("a b c d e f g", 1.0)])
    assert [part.filled for part in sections] == [7, 4]


def test_several_threads_tokenize_at_once(standin: Any) -> None:
    section_tokenizer = SectionTokenizer(standin.tokenizer, 77)
    texts = [weighted_texts(f"(word {number}:1.{number}) " * 30) for number in range(1, 5)]
    alone = [section_tokenizer.tokenize(text) for text in texts]
    together: list[list[Any]] = [[] for _ in texts]
    barrier = Barrier(len(texts))

    def read_often(index: int) -> None:
        barrier.wait(10)
        together[index] = [section_tokenizer.tokenize(texts[index]) for _ in range(25)]

    threads = [Thread(target=read_often, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert together == [[sections] * 25 for sections in alone]
