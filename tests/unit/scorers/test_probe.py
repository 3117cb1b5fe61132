"""The cross-validated probe against scikit-learn's own cross-validation on the same folds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from esm.common.errors import TaskError
from esm.metrics.predictions import performance
from esm.scorers.base import EmbeddingKind, Need
from esm.scorers.probe import FOLDS, Probe, cross_validate
from esm.tasks.splits.draw import cross_folds
from esm.tasks.task import Problem
from tests.evidence import evidence_of, record_of, target_of


def data(seed=0, n=150, d=6):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.25).astype(int) + (rng.random(n) < 0.2)
    features = rng.standard_normal((n, d)) + rng.standard_normal((3, d))[labels]
    return features.astype(np.float32), labels


@pytest.mark.parametrize("balanced", [True, False])
def test_classes_equal_scikit_learn_on_the_same_folds(balanced):
    features, labels = data()
    target = target_of(labels, features, balanced=balanced)
    folds = cross_folds(target.examples, Problem.CLASSIFICATION, FOLDS, 0)
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]
    weights = {"logisticregression__sample_weight": target.weights} if balanced else {}
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    predicted = cross_val_predict(
        model, features.astype(float), labels, cv=PredefinedSplit(folds), params=weights
    )
    found = cross_validate(target, features, 0.1)
    assert found == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-12)


@pytest.mark.parametrize("problem", [Problem.REGRESSION, Problem.ORDINAL])
def test_amounts_and_ranks_equal_ridge_regression(problem):
    features, labels = data()
    amounts = labels + features[:, 0].astype(float) if problem is Problem.REGRESSION else labels
    target = target_of(amounts, features, problem=problem)
    folds = cross_folds(target.examples, problem, FOLDS, 0)
    predicted = np.zeros(len(labels))
    for fold in range(FOLDS):
        rows = folds != fold
        model = make_pipeline(StandardScaler(), Ridge(alpha=0.1 * rows.sum()))
        fitted = model.fit(features[rows].astype(float), amounts[rows])
        predicted[~rows] = fitted.predict(features[~rows].astype(float))
    expected = performance(target.task, amounts, predicted[:, None])[target.task.metric]
    assert cross_validate(target, features, 0.1) == pytest.approx(expected, abs=1e-9)


def test_sets_of_labels_are_predicted_one_by_one():
    features, labels = data()
    columns = np.stack([labels == 0, labels > 0, np.ones(len(labels))], axis=1).astype(float)
    target = target_of(columns, features, problem=Problem.MULTILABEL)
    folds = cross_folds(target.examples, Problem.MULTILABEL, FOLDS, 0)
    outputs = np.ones(columns.shape)
    for fold in range(FOLDS):
        rows = folds != fold
        for column in (0, 1):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
            fitted = model.fit(features[rows].astype(float), columns[rows, column])
            outputs[~rows, column] = fitted.predict(features[~rows].astype(float)) - 0.5
    expected = performance(target.task, columns, outputs)["macro_f1"]
    assert cross_validate(target, features, 0.1) == pytest.approx(expected, abs=1e-12)


def test_the_penalty_is_chosen_on_the_base_embeddings_once():
    features, labels = data()
    noise = np.random.default_rng(1).standard_normal(features.shape).astype(np.float32)
    target = target_of(labels, features)
    grid = {c: cross_validate(target, features, c) for c in (0.001, 0.01, 0.1, 1.0)}
    base = Probe().score(evidence_of(target))
    assert base == max(grid.values())
    best = min(c for c, value in grid.items() if value == base)
    tuned = evidence_of(target, record_of(), tuned=noise)
    scorer = Probe("frozen", EmbeddingKind.TUNED)
    assert scorer.score(tuned) == cross_validate(target, noise, best)
    assert scorer.score(tuned) < base
    assert scorer.needs == {Need.TUNED}


def test_equal_texts_lie_in_one_fold():
    """A nearest copy would otherwise be among the fitted rows."""
    labels = np.random.default_rng(0).integers(0, 2, 60)
    texts = tuple(f"text {i % 20}" for i in range(60))
    target = target_of(labels, texts=texts)
    folds = cross_folds(target.examples, Problem.CLASSIFICATION, FOLDS, 0)
    assert all(len({folds[i], folds[i + 20], folds[i + 40]}) == 1 for i in range(20))


def test_a_class_that_one_fold_holds_alone():
    features, labels = data(n=40)
    labels = (labels > 0).astype(int)
    labels[:] = 0
    labels[7] = 1
    found = cross_validate(target_of(labels, features), features, 0.1)
    assert found == pytest.approx(f1_score(labels, np.zeros(40), average="macro"))


def test_a_dimension_that_hardly_varies_changes_nothing():
    """Divided by its spread, a single other value would outweigh all that was learnt."""
    features, labels = data()
    target = target_of(labels, features)
    dead = np.column_stack([features, np.full(len(features), 1e-5)]).astype(np.float32)
    dead[::7, -1] *= 1 + 1e-6
    assert cross_validate(target, dead, 0.1) == cross_validate(target, features, 0.1)


def test_what_cannot_be_divided():
    features, _ = data(n=10)
    with pytest.raises(TaskError, match="10 rows of posts/harmful with the same label"):
        Probe().score(evidence_of(target_of(np.zeros(10, int), features)))
    same = target_of(np.array([0, 1] * 5), features, texts=("a",) * 10)
    with pytest.raises(TaskError, match="at least two distinct texts"):
        Probe().score(evidence_of(same))
