"""Closed-form fits equal slow, explicit ones; penalties are chosen on other tasks' texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import lstsq
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from esm.common.errors import FitError, ShapeError
from esm.maps.fit.anchored import AnchorBasis
from esm.maps.fit.published import fit_published
from esm.maps.fit.ridge import PENALTIES, r_squared

N, D, P = 240, 12, 18
GROUPS = [f"task-{i // 30}" for i in range(N)]


def anchors(seed=0, n=N, d=D, p=P, directions=4, noise=0.3):
    """Base, lifted and tuned embeddings whose change has few directions."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((n, d)) + 2
    lifted = np.hstack([base, rng.standard_normal((n, p))])[:, :p] * np.linspace(3, 0.2, p) - 1
    change = lifted @ rng.standard_normal((p, directions)) @ rng.standard_normal((directions, d))
    tuned = 0.8 * base + change / 5 + noise * rng.standard_normal((n, d)) + 1
    return base, lifted, tuned


def slow_reduced_rank(base, lifted, tuned, penalty, rank):
    """Return predict(base, lifted), fitted by least squares on explicitly augmented data."""
    centre = [array.mean(0) for array in (base, lifted, tuned)]
    h, w, t = (array - mean for array, mean in zip((base, lifted, tuned), centre, strict=True))
    scale = lstsq(h.reshape(-1, 1), t.reshape(-1))[0][0]
    strength = penalty * np.trace(w.T @ w) / w.shape[1]
    stacked = np.vstack([w, np.sqrt(strength) * np.eye(w.shape[1])])
    wanted = np.vstack([t - scale * h, np.zeros((w.shape[1], t.shape[1]))])
    coefficients = lstsq(stacked, wanted)[0]
    directions = np.linalg.svd(stacked @ coefficients)[2][:rank].T
    reduced = coefficients @ directions @ directions.T

    def predict(new_base, new_lifted):
        return scale * (new_base - centre[0]) + (new_lifted - centre[1]) @ reduced + centre[2]

    return predict


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(12, 60),
    d=st.integers(2, 10),
    p=st.integers(1, 80),
    rank=st.integers(1, 6),
    penalty=st.sampled_from(PENALTIES),
)
def test_the_map_equals_augmented_least_squares_cut_to_its_rank(seed, n, d, p, rank, penalty):
    base, lifted, tuned = anchors(seed, n, d, p)
    groups = [str(i % 5) for i in range(n)]
    fitted = AnchorBasis(base, lifted, groups).fit(
        tuned, source="0", rank=rank, penalties=[penalty]
    )
    rank = min(rank, d, p)
    assert (fitted.rank, fitted.map.rank, fitted.penalty) == (rank, rank, penalty)
    slow = slow_reduced_rank(base, lifted, tuned, penalty, rank)
    size = np.abs(tuned).max()
    np.testing.assert_allclose(fitted.map.apply(base, lifted), slow(base, lifted), atol=2e-5 * size)


def test_full_rank_without_penalty_is_least_squares():
    base, lifted, tuned = anchors()
    fitted = AnchorBasis(base, lifted, GROUPS).fit(tuned, source="x", rank=D, penalties=[1e-12])
    scale = fitted.map.scale
    inputs = np.hstack([lifted, np.ones((N, 1))])
    plain = inputs @ lstsq(inputs, tuned - scale * base)[0] + scale * base
    np.testing.assert_allclose(fitted.map.apply(base, lifted), plain, atol=1e-5)


def slow_held_out(base, lifted, tuned, folds, source, penalty, rank):
    groups = np.array(GROUPS)
    true, predicted = [], []
    for fold in folds:
        held = np.isin(groups, fold)
        predict = slow_reduced_rank(base[~held], lifted[~held], tuned[~held], penalty, rank)
        judged = held & (groups != source)
        true.append(tuned[judged])
        predicted.append(predict(base[judged], lifted[judged]))
    return r_squared(np.vstack(true), np.vstack(predicted))


def test_penalty_and_rank_are_the_best_on_held_out_anchors_of_other_tasks():
    """Eight groups of equal size: three folds of two groups, two of one."""
    base, lifted, tuned = anchors(noise=2.0)
    tuned[30:60] = np.random.default_rng(1).standard_normal((30, D))  # a source unlike all others
    folds = [["task-0", "task-5"], ["task-1", "task-6"], ["task-2", "task-7"]]
    folds += [["task-3"], ["task-4"]]
    fitted = AnchorBasis(base, lifted, GROUPS).fit(tuned, source="task-1", rank=8)
    slow = {
        penalty: slow_held_out(base, lifted, tuned, folds, "task-1", penalty, 8)
        for penalty in PENALTIES
    }
    assert fitted.penalty == max(slow, key=slow.__getitem__)
    # The scaled identity is shared by the folds; everything else is found without the fold.
    assert fitted.r2_anchors == pytest.approx(slow[fitted.penalty], abs=2e-3)
    other = AnchorBasis(base, lifted, GROUPS).fit(tuned, source="none of them", rank=8)
    assert other.r2_anchors < fitted.r2_anchors - 0.05


