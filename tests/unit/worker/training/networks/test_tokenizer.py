from pathlib import Path
from typing import Any

import pytest

from common.domain.prompts import DEFAULT_NEGATIVE_PROMPT, enhance_prompt
from worker.engine.models.byte_tokenizer import MAX_TOKENS
from worker.training.networks.tokenizer import world_tokenizer
from worker.training.scenes.captions import VOCABULARY


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return world_tokenizer(VOCABULARY)


def test_every_word_of_the_world_is_one_token(tokenizer: Any) -> None:
    ids = [tokenizer(word).input_ids for word in VOCABULARY]
    assert {len(each) for each in ids} == {3}  # between start and end
    assert len({each[1] for each in ids}) == len(VOCABULARY)


def test_the_gateway_s_additions_fit_into_one_chunk(tokenizer: Any) -> None:
    assert len(tokenizer(DEFAULT_NEGATIVE_PROMPT).input_ids) < MAX_TOKENS
    longest = max(
        len(tokenizer(enhance_prompt("a red heart", seed)).input_ids) for seed in range(99)
    )
    assert longest < MAX_TOKENS


@pytest.mark.parametrize("text", ["", "Zebras crossing, 85 mm", "café 日本語 🎈", "a" * 500])
def test_any_text_is_tokenized(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, padding="max_length", truncation=True).input_ids
    assert len(ids) == MAX_TOKENS
    assert max(ids) < len(tokenizer)


def test_a_saved_tokenizer_loads_unchanged(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    text = "a red star, striking composition"
    assert again(text).input_ids == tokenizer(text).input_ids
