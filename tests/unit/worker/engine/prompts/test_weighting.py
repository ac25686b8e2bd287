"""The emphasis formula on numbers."""

import pytest
import torch

from worker.engine.prompts.emphasis import MAX_WEIGHT
from worker.engine.prompts.weighting import apply_emphasis


def states(mean: float, *, chunks: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    noise = torch.randn(chunks, 5, 64, generator=torch.Generator().manual_seed(1))
    return (noise - noise.mean((1, 2), keepdim=True) + mean).to(dtype)


def weights(*row: float, chunks: int = 2) -> torch.Tensor:
    return torch.tensor([row] * chunks)


def test_each_token_is_multiplied_and_the_mean_restored() -> None:
    before = states(0.5)
    after = apply_emphasis(before, weights(1, 1, 1.3, 0.5, 1))
    scale = after[:, :1] / before[:, :1]
    assert torch.allclose(after.mean((1, 2)), before.mean((1, 2)), rtol=1e-5)
    assert torch.allclose(after[:, 2], before[:, 2] * 1.3 * scale[:, 0], rtol=1e-4)
    assert torch.allclose(after[:, 3], before[:, 3] * 0.5 * scale[:, 0], rtol=1e-4)
    assert not torch.allclose(scale, torch.ones(()))


def test_a_chunk_does_not_depend_on_its_batch() -> None:
    before = states(0.5)
    row = weights(1, 2, 1, 1, 1)
    alone = apply_emphasis(before[:1], row[:1])
    beside = apply_emphasis(torch.cat([before[:1], 9 * before[1:]]), row)
    assert torch.allclose(alone, beside[:1])


def test_a_mean_near_zero_is_not_restored() -> None:
    before = states(0.0)
    after = apply_emphasis(before, weights(1, 1, 1.3, 1, 1))
    assert torch.allclose(after[:, 2], before[:, 2] * 1.3)
    assert torch.equal(after[:, :2], before[:, :2])


@pytest.mark.parametrize("strongest", [0.0, 0.5, 3.0, MAX_WEIGHT])
def test_the_scale_is_no_stronger_than_the_weights(strongest: float) -> None:
    # Half of the tokens pull the mean up and half down, so a weight can bring it anywhere.
    before = states(0.02) + torch.tensor([5.0, -5.0, 5.0, -5.0, 0.0]).view(1, 5, 1)
    for index in range(4):
        row = [1.0] * 5
        row[index] = strongest
        scale = apply_emphasis(before, weights(*row))[:, 4] / before[:, 4]
        limit = MAX_WEIGHT if strongest == 0 else max(strongest, 1 / strongest)
        assert 1 / limit - 1e-4 <= scale.min()
        assert scale.max() <= limit + 1e-4


def test_all_weights_zero_are_all_zeros() -> None:
    assert torch.equal(apply_emphasis(states(0.5), weights(0, 0, 0, 0, 0)), torch.zeros(2, 5, 64))


def test_the_dtype_is_kept() -> None:
    after = apply_emphasis(states(0.5, dtype=torch.float16), weights(1, 10, 1, 1, 1))
    assert after.dtype is torch.float16
    assert torch.isfinite(after).all()
