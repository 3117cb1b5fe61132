"""A shortlist holds the best maps, equals the whole where it is large enough, and is checked."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.synthetic import write_bundle
from esm.common.errors import MapError, PoolError, SettingError
from esm.common.neighbours import NearIndex
from esm.common.storage import load_tensors, save_tensors
from esm.maps.forms import LowRankMap, MapForm
from esm.pool.bundle.index import ShortlistIndex, build_index
from esm.pool.pack import pack_pool
from esm.pool.pool import Pool
from esm.ranking.shortlist.search import find_shortlist
from esm.ranking.shortlist.surrogate import Kernel, Surrogate, choose_kernel
from tests.likelihood_cases import draw_low_rank
from tests.pool_of_maps import write_pool


def mixtures(count, d=10, p=12, rank=2):
    """Maps on a line between three others, which signatures can tell apart."""
    rng = np.random.default_rng(5)
    ends = rng.standard_normal((3, rank, d + p))
    for _ in range(count):
        weights = rng.dirichlet(np.ones(3))
        rows = np.tensordot(weights, ends, 1) + 0.02 * rng.standard_normal((rank, d + p))
        yield LowRankMap(
            1.0,
            rows[:, :d].T.astype(np.float32),
            rows[:, d:].T.astype(np.float32),
            np.zeros(d, "f"),
        )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(mixtures(1500), tmp_path_factory.mktemp("pool") / "bundle")


@pytest.fixture(scope="module")
def index(bundle):
    return build_index(bundle, MapForm.ANCHORED)


def oracle(bundle):
    """A smooth score of each map, computed from the map itself and not from its signature."""
    fixed = np.random.default_rng(0).standard_normal((12, 10))
    scores = []
    for _, stack in bundle.stacks(MapForm.ANCHORED, 500):
        for row in range(len(stack)):
            one = stack.map(row)
            change = one.left.astype(float) @ one.right.T.astype(float)
            scores.append(np.tanh(np.trace(change @ fixed) / 20) - np.square(change).sum() / 500)
    return np.array(scores)


def test_the_best_ten_of_1500_are_among_300(bundle, index):
    scores = oracle(bundle)
    found = find_shortlist(index, lambda numbers: scores[numbers], 300)
    assert len(found.numbers) == 300 == len(set(found.numbers.tolist()))
    assert found.left_out == 1200
    best = np.argsort(-scores, kind="stable")[:10]
    assert set(best.tolist()) <= set(found.numbers.tolist())
    np.testing.assert_array_equal(found.scores, scores[found.numbers])


def test_estimates_choose_and_exact_scores_are_reported(bundle, index):
    scores, estimated, scored = oracle(bundle), [], []
    noise = 0.01 * scores.std() * np.random.default_rng(7).standard_normal(1500)

    def estimate(numbers):
        estimated.extend(numbers.tolist())
        return scores[numbers] + noise[numbers]

    def score(numbers):
        scored.extend(numbers.tolist())
        return scores[numbers]

    found = find_shortlist(index, score, 100, estimate=estimate)
    assert len(estimated) == len(set(estimated)) == 400
    assert scored == found.numbers.tolist()
    assert found.left_out == 1400
    np.testing.assert_array_equal(found.scores, scores[found.numbers])
    assert set(np.argsort(-scores, kind="stable")[:10].tolist()) <= set(scored)
    best = sorted(estimated, key=lambda number: -(scores + noise)[number])[:100]
    assert set(best) == set(scored)


def test_a_small_pool_is_estimated_as_a_whole(bundle, index):
    scores = oracle(bundle)
    found = find_shortlist(
        index, lambda numbers: scores[numbers], 500, estimate=lambda numbers: scores[numbers]
    )
    np.testing.assert_array_equal(found.numbers, np.sort(np.argsort(-scores, kind="stable")[:500]))


def test_maps_without_an_estimate_come_last(bundle, index):
    scores = oracle(bundle)
    guesses = np.where(np.arange(1500) % 2, scores, np.nan)
    found = find_shortlist(
        index, lambda numbers: scores[numbers], 300, estimate=lambda numbers: guesses[numbers]
    )
    assert (found.numbers % 2).all()


def test_a_shortlist_of_all_is_the_exhaustive_ranking(bundle, index):
    scores = oracle(bundle)
    found = find_shortlist(index, lambda numbers: scores[numbers], 2000)
    assert found.left_out == 0
    np.testing.assert_array_equal(found.numbers, np.arange(1500))
    np.testing.assert_array_equal(found.scores, scores)


def test_only_allowed_maps_are_scored_and_the_same_ones_in_any_order(bundle, index):
    scores, asked = oracle(bundle), []
    allowed = np.random.default_rng(1).choice(1500, 700, replace=False)

    def score(numbers):
        asked.extend(numbers.tolist())
        return scores[numbers]

    one = find_shortlist(index, score, 200, allowed)
    other = find_shortlist(index, score, 200, np.sort(allowed)[::-1])
    assert set(asked) <= set(allowed.tolist())
    assert one.left_out == 500
    np.testing.assert_array_equal(one.numbers, other.numbers)


def test_maps_without_a_score_end_nothing(bundle, index):
    scores = oracle(bundle)
    scores[::2] = np.nan
    assert len(find_shortlist(index, lambda numbers: scores[numbers], 100).numbers) == 100
    nothing = np.full(1500, np.nan)
    assert len(find_shortlist(index, lambda numbers: nothing[numbers], 100).numbers) == 100


@pytest.mark.parametrize("limit", [0, 2001])
def test_a_limit_out_of_range_is_refused(index, limit):
    with pytest.raises(SettingError, match=f"a shortlist of {limit}"):
        find_shortlist(index, lambda numbers: numbers * 1.0, limit)


def test_equal_changes_have_equal_signatures(tmp_path):
    rng = np.random.default_rng(2)
    one = draw_low_rank(rng, 10, 12, 2)
    turn = np.linalg.qr(rng.standard_normal((2, 2)))[0].astype(np.float32)
    turned = LowRankMap(
        one.scale,
        one.left.astype(np.float32) @ turn,
        one.right.astype(np.float32) @ turn,
        one.bias.astype(np.float32),
    )
    others = [draw_low_rank(rng, 10, 12, 2).cast("float32") for _ in range(20)]
    maps = [one.cast("float32"), turned, *others]
    signatures = build_index(write_bundle(iter(maps), tmp_path / "b"), MapForm.ANCHORED).signatures
    np.testing.assert_allclose(signatures[0], signatures[1], atol=1e-4)
    assert np.abs(signatures[0] - signatures[2:]).max(axis=1).min() > 0.01


def test_an_index_comes_back_as_it_was(bundle, index):
    index.save(bundle, MapForm.ANCHORED)
    loaded = ShortlistIndex.load(bundle, MapForm.ANCHORED)
    for name in ("places", "signatures", "centres"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(index, name))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("signatures", lambda array: array[:-1]),
        ("signatures", lambda array: array * np.float32(np.nan)),
        ("signatures", lambda array: array.astype(np.float64)),
        ("places", lambda array: array + 10**6),
        ("places", lambda array: array - 1),
        ("centres", lambda array: np.zeros((3, 2), np.float32)),
        ("bundle", lambda array: array[::-1].copy()),
    ],
)
def test_a_damaged_index_is_refused(bundle, index, name, change):
    index.save(bundle, MapForm.ANCHORED)
    path = bundle.folder / "shortlist-anchored.safetensors"
    tensors = load_tensors(path)
    save_tensors(path, tensors | {name: change(tensors[name])})
    with pytest.raises((MapError, PoolError)):
        ShortlistIndex.load(bundle, MapForm.ANCHORED)


def test_dense_maps_have_no_index(tmp_path):
    pack_pool(write_pool(tmp_path / "pool"), tmp_path / "packed", index=True)
    packed = Pool.open(tmp_path / "packed").bundle
    assert len(ShortlistIndex.load(packed, MapForm.ANCHORED)) == 3
    with pytest.raises(PoolError, match="has no index of published maps"):
        ShortlistIndex.load(packed, MapForm.PUBLISHED)
    with pytest.raises(PoolError, match="holds dense published maps"):
        build_index(packed, MapForm.PUBLISHED)


@pytest.mark.parametrize("count", [300, 12_000])
def test_near_rows_equal_brute_force(count):
    rng = np.random.default_rng(3)
    points = rng.standard_normal((count, 4)).astype(np.float32)
    centres = NearIndex.cells(points)
    assert len(centres) == (0 if count < 10_000 else 110)
    queries = points[:20]
    found = set(NearIndex(points, centres).search(queries, 8).tolist())
    squares = np.square(queries[:, None].astype(float) - points).sum(2)
    expected = {int(row) for line in squares for row in np.argsort(line, kind="stable")[:8]}
    if count < 10_000:
        assert found == expected
    else:  # cells that are not searched may hold a few
        assert len(found & expected) >= 0.97 * len(expected)


def test_predictions_equal_the_textbook_formula():
    rng = np.random.default_rng(4)
    points, rows = (rng.standard_normal((size, 3)).astype(np.float32) for size in (30, 7))
    scores = np.sin(points[:, 0]) + 5.0
    kernel = Kernel(1.3, 0.3, 1e-2)

    def value(x, y):
        return np.exp(-np.square(x - y).sum() / (2 * 1.3**2)) + 0.3 * (x @ y)

    gram = np.array([[value(x, y) for y in points.astype(float)] for x in points.astype(float)])
    cross = np.array([[value(x, y) for y in points.astype(float)] for x in rows.astype(float)])
    weights = np.linalg.solve(gram + 1e-2 * np.eye(30), scores - scores.mean())
    expected = cross @ weights + scores.mean()
    np.testing.assert_allclose(
        Surrogate.fit(points, scores, kernel).predict(rows), expected, atol=1e-3
    )


def test_the_kernel_is_chosen_by_predictions_of_scores_left_out():
    rng = np.random.default_rng(6)
    points = rng.standard_normal((200, 2)).astype(np.float32)
    assert choose_kernel(points, np.sin(4 * points[:, 0].astype(float))).length < 1
    noisy = points[:, 0] + 0.5 * rng.standard_normal(200)
    assert choose_kernel(points, noisy.astype(float)).noise == 3e-2
