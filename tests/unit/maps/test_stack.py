"""A stack of low-rank maps holds each of them unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from esm.common.errors import MapError
from esm.maps.compressed import compress
from esm.maps.stack import LowRankStack
from tests.likelihood_cases import draw_dense, draw_low_rank


def test_every_map_comes_back():
    rng = np.random.default_rng(0)
    maps = [draw_low_rank(rng, 4, 6, 2).cast(np.float16) for _ in range(3)]
    stack = LowRankStack.of(maps)
    assert (len(stack), stack.rank, stack.width, stack.lift_width) == (3, 2, 4, 6)
    for number, one in enumerate(maps):
        for name, array in stack.map(number).tensors().items():
            np.testing.assert_array_equal(array, one.tensors()[name])
            assert array.dtype == np.float16


def test_compressed_maps_come_back_as_such():
    rng = np.random.default_rng(0)
    maps = [compress(draw_dense(rng, 5), 2).map for _ in range(2)]
    stack = LowRankStack.of(maps)
    assert (stack.reads_base, stack.width, stack.lift_width) == (True, 5, 0)
    np.testing.assert_array_equal(stack.map(1).affine(), maps[1].affine())
    with pytest.raises(MapError, match="a CompressedMap and a LowRankMap"):
        LowRankStack.of([maps[0], draw_low_rank(rng, 5, 5, 2)])


def test_maps_of_several_shapes_do_not_stack():
    rng = np.random.default_rng(0)
    with pytest.raises(MapError, match="expected maps of one kind and shape"):
        LowRankStack.of([draw_low_rank(rng, 4, 6, 2), draw_low_rank(rng, 4, 6, 3)])


def test_arrays_that_do_not_fit_are_named():
    with pytest.raises(MapError, match=r"right \(3, 1, 6\).*expected shapes"):
        LowRankStack(np.ones(3), np.ones((3, 2, 4)), np.ones((3, 1, 6)), np.ones((3, 4)))
