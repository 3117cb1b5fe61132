"""Dense maps brought to low rank."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from esm.common.errors import MapError
from esm.maps.compressed import CompressedMap, compress
from esm.maps.forms import DenseMap, MapForm
from tests.likelihood_cases import draw_dense


def low_rank_dense(rng, d, rank, scale):
    factors = rng.standard_normal((2, d, rank))
    weight = scale * np.eye(d) + factors[0] @ factors[1].T
    return DenseMap(weight.astype(np.float32), rng.standard_normal(d).astype(np.float32))


def tail(weight, scale, rank):
    """Squared distance of W - a I from the nearest matrix of rank r (Eckart and Young)."""
    values = np.linalg.svd(weight - scale * np.eye(len(weight)), compute_uv=False)
    return np.square(values[rank:]).sum()


@pytest.mark.parametrize("scale", [0.7, 1.0, -0.3])
def test_a_map_of_low_rank_loses_nothing(scale):
    rng = np.random.default_rng(0)
    dense = low_rank_dense(rng, 30, 3, scale)
    found = compress(dense, 3)
    assert found.loss < 1e-6
    assert found.map.scale == pytest.approx(scale, abs=2e-3)
    np.testing.assert_allclose(found.map.affine(), dense.affine(), atol=2e-3)


def test_scalar_and_directions_are_as_good_as_a_search_over_scalars():
    rng = np.random.default_rng(1)
    dense = draw_dense(rng, 20)
    weight = dense.weight.astype(np.float64)
    found = compress(dense, 5)
    best = minimize_scalar(lambda a: tail(weight, a, 5), bounds=(0, 1.5), method="bounded").fun
    left_out = np.square(weight - found.map.affine()[:, :-1]).sum()
    assert left_out <= 1.001 * best
    mean = np.trace(weight) / 20
    assert found.loss == pytest.approx(left_out / np.square(weight - mean * np.eye(20)).sum())


def test_more_directions_lose_less():
    dense = draw_dense(np.random.default_rng(2), 20)
    losses = [compress(dense, rank).loss for rank in (1, 4, 10, 20)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-9


def test_a_scaled_identity_has_no_directions_to_lose():
    dense = DenseMap(np.eye(4, dtype=np.float32), np.zeros(4, np.float32))
    found = compress(dense, 2)
    assert found.loss == 0
    np.testing.assert_allclose(found.map.affine(), dense.affine(), atol=1e-6)


def test_it_is_a_published_map_that_reads_the_last_layer():
    rng = np.random.default_rng(3)
    one = compress(draw_dense(rng, 6), 2).map
    assert (one.form, one.width, one.lift_width, one.rank) == (MapForm.PUBLISHED, 6, 0, 2)
    rows = rng.standard_normal((5, 6))
    expected = one.scale * rows + rows @ one.right @ one.left.T + one.bias
    np.testing.assert_allclose(one.apply(rows), expected, atol=1e-6)
    again = CompressedMap.from_tensors(one.tensors())
    np.testing.assert_array_equal(again.affine(), one.affine())
    assert one.cast(np.float16).bias.dtype == np.float16


def test_bad_shapes_and_ranks_are_named():
    ones = np.ones((4, 2), np.float32)
    with pytest.raises(MapError, match=r"expected shape \(d, r\) twice"):
        CompressedMap(1.0, ones, np.ones((5, 2), np.float32), ones[:, 0])
    dense = draw_dense(np.random.default_rng(0), 4)
    for rank in (0, 5):
        with pytest.raises(MapError, match=f"rank {rank}; expected 1 to 4"):
            compress(dense, rank)
