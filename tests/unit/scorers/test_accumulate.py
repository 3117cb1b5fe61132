"""Moments from blocks are the moments of all rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esm.common.errors import FitError, ShapeError
from esm.scorers import accumulate
from esm.scorers.accumulate import accumulate_moments
from esm.scorers.moments import Moments
from tests.likelihood_cases import draw_case


def blocks(case, sizes, *, wide=True):
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        yield case.base[part], case.lifted[part] if wide else None
        start += size


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=6),
    weighted=st.booleans(),
    wide=st.booleans(),
    log_offset=st.floats(-1, 4),
    sorted_rows=st.booleans(),
)
def test_blocks_give_the_moments_of_all_rows(seed, sizes, weighted, wide, log_offset, sorted_rows):
    case = draw_case(seed, sum(sizes), 6, 9, 3, weighted=weighted, offset=10**log_offset)
    if sorted_rows:  # the mean of the first rows is then far from the mean of all
        case.base.sort(axis=0)
    found = accumulate_moments(blocks(case, sizes, wide=wide), case.columns, case.weights)
    expected = Moments.of(case.base, case.lifted if wide else None, case.columns, case.weights)
    assert (found.width, found.count) == (expected.width, expected.count)
    for name in ("gram", "cross", "mean", "label_means", "label_squares"):
        size = np.abs(getattr(expected, name)).max()
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=1e-11 * size, err_msg=name
        )


def test_large_blocks_are_worked_on_in_parts(monkeypatch):
    monkeypatch.setattr(accumulate, "_ROWS", 7)
    case = draw_case(0, 50, 6, 9, 2)
    found = accumulate_moments(blocks(case, [50]), case.columns)
    np.testing.assert_allclose(found.gram, case.moments.gram, rtol=1e-11, atol=1e-11)


def test_labels_may_be_small_integers():
    case = draw_case(0, 50, 6, 9, 2)
    labels = (case.columns > 0).astype(np.uint8)
    found = accumulate_moments(blocks(case, [20, 30]), labels)
    expected = Moments.of(case.base, case.lifted, labels.astype(float))
    np.testing.assert_allclose(found.cross, expected.cross, atol=1e-11)
    np.testing.assert_allclose(found.label_squares, expected.label_squares, atol=1e-11)


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ([20, 20], ShapeError, "40 rows for 50 labels"),
        ([20, 40], ShapeError, "rows 20 to 59 are 6 wide with 9 lifted features; expected 50"),
    ],
)
def test_rows_and_labels_have_to_match(sizes, error, message):
    case = draw_case(0, 60, 6, 9, 2)
    with pytest.raises(error, match=message):
        accumulate_moments(blocks(case, sizes), case.columns[:50])


def test_blocks_of_another_width_and_bad_numbers_are_named():
    case = draw_case(0, 20, 6, 9, 2)
    with pytest.raises(ShapeError, match="rows 10 to 19 are 6 wide with 0 lifted features"):
        accumulate_moments(
            [(case.base[:10], case.lifted[:10]), (case.base[10:], None)], case.columns
        )
    with pytest.raises(ShapeError, match="9 rows of lifted features for 10 embeddings"):
        accumulate_moments([(case.base[:10], case.lifted[:9])], case.columns)
    case.base[15, 2] = np.nan
    with pytest.raises(FitError, match="not finite"):
        accumulate_moments(blocks(case, [10, 10]), case.columns)
    with pytest.raises(FitError, match=r"labels of shape \(20,\)"):
        accumulate_moments(blocks(case, [10, 10]), case.columns[:, 0])
