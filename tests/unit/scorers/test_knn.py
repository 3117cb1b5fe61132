"""kNN as a scorer: votes by hand, and scikit-learn's classifier left one out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from esm.common.errors import TaskError
from esm.metrics.predictions import performance
from esm.scorers.base import EmbeddingKind, Need
from esm.scorers.knn import Knn, predict
from esm.tasks.task import Problem
from tests.evidence import evidence_of, record_of, target_of


def data(seed=0, n=120, d=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    features = rng.standard_normal((n, d)) + 1.5 * rng.standard_normal((3, d))[labels]
    return features.astype(np.float32), labels


def test_equal_to_scikit_learn_left_one_out():
    features, labels = data()
    predicted = cross_val_predict(
        KNeighborsClassifier(5, algorithm="brute"), features, labels, cv=LeaveOneOut()
    )
    found = Knn().score(evidence_of(target_of(labels, features)))
    assert found == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-12)
    assert accuracy_score(labels, predicted) < 1


def test_amounts_are_averaged():
    features, labels = data()
    amounts = labels + features[:, 0].astype(float)
    predicted = cross_val_predict(
        KNeighborsRegressor(5, algorithm="brute"), features, amounts, cv=LeaveOneOut()
    )
    target = target_of(amounts, features, problem=Problem.REGRESSION)
    expected = performance(target.task, amounts, predicted[:, None])["spearman"]
    assert Knn().score(evidence_of(target)) == pytest.approx(expected, abs=1e-9)


def test_votes_by_hand():
    nearest = np.array([[1, 2, 3]] * 4)
    labels = np.array([0, 0, 0, 1])
    assert predict(target_of(labels), nearest).argmax(1).tolist() == [0] * 4
    # Under class balance a row of class 1 weighs three times one of class 0: two votes against
    # three, and in a tie the first class wins.
    assert predict(target_of(labels, balanced=True), nearest).argmax(1).tolist() == [1] * 4
    tied = np.array([[0, 3]] * 4)
    assert predict(target_of(labels), tied).argmax(1).tolist() == [0] * 4
    sets = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=float)
    outputs = predict(target_of(sets, problem=Problem.MULTILABEL), nearest)
    assert outputs[0] == pytest.approx([1 / 3 - 0.5, 2 / 3 - 0.5])
    ranks = predict(target_of(np.array([0, 1, 2, 2]), problem=Problem.ORDINAL), nearest)
    assert ranks[:, 0] == pytest.approx([5 / 3] * 4)


def test_fewer_rows_than_neighbours():
    labels = np.array([0, 0, 1])
    features = np.array([[0.0], [0.1], [9.0]], np.float32)
    found = Knn(k=5).score(evidence_of(target_of(labels, features)))
    # The first two see one of each class, of which the first wins; the third sees two of class 0.
    assert found == pytest.approx(f1_score(labels, [0, 0, 0], average="macro"))
    with pytest.raises(TaskError, match="1 rows"):
        Knn().score(evidence_of(target_of(labels[:1], features[:1])))


def test_which_embeddings_it_reads():
    features, labels = data()
    target = target_of(labels, np.zeros_like(features))
    tuned = evidence_of(target, record_of(), tuned=features)
    found = Knn(EmbeddingKind.TUNED).score(tuned)
    assert found == Knn().score(evidence_of(target_of(labels, features)))
    assert Knn().needs == {Need.MAP}
