"""Encoded prompts: equality with diffusers, emphasis, length."""

from typing import Any

import pytest
import torch

from common.domain.errors import UnsupportedRequestError
from tests.unit.worker.engine.prompts.encodings import (
    LONG,
    as_diffusers,
    counted_chunks,
    encoded,
    equal,
    near,
)
from worker.engine.prompts.encoder import MAX_CHUNKS, PromptEncoder, TokenizedPrompt

SHORT = ["", "a red cat", "ein Kätzchen, 猫 🐈", "x" * 75, "  many   spaces ", "5 (five", "a: b"]
STANDIN_WIDTH = 32


@pytest.mark.parametrize("prompt", SHORT)
def test_a_short_plain_prompt_equals_diffusers_encoding(
    pipeline: Any, encoder: PromptEncoder, prompt: str
) -> None:
    expected = as_diffusers(pipeline, prompt, "blurry, bad")
    assert equal(encoded(encoder, prompt).positive, expected.positive)
    assert equal(encoded(encoder, "blurry, bad").positive, expected.negative)
    both = encoded(encoder, "another", "blurry, bad")
    assert equal(both.negative, expected.negative)  # remembered


@pytest.mark.parametrize("negative", ["", "blurry, bad"])
def test_prompt_and_negative_prompt_in_one_batch(
    pipeline: Any, encoder: PromptEncoder, negative: str
) -> None:
    expected = as_diffusers(pipeline, "a red cat", negative)
    with counted_chunks(pipeline) as batches:
        guided = encoded(encoder, "a red cat", negative)
    assert batches == [2]
    assert near(guided.positive, expected.positive)
    assert near(guided.negative, expected.negative)


def test_no_negative_prompt_means_no_guidance(encoder: PromptEncoder) -> None:
    assert encoded(encoder, "a red cat", None).negative is None
    assert encoded(encoder, "a red cat", "").negative is not None


def lengthened(encoder: PromptEncoder, prompt: str, plain: str) -> list[torch.Tensor]:
    """Return each token's norm relative to the plain prompt, for each text encoder."""
    changed, unchanged = encoded(encoder, prompt).positive, encoded(encoder, plain).positive
    halves = zip(
        torch.split(changed.hidden, STANDIN_WIDTH, dim=1),
        torch.split(unchanged.hidden, STANDIN_WIDTH, dim=1),
        strict=True,
    )
    ratios = []
    for after, before in halves:
        ratio = after.norm(dim=1) / before.norm(dim=1)
        assert torch.allclose(after, before * ratio.unsqueeze(1), atol=1e-5)
        ratios.append(ratio)
    return ratios


@pytest.mark.parametrize(
    ("mark", "weight"), [("(red)", 1.1), ("((red))", 1.21), ("(red:1.3)", 1.3), ("[red]", 1 / 1.1)]
)
def test_emphasis_changes_the_rows_of_its_word(
    encoder: PromptEncoder, mark: str, weight: float
) -> None:
    for ratio in lengthened(encoder, f"a {mark} cat", "a red cat"):
        # The start and `a`, then r, e and d, each a token for the stand-ins.
        others = torch.cat([ratio[:2], ratio[5:]])
        assert torch.allclose(others, others.mean(), rtol=1e-4)
        assert torch.allclose(ratio[2:5] / others.mean(), torch.tensor(weight), rtol=1e-3)


def test_emphasis_does_not_change_the_pooled_embedding(xl: Any) -> None:
    encoder = PromptEncoder(xl)
    emphasised = encoded(encoder, "a (red:1.3) cat").positive.pooled
    plain = encoded(encoder, "a red cat").positive.pooled
    assert emphasised is not None
    assert plain is not None
    assert torch.equal(emphasised, plain)


def test_a_weight_of_one_changes_nothing(encoder: PromptEncoder) -> None:
    plain = encoder.tokenize("a red cat", "blurry")
    for prompt in ("a (red:1) cat", "(a red cat:1.0)", "a [(red)] cat"):
        assert encoder.tokenize(prompt, "(blurry:1.00)") == plain


def test_double_brackets_square_the_weight(encoder: PromptEncoder) -> None:
    assert encoder.tokenize("a ((red)) cat", None) == encoder.tokenize("a (red:1.21) cat", None)


def test_a_long_prompt_is_the_concatenation_of_its_chunks(encoder: PromptEncoder) -> None:
    tokenize = encoder.tokenize(LONG, None)
    assert tokenize.tokens == 77 * len(tokenize.positive)
    assert len(tokenize.positive) > 2
    whole = encoded(encoder, LONG).positive
    assert len(whole.hidden) == tokenize.tokens
    for index, chunk in enumerate(tokenize.positive):
        (alone,) = encoder.encode([TokenizedPrompt((chunk,), None)])
        assert torch.equal(whole.hidden[77 * index : 77 * (index + 1)], alone.positive.hidden)
        if index == 0 and whole.pooled is not None:
            assert alone.positive.pooled is not None
            assert torch.equal(whole.pooled, alone.positive.pooled)


def test_words_beyond_the_first_chunk_count(encoder: PromptEncoder) -> None:
    one = encoded(encoder, LONG + "at night").positive
    other = encoded(encoder, LONG + "by day").positive
    assert torch.allclose(one.hidden[:77], other.hidden[:77], rtol=0, atol=1e-5)
    assert not torch.allclose(one.hidden[-77:], other.hidden[-77:], rtol=0, atol=1e-2)


@pytest.mark.parametrize(("prompt", "negative"), [(LONG, "blurry"), ("a red cat", LONG)])
def test_the_shorter_prompt_is_padded(encoder: PromptEncoder, prompt: str, negative: str) -> None:
    tokenize = encoder.tokenize(prompt, negative)
    assert tokenize.negative is not None
    assert len(tokenize.positive) == len(tokenize.negative)
    guided = encoded(encoder, prompt, negative)
    assert guided.negative is not None
    shorter = guided.negative if prompt == LONG else guided.positive
    empty = encoded(encoder, "").positive
    assert torch.equal(shorter.hidden[-77:], empty.hidden)
    assert len(guided.positive.hidden) == len(guided.negative.hidden) == tokenize.tokens


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_prompts_that_are_too_long_or_invalid_are_rejected(
    encoder: PromptEncoder, field: str
) -> None:
    def tokenize(text: str) -> TokenizedPrompt:
        return encoder.tokenize(*((text, "x") if field == "prompt" else ("x", text)))

    with pytest.raises(UnsupportedRequestError, match=rf"^{field}: .* U\+D83D.*valid Unicode"):
        tokenize("half a cat: \ud83d")
    fits = "x" * 75 * MAX_CHUNKS
    assert tokenize(fits).tokens == 77 * MAX_CHUNKS
    with pytest.raises(
        UnsupportedRequestError, match=f"^{field}: .* 41 chunks .* most 40 .*3000 tokens"
    ):
        tokenize(fits + "x")


@pytest.mark.parametrize("piece", ["7", "a ", ",", "x, ", "(a:1.5)", "(", "a.b,c", "xxxxx "])
def test_two_thousand_characters_of_ascii_always_fit(standin: Any, piece: str) -> None:
    # For the stand-ins each is a token of its own, which is the worst that CLIP can do.
    PromptEncoder(standin).tokenize((piece * 2000)[:2000], "")
