"""Faiss finds what a plain loop finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esm.errors import ShapeError
from esm.neighbours import nearest_codes


def brute_force(queries, codes):
    """Count the bits that differ, pair by pair."""
    return [
        min(sum(int(a ^ b).bit_count() for a, b in zip(query, code, strict=True)) for code in codes)
        for query in queries
    ]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(0, 12),
    st.integers(0, 2**32 - 1),
)
def test_the_nearest_code_is_the_brute_force_one(width, count, queries, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (count, width), dtype=np.uint8)
    asked = rng.integers(0, 256, (queries, width), dtype=np.uint8)
    if queries:
        asked[0] = codes[-1]
    found = nearest_codes(asked, codes)
    assert found.shape == (queries,)
    assert found.tolist() == brute_force(asked, codes)


def test_codes_that_do_not_fit_are_refused():
    codes = np.zeros((2, 32), dtype=np.uint8)
    for queries, base in ((codes[:, :8], codes), (codes, codes[:0]), (codes[0], codes)):
        with pytest.raises(ShapeError, match="at least 1"):
            nearest_codes(queries, base)
