"""The scores of many maps at once are those of each map by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esm.common.errors import ShapeError
from esm.maps.compressed import compress
from esm.maps.forms import DenseMap, LowRankMap
from esm.maps.stack import LowRankStack
from esm.scorers.likelihood.engine import Engine, in_blocks
from esm.scorers.logme import evidences_of_moments, logme
from esm.scorers.moments import Moments, label_columns
from esm.tasks.task import Problem
from esm.training.class_weights import balance_weights
from tests.likelihood_cases import (
    condition_number,
    draw_case,
    draw_dense,
    draw_low_rank,
    mapped_rows,
)


def never(moments):
    raise AssertionError("a map was scored in the plain way")


def each_by_itself(moments, maps):
    return np.array([evidences_of_moments(moments.mapped(one)) for one in maps])


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(3, 90),
    d=st.integers(1, 40),
    p=st.integers(1, 50),
    num_columns=st.integers(1, 8),
    ranks=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    num_dense=st.integers(0, 2),
    num_compressed=st.integers(0, 2),
    weighted=st.booleans(),
    log_condition=st.floats(0, 3),
    log_offset=st.floats(-1, 3),
    learnable=st.booleans(),
    scale=st.sampled_from([None, 1.0, -0.6, 1e-3, 0.0, 30.0]),
)
def test_scores_equal_those_of_each_map_by_itself(
    seed,
    n,
    d,
    p,
    num_columns,
    ranks,
    num_dense,
    num_compressed,
    weighted,
    log_condition,
    log_offset,
    learnable,
    scale,
):
    case = draw_case(
        seed,
        n,
        d,
        p,
        num_columns,
        weighted=weighted,
        condition=10**log_condition,
        offset=10**log_offset,
        learnable=learnable,
    )
    rng = np.random.default_rng(seed)
    maps = [draw_low_rank(rng, d, p, min(rank, d, p), scale) for rank in ranks]
    maps += [draw_dense(rng, d) for _ in range(num_dense)]
    maps += [compress(draw_dense(rng, d), min(3, d)).map for _ in range(num_compressed)]
    found = Engine(case.moments, evidences_of_moments).evidences(maps)
    assert found.shape == (len(maps), num_columns)
    for row, one in zip(found, maps, strict=True):
        rows = mapped_rows(case, one)
        direct = logme(rows, case.columns, variant="full", weights=case.weights)
        # Beyond a condition of a million, digits go in proportion: of either computation.
        lost = max(1.0, condition_number(rows) / 1e6)
        assert row.mean() == pytest.approx(direct, abs=1e-9 * lost, rel=1e-9 * lost)


@pytest.mark.parametrize(
    ("n", "d", "p", "num_classes"),
    [(300, 24, 32, 2), (60, 48, 64, 5), (49, 48, 64, 3), (20, 48, 64, 3), (400, 24, 32, 151)],
    ids=["n >> d", "n > d", "n = d + 1", "n < d", "151 classes, many empty"],
)
@pytest.mark.parametrize("balanced", [False, True])
def test_ordinary_targets_never_need_the_plain_way(n, d, p, num_classes, balanced):
    case = draw_case(n, n, d, p, num_classes)
    labels = (3 * case.columns).argmax(1) % num_classes
    if num_classes > 2:
        labels = np.where(labels == num_classes // 2, 0, labels)  # one class is empty
    moments = Moments.of(
        case.base,
        case.lifted,
        label_columns(Problem.CLASSIFICATION, labels, num_classes),
        balance_weights(labels) if balanced else None,
    )
    rng = np.random.default_rng(n)
    maps = [draw_low_rank(rng, d, p, rank) for rank in (4, 4, 8)] + [draw_dense(rng, d)]
    found = Engine(moments, never).evidences(maps)
    np.testing.assert_allclose(found, each_by_itself(moments, maps), atol=1e-9)


@pytest.mark.parametrize("problem", [Problem.REGRESSION, Problem.MULTILABEL])
def test_amounts_and_sets_of_labels(problem):
    case = draw_case(5, 80, 20, 30, 3)
    labels = case.columns if problem is Problem.REGRESSION else (case.columns > 0).astype(int)
    moments = Moments.of(case.base, case.lifted, label_columns(problem, labels, 3))
    rng = np.random.default_rng(5)
    maps = [draw_low_rank(rng, 20, 30, 4), draw_dense(rng, 20)]
    found = Engine(moments, never).evidences(maps)
    np.testing.assert_allclose(found, each_by_itself(moments, maps), atol=1e-9)


def test_several_attributes_at_once_are_columns_of_one_target():
    case = draw_case(6, 80, 20, 30, 4)
    rng = np.random.default_rng(6)
    maps = [draw_low_rank(rng, 20, 30, 4) for _ in range(3)]
    together = Engine(case.moments, never).evidences(maps)
    for part in (slice(0, 1), slice(1, 4)):
        alone = Moments.of(case.base, case.lifted, case.columns[:, part])
        np.testing.assert_allclose(
            together[:, part], Engine(alone, never).evidences(maps), atol=1e-9
        )


def test_directions_that_do_not_vary_and_repeated_rows():
    case = draw_case(8, 30, 20, 30, 2)
    base, lifted = np.repeat(case.base, 2, axis=0), np.repeat(case.lifted, 2, axis=0)
    base[:, 3] = 7
    columns = np.random.default_rng(8).standard_normal((60, 2))
    moments = Moments.of(base, lifted, columns)
    rng = np.random.default_rng(8)
    maps = [draw_low_rank(rng, 20, 30, 4), draw_dense(rng, 20)]
    found = Engine(moments, evidences_of_moments).evidences(maps)
    np.testing.assert_allclose(found, each_by_itself(moments, maps), atol=1e-8)


def test_embeddings_that_do_not_vary_at_all():
    rng = np.random.default_rng(9)
    moments = Moments.of(
        np.ones((20, 4)), rng.standard_normal((20, 6)), rng.standard_normal((20, 2))
    )
    maps = [draw_low_rank(rng, 4, 6, 2), draw_dense(rng, 4)]
    found = Engine(moments, evidences_of_moments).evidences(maps)
    np.testing.assert_allclose(found, each_by_itself(moments, maps), atol=1e-9)


def test_a_map_without_a_learned_part_scores_as_the_base_model_does():
    case = draw_case(10, 80, 12, 16, 3)
    zero = np.zeros((12, 2), np.float32)
    idle = LowRankMap(1.0, zero, np.ones((16, 2), np.float32), np.zeros(12, np.float32))
    found = Engine(case.moments, evidences_of_moments).evidences([idle])
    base = evidences_of_moments(case.moments.identity())
    np.testing.assert_allclose(found[0], base, atol=1e-9)


def test_directions_that_repeat_each_other_are_noticed_and_scored_all_the_same():
    case = draw_case(15, 80, 12, 16, 3)
    one = draw_low_rank(np.random.default_rng(15), 12, 16, 2)
    twice = LowRankMap(
        one.scale, np.hstack([one.left, one.left]), np.hstack([one.right, one.right]) / 2, one.bias
    )
    engine = Engine(case.moments, evidences_of_moments)
    np.testing.assert_allclose(*engine.evidences([one, twice]), atol=1e-8)


# ------------------------------------------------------------------------------------ blocks


def test_order_and_company_of_the_maps_do_not_matter():
    case = draw_case(11, 80, 12, 16, 3)
    rng = np.random.default_rng(11)
    maps = [draw_low_rank(rng, 12, 16, 1 + number % 3) for number in range(9)]
    maps += [draw_dense(rng, 12), maps[0]]
    engine = Engine(case.moments, never)
    scores = engine.evidences(maps)
    np.testing.assert_allclose(engine.evidences(maps[::-1]), scores[::-1], atol=1e-12)
    alone = np.vstack([engine.evidences([one]) for one in maps])
    np.testing.assert_allclose(alone, scores, atol=1e-12)
    np.testing.assert_allclose(scores[-1], scores[0], atol=1e-12)


def test_blocks_hold_maps_of_one_kind_and_rank_under_their_numbers():
    rng = np.random.default_rng(12)
    maps = [draw_low_rank(rng, 4, 6, 2), draw_dense(rng, 4), draw_low_rank(rng, 4, 6, 3)]
    maps += [draw_low_rank(rng, 4, 6, 2) for _ in range(2050)]
    blocks = list(in_blocks(iter(maps)))
    numbers = [number for each, _ in blocks for number in each]
    assert sorted(numbers) == list(range(len(maps)))
    assert sorted(len(block) for _, block in blocks) == [1, 1, 3, 2048]
    for each, block in blocks:
        for place, number in enumerate(each):
            one = block.map(place) if isinstance(block, LowRankStack) else block[place]
            np.testing.assert_array_equal(one.bias, maps[number].bias)


@pytest.mark.parametrize("lifted", [True, False])
@pytest.mark.parametrize("n", [8, 60])
def test_compressed_maps_read_the_base_embeddings_whatever_else_there_is(n, lifted):
    case, rng = draw_case(16, n, 12, 16, 2), np.random.default_rng(16)
    moments = case.moments if lifted else Moments.of(case.base, None, case.columns)
    maps = [compress(draw_dense(rng, 12), rank).map for rank in (2, 3, 2)]
    found = Engine(moments, never).evidences(maps)
    np.testing.assert_allclose(found, each_by_itself(moments, maps), atol=1e-9)


def test_no_maps():
    assert Engine(draw_case(0, 10, 3, 4, 2).moments, never).evidences([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (
            lambda rng: draw_low_rank(rng, 4, 7, 2),
            "4 over 7 lifted features; expected width 4 over 6",
        ),
        (
            lambda rng: draw_dense(rng, 5),
            "map of width 5; expected width 4",
        ),
    ],
)
def test_maps_of_another_width_are_refused(maps, message):
    moments = draw_case(0, 10, 4, 6, 2).moments
    with pytest.raises(ShapeError, match=message):
        Engine(moments, never).evidences([maps(np.random.default_rng(0))])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_scores():
    case = draw_case(13, 90, 40, 48, 3)
    rng = np.random.default_rng(13)
    maps = [draw_low_rank(rng, 40, 48, 4) for _ in range(5)] + [draw_dense(rng, 40)]
    found = Engine(case.moments, never, device=torch.device("cuda")).evidences(maps)
    np.testing.assert_allclose(found, Engine(case.moments, never).evidences(maps), atol=1e-9)


def test_maps_of_both_precisions():
    case = draw_case(14, 80, 12, 16, 2)
    rng = np.random.default_rng(14)
    low_rank, dense = draw_low_rank(rng, 12, 16, 3), draw_dense(rng, 12)
    maps = [low_rank.cast(np.float16), low_rank, dense.cast(np.float16)]
    found = Engine(case.moments, never).evidences(maps)
    np.testing.assert_allclose(found, each_by_itself(case.moments, maps), atol=1e-9)
    assert isinstance(maps[2], DenseMap)
