"""Batches of prompts, and the cache."""

from threading import Barrier, Thread
from typing import Any

from tests.unit.worker.engine.prompts.encodings import (
    LONG,
    counted_chunks,
    encoded,
    equal,
    near,
)
from worker.engine.prompts.encoder import MAX_BATCH, PromptEncoder, TokenizedPrompt


def test_emphasis_does_not_affect_other_prompts_of_a_batch(
    pipeline: Any, encoder: PromptEncoder
) -> None:
    prompts = [encoder.tokenize(prompt, None) for prompt in ("a (red:2) cat", "a red cat")]
    emphasised, plain = encoder.encode(prompts)
    alone = encoded(PromptEncoder(pipeline), "a red cat")
    assert near(plain.positive, alone.positive)
    assert not near(emphasised.positive, plain.positive)


def test_a_batch_equals_each_prompt_alone_to_rounding(
    pipeline: Any, encoder: PromptEncoder
) -> None:
    texts = [(f"cat number {number}", "blurry") for number in range(10)]
    texts += [("a (red:1.5) cat", LONG), (LONG, "(blurry)")]
    reads = [encoder.tokenize(*text) for text in texts]
    with counted_chunks(pipeline) as batches:
        together = encoder.encode(reads)
    assert sum(batches) == len({chunk for tokenize in reads for chunk in tokenize.chunks})
    assert len(batches) == -(-sum(batches) // MAX_BATCH)
    assert max(batches) <= MAX_BATCH
    for tokenize, guided in zip(reads, together, strict=True):
        (alone,) = PromptEncoder(pipeline).encode([tokenize])
        assert near(guided.positive, alone.positive)
        assert near(guided.negative, alone.negative)


def test_cached_chunks_are_not_encoded_again(pipeline: Any, encoder: PromptEncoder) -> None:
    reads = [encoder.tokenize("a red cat", "blurry"), encoder.tokenize(LONG, "(blurry:1.2)")]
    first = encoder.encode(reads)
    with counted_chunks(pipeline) as batches:
        again = encoder.encode([encoder.tokenize("a red cat", "blurry"), reads[1]])
        assert batches == []
        encoder.encode([encoder.tokenize("a red dog", "blurry")])
        assert batches == [1]
        encoder.encode([encoder.tokenize("a (red) cat", "blurry")])
        assert batches == [1, 1]
    for one, other in zip(first, again, strict=True):
        assert equal(one.positive, other.positive)
        assert equal(one.negative, other.negative)


def test_the_least_recently_used_chunks_are_evicted(standin: Any) -> None:
    encoder = PromptEncoder(standin, cache_size=3)
    cat, dog, cow, fox = (encoder.tokenize(name, None) for name in ("cat", "dog", "cow", "fox"))
    for tokenize in (cat, dog, cow, cat, fox):
        encoder.encode([tokenize])
    with counted_chunks(standin) as batches:
        encoder.encode([cat, cow, fox])
        assert batches == []
        encoder.encode([dog])
        assert batches == [1]


def test_a_batch_larger_than_the_cache_is_encoded(standin: Any) -> None:
    encoder = PromptEncoder(standin, cache_size=2)
    texts = [f"cat {number}" for number in range(5)]
    guided = encoder.encode([encoder.tokenize(text, LONG) for text in texts])
    assert len(guided) == len(texts)
    assert len(encoder._cache) == 2  # the bound of memory cannot be seen from outside
    assert near(guided[0].positive, encoded(PromptEncoder(standin), texts[0], LONG).positive)


def test_no_prompts_need_no_encoding(pipeline: Any, encoder: PromptEncoder) -> None:
    with counted_chunks(pipeline) as batches:
        assert encoder.encode([]) == []
    assert batches == []


def test_threads_tokenize_while_one_encodes(standin: Any) -> None:
    encoder = PromptEncoder(standin)
    texts = [f"(cat {number}:1.{number}), {LONG}" for number in range(1, 4)]
    alone = [encoder.tokenize(text, "blurry") for text in texts]
    together: list[list[TokenizedPrompt]] = [[] for _ in texts]
    barrier = Barrier(len(texts) + 1)

    def read_often(index: int) -> None:
        barrier.wait(10)
        together[index] = [encoder.tokenize(texts[index], "blurry") for _ in range(10)]

    threads = [Thread(target=read_often, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    barrier.wait(10)
    encoder.encode(alone)
    for thread in threads:
        thread.join(30)
    assert together == [[tokenize] * 10 for tokenize in alone]
