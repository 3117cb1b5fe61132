from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esm.common.errors import EncoderError
from esm.encoder.pooling import join_chunks, pool, wide_features, wide_layers
from esm.encoder.settings import Pooling

# Two texts of three and one tokens, two wide; what stands at padding must never count.
HIDDEN = torch.tensor(
    [[[1.0, 2.0], [3.0, 4.0], [8.0, 0.0]], [[5.0, -1.0], [99.0, 99.0], [-99.0, 7.0]]]
)
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (Pooling.MEAN, [[4.0, 2.0], [5.0, -1.0]]),
        (Pooling.CLS, [[1.0, 2.0], [5.0, -1.0]]),
        (Pooling.LAST, [[8.0, 0.0], [5.0, -1.0]]),
    ],
)
def test_pooling_by_hand(pooling, expected):
    assert torch.allclose(pool(HIDDEN, MASK, pooling), torch.tensor(expected))


def test_pooler_takes_what_the_model_gave():
    given_by_model = torch.tensor([[0.5, 0.25], [1.0, 0.0]])
    assert torch.equal(pool(HIDDEN, MASK, Pooling.POOLER, given_by_model), given_by_model)


def test_pooler_without_a_pooling_layer_says_what_to_use():
    with pytest.raises(EncoderError, match=r"no pooling layer; expected mean, cls or last; try:"):
        pool(HIDDEN, MASK, Pooling.POOLER)


def test_embeddings_are_float32_and_differentiable_whatever_the_precision():
    hidden = HIDDEN.to(torch.bfloat16).requires_grad_()
    for pooling in (Pooling.MEAN, Pooling.CLS, Pooling.LAST):
        pooled = pool(hidden, MASK, pooling)
        assert pooled.dtype == torch.float32
        (gradient,) = torch.autograd.grad(pooled.sum(), hidden)
        assert gradient[0].any()
        assert not gradient[1, 1:].any()  # nothing flows to padding


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 6),
    padding=st.integers(0, 4),
    pooling=st.sampled_from([Pooling.MEAN, Pooling.CLS, Pooling.LAST]),
    seed=st.integers(0, 2**16),
)
def test_padding_has_no_influence(length, padding, pooling, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(1, length, 3, generator=generator)
    padded = torch.cat([hidden, 50 * torch.randn(1, padding, 3, generator=generator)], dim=1)
    mask = torch.tensor([[1] * length + [0] * padding])
    alone = pool(hidden, mask[:, :length], pooling)
    assert torch.allclose(pool(padded, mask, pooling), alone, atol=1e-6)
    layers, padded_layers = [hidden] * 3, [padded] * 3
    assert torch.allclose(
        wide_features(padded_layers, mask, causal=False),
        wide_features(layers, mask[:, :length], causal=False),
        atol=1e-6,
    )


def test_wide_features_by_hand():
    first = HIDDEN / 2
    wide = wide_features([first, HIDDEN], MASK, causal=False)
    # mean of layer 0, mean of layer 1, first token, maximum, standard deviation
    sd = [np.std([1, 3, 8]), np.std([2, 4, 0])]
    assert wide[0].tolist() == pytest.approx([2, 1, 4, 2, 1, 2, 8, 4, *sd])
    assert wide[1].tolist() == pytest.approx([2.5, -0.5, 5, -1, 5, -1, 5, -1, 0, 0])


def test_wide_features_of_a_causal_model_take_the_last_token():
    wide = wide_features([HIDDEN, HIDDEN], MASK, causal=True)
    assert wide[0, 4:6].tolist() == [8.0, 0.0]


@pytest.mark.parametrize(
    ("num_layers", "expected"),
    [
        (1, [0, 1]),
        (2, [0, 1, 2]),
        (6, [0, 1, 2, 4, 5, 6]),
        (12, [0, 2, 5, 7, 10, 12]),
        (24, [0, 5, 10, 14, 19, 24]),
    ],
)
def test_layers_are_spread_from_the_embeddings_to_the_last(num_layers, expected):
    assert wide_layers(num_layers) == expected


def test_chunks_are_joined_by_their_shares():
    chunks = torch.tensor([[1.0, 0.0], [5.0, 4.0], [7.0, 7.0]])
    shares = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]])
    assert join_chunks(chunks, shares).tolist() == [[2.0, 1.0], [7.0, 7.0]]


def test_chunks_are_joined_in_float32_whatever_the_precision():
    chunks = torch.tensor([[1.0], [1.0078125]], dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        joined = join_chunks(chunks, torch.tensor([[0.5, 0.5]]))
    assert joined.dtype == torch.float32
    assert joined.item() == 1.00390625  # no bfloat16 number
    joined.sum().backward()
    assert chunks.grad.tolist() == [[0.5], [0.5]]