def test_rank_is_chosen_on_request():
    base, lifted, tuned = anchors(n=600, d=40, p=60, directions=6, noise=1.0)
    basis = AnchorBasis(base, lifted, [str(i // 60) for i in range(600)])
    chosen = basis.fit(tuned, source="0", rank=None)
    each = {rank: basis.fit(tuned, source="0", rank=rank).r2_anchors for rank in (8, 16, 32, 40)}
    assert chosen.rank == 8
    assert each[8] == max(each.values())
    assert chosen.r2_anchors == pytest.approx(each[8], abs=1e-3)


def test_held_out_quality_is_about_that_on_fresh_texts():
    base, lifted, tuned = anchors(3, n=2 * N, noise=1.0)
    fitted = AnchorBasis(base[:N], lifted[:N], GROUPS).fit(tuned[:N], source="task-0", rank=4)
    fresh = r_squared(tuned[N:], fitted.map.apply(base[N:], lifted[N:]))
    assert fitted.r2_anchors == pytest.approx(fresh, abs=0.03)


def test_the_order_of_the_anchors_does_not_matter():
    base, lifted, tuned = anchors()
    order = np.random.default_rng(7).permutation(N)
    first = AnchorBasis(base, lifted, GROUPS).fit(tuned, source="task-2", rank=4)
    second = AnchorBasis(base[order], lifted[order], [GROUPS[i] for i in order]).fit(
        tuned[order], source="task-2", rank=4
    )
    assert first.penalty == second.penalty
    assert first.r2_anchors == pytest.approx(second.r2_anchors, abs=1e-10)
    np.testing.assert_allclose(first.map.affine(), second.map.affine(), atol=1e-6)


def test_fitting_twice_gives_equal_maps_and_leaves_the_first_alone():
    base, lifted, tuned = anchors()
    basis = AnchorBasis(base, lifted, GROUPS)
    first = basis.fit(tuned, source="task-0", rank=4)
    before = {name: array.copy() for name, array in first.map.tensors().items()}
    basis.fit(anchors(9)[2], source="task-1", rank=4)
    again = basis.fit(tuned, source="task-0", rank=4)
    for name, array in again.map.tensors().items():
        np.testing.assert_array_equal(array, before[name])
        np.testing.assert_array_equal(first.map.tensors()[name], before[name])
    assert again.penalty == first.penalty


def test_an_untouched_model_gives_the_identity():
    base, lifted, _ = anchors()
    fitted = AnchorBasis(base, lifted, GROUPS).fit(base, source="task-0", rank=4)
    assert fitted.map.scale == pytest.approx(1)
    np.testing.assert_allclose(fitted.map.apply(base, lifted), base, atol=1e-5)
    assert fitted.r2_anchors == pytest.approx(1)


@pytest.mark.parametrize(
    "groups", [["only"] * N, [str(i) for i in range(N)], ["a"] * 9 + ["b"] * 231]
)
def test_any_grouping_works(groups):
    base, lifted, tuned = anchors()
    fitted = AnchorBasis(base, lifted, groups).fit(tuned, source="only", rank=4)
    assert 0.5 < fitted.r2_anchors < 1


def test_halves_of_a_direction_are_equally_long():
    base, lifted, tuned = anchors()
    fitted = AnchorBasis(1e-4 * base, 1e4 * lifted, GROUPS).fit(1e-4 * tuned, source="x", rank=4)
    lengths = [np.linalg.norm(half, axis=0) for half in (fitted.map.left, fitted.map.right)]
    np.testing.assert_allclose(*lengths, rtol=1e-5)


def test_bad_embeddings_are_refused():
    base, lifted, tuned = anchors()
    basis = AnchorBasis(base, lifted, GROUPS)
    with pytest.raises(FitError, match=r"NaN or infinite.*lower learning rate"):
        basis.fit(np.where(tuned > 4, np.nan, tuned), source="task-0")
    with pytest.raises(FitError, match="210 tuned embeddings that are all equal"):
        basis.fit(np.ones_like(tuned), source="task-0")
    with pytest.raises(ShapeError, match=r"\(240, 12\) and \(239, 12\).*embed the same texts"):
        basis.fit(tuned[1:], source="task-0")
    with pytest.raises(ShapeError, match=r"tuned embeddings \(240, 11\); expected \(240, 12\)"):
        basis.fit(tuned[:, 1:], source="task-0")
    with pytest.raises(FitError, match="rank 0; expected positive numbers"):
        basis.fit(tuned, source="task-0", rank=0)
    with pytest.raises(ShapeError, match="239 groups; expected 240"):
        AnchorBasis(base, lifted, GROUPS[1:])
    with pytest.raises(FitError, match="9 texts to fit a map on; expected at least 10"):
        AnchorBasis(base[:9], lifted[:9], GROUPS[:9])
    with pytest.raises(FitError, match="240 texts with equal features"):
        AnchorBasis(base, np.ones((N, P)), GROUPS)


# --------------------------------------------------------------------------------- published


def test_the_published_form_is_ridge_regression():
    base, _, tuned = anchors(d=D)
    for penalty in PENALTIES:
        fitted = fit_published(base, tuned, penalties=[penalty])
        strength = penalty * np.square(base - base.mean(0)).sum() / D
        oracle = Ridge(alpha=strength).fit(base, tuned)
        np.testing.assert_allclose(fitted.map.weight, oracle.coef_, atol=1e-5)
        np.testing.assert_allclose(fitted.map.bias, oracle.intercept_, atol=1e-5)
        assert (fitted.rank, fitted.penalty) == (D, penalty)


def test_its_penalty_is_the_best_on_a_held_out_fifth():
    base, _, tuned = anchors(n=40, noise=3.0)
    fitted = fit_published(base, tuned, seed=4)
    each = {
        penalty: fit_published(base, tuned, seed=4, penalties=[penalty]).r2_source
        for penalty in PENALTIES
    }
    assert fitted.penalty == max(each, key=each.__getitem__)
    assert fitted.r2_source == each[fitted.penalty]
    assert len({fit_published(base, tuned, seed=seed).r2_source for seed in range(3)}) == 3


def test_adamw_is_decided_by_its_seed():
    base, _, tuned = anchors()
    first, again, other = (
        fit_published(base, tuned, method="adamw", seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.map.weight, again.map.weight)
    assert not np.array_equal(first.map.weight, other.map.weight)
    assert first.penalty == 0
    assert first.r2_source == again.r2_source


def test_adamw_learns_but_closed_form_is_better():
    base, _, tuned = anchors(n=1000)
    closed, adamw = (fit_published(base, tuned, method=name) for name in ("closed", "adamw"))
    untrained = r_squared(tuned, np.zeros_like(tuned))
    assert untrained < adamw.r2_source < closed.r2_source


def test_adamw_leaves_the_global_random_state_alone():
    torch = pytest.importorskip("torch")
    base, _, tuned = anchors()
    before = torch.get_rng_state()
    fit_published(base, tuned, method="adamw")
    assert torch.equal(before, torch.get_rng_state())


def test_unknown_methods_and_shapes_are_refused():
    base, _, tuned = anchors()
    with pytest.raises(FitError, match="method 'sgd'; expected closed or adamw"):
        fit_published(base, tuned, method="sgd")
    with pytest.raises(ShapeError, match=r"base \(240, 12\), tuned \(240, 11\)"):
        fit_published(base, tuned[:, 1:])


# ----------------------------------------------------------------------------------------- R²


def test_r_squared_is_scikit_learns_over_all_columns():
    rng = np.random.default_rng(0)
    true = rng.standard_normal((30, 4)) * [1, 2, 3, 4] + 5
    predicted = true + rng.standard_normal((30, 4))
    expected = r2_score(true, predicted, multioutput="variance_weighted")
    assert r_squared(true, predicted) == pytest.approx(expected)


def test_r_squared_by_hand():
    true = np.array([[0.0], [2.0], [4.0]])
    assert r_squared(true, true) == 1
    assert r_squared(true, np.full((3, 1), 2.0)) == 0
    assert r_squared(true, np.array([[0.0], [2.0], [6.0]])) == pytest.approx(0.5)
    with pytest.raises(FitError, match="3 tuned embeddings that are all equal"):
        r_squared(np.ones((3, 2)), true @ np.ones((1, 2)))
    with pytest.raises(ShapeError, match=r"shapes \(3, 1\) and \(3, 2\)"):
        r_squared(true, np.ones((3, 2)))
