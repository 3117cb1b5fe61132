"""The H-score against scikit-learn's shrinkage, in one pass, and what affine maps do to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from esm.common.errors import FitError, ShapeError
from esm.scorers.base import EmbeddingKind, Need
from esm.scorers.hscore import HScore, HScoreMoments, hscore
from esm.tasks.task import Problem
from tests.evidence import evidence_of, record_of, target_of


def plainly(features, labels, *, regularised=True):
    """The definition, with scikit-learn's Ledoit-Wolf estimate and a matrix inverse."""
    centred = features - features.mean(0)
    between = sum(
        (labels == c).mean() * np.outer(mean := centred[labels == c].mean(0), mean)
        for c in np.unique(labels)
    )
    if not regularised:
        return np.trace(np.linalg.pinv(centred.T @ centred / len(features)) @ between)
    shrunk, alpha = ledoit_wolf(centred, assume_centered=True)
    factor = (1 - alpha) * len(features) / (len(features) - 1)
    return factor * np.trace(np.linalg.inv(shrunk) @ between)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 80),
    d=st.integers(1, 30),
    num_classes=st.integers(2, 5),
    offset=st.sampled_from([0.0, 1.0, 30.0]),
    size=st.integers(1, 40),
)
def test_one_pass_in_batches_equals_the_definition(seed, n, d, num_classes, offset, size):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, n)
    features = rng.standard_normal((n, d)) + rng.standard_normal((num_classes, d))[labels] + offset
    expected = plainly(features, labels)
    assert hscore(features, labels) == pytest.approx(expected, rel=1e-7, abs=1e-9)
    moments = HScoreMoments.of(features[:size], labels[:size], num_classes)
    for start in range(size, n, size):
        moments = moments.add(features[start : start + size], labels[start : start + size])
    assert moments.score() == pytest.approx(expected, rel=1e-7, abs=1e-9)


def data(seed=0, n=300, d=6):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    return rng, rng.standard_normal((n, d)) + rng.standard_normal((3, d))[labels], labels


def test_an_invertible_affine_map_changes_the_regularised_score_only():
    """So on dense maps the unregularised score cannot tell one source from another."""
    rng, features, labels = data()
    mapped = features @ (np.eye(6) + rng.standard_normal((6, 6))) + rng.standard_normal(6)
    plain = hscore(features, labels, regularised=False)
    assert plain == pytest.approx(plainly(features, labels, regularised=False))
    assert hscore(mapped, labels, regularised=False) == pytest.approx(plain, abs=1e-9)
    assert abs(hscore(mapped, labels) - hscore(features, labels)) > 1e-3


def test_rotation_scale_offset_and_names_of_classes_do_not_matter():
    rng, features, labels = data()
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    expected = hscore(features, labels)
    assert hscore(3 * features @ rotation + 7, (labels + 1) % 3) == pytest.approx(expected)


def test_more_than_one_batch():
    _, features, labels = data(n=10_000, d=3)
    assert hscore(features, labels) == pytest.approx(plainly(features, labels), rel=1e-9)


def test_what_cannot_be_scored():
    with pytest.raises(FitError, match="4 equal embeddings"):
        hscore(np.ones((4, 2)), np.array([0, 0, 1, 1]))
    with pytest.raises(FitError, match="NaN"):
        hscore(np.full((4, 2), np.nan), np.array([0, 0, 1, 1]))
    with pytest.raises(ShapeError, match=r"features \(4, 2\) and labels \(3,\)"):
        hscore(np.ones((4, 2)), np.array([0, 0, 1]))


def test_the_scorer_reads_tuned_embeddings_and_the_base_model_untouched():
    _, features, labels = data()
    tuned = features.astype(np.float32)
    target = target_of(labels, tuned[:, ::-1] * [1, 2, 1, 1, 1, 1])
    found = HScore().score(evidence_of(target, record_of(), tuned=tuned))
    assert found == pytest.approx(plainly(tuned, labels), rel=1e-6)
    assert HScore().score(evidence_of(target)) == pytest.approx(
        plainly(target.base, labels), rel=1e-6
    )
    assert HScore().needs == {Need.TUNED}
    assert HScore(EmbeddingKind.MAPPED).needs == {Need.MAP}
    columns = np.stack([labels == 0, labels == 1], axis=1).astype(float)
    sets = target_of(columns, tuned, problem=Problem.MULTILABEL)
    expected = np.mean([plainly(tuned, column) for column in columns.T])
    assert HScore().score(evidence_of(sets)) == pytest.approx(expected, rel=1e-6)
