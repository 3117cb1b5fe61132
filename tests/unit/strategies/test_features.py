"""The linear model on embeddings: scikit-learn's pipeline, steady where data are scarce."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from esm.common.errors import FitError
from esm.encoder.cache import EmbeddingCache
from esm.strategies.features import Features
from esm.strategies.linear import STANDARDISED, inverse_penalty
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Examples, Metric, Problem
from tests.toy_tasks import toy_task

pytestmark = pytest.mark.slow


def predict(encoder, task, rows=None, seed=0, **settings):
    rows = task.train if rows is None else rows
    fitted = Features().fit_task(encoder, task, rows, TransferConfig(**settings), seed)
    return fitted.model.predict(task.test.texts, task.test.pairs)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_classification_is_balanced_logistic_regression(tiny_encoder, num_classes):
    task = toy_task(num_classes=num_classes)
    train = tiny_encoder.embed(task.train.texts).last.astype(np.float64)
    scaled = StandardScaler().fit_transform(train)
    penalty = inverse_penalty(scaled, task.train.labels, 0, STANDARDISED.inverse)
    oracle = make_pipeline(
        StandardScaler(), LogisticRegression(C=penalty, class_weight="balanced", max_iter=1000)
    ).fit(train, task.train.labels)
    expected = oracle.predict_log_proba(tiny_encoder.embed(task.test.texts).last)
    outputs = predict(tiny_encoder, task)
    normalised = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(normalised, expected, atol=1e-4)


def test_regression_is_ridge_regression_whatever_the_seed(tiny_encoder):
    task = toy_task(Problem.REGRESSION, pairs=True)
    train = tiny_encoder.embed(task.train.texts, task.train.pairs).last.astype(np.float64)
    oracle = make_pipeline(StandardScaler(), RidgeCV(STANDARDISED.ridge))
    oracle.fit(train, task.train.labels)
    expected = oracle.predict(tiny_encoder.embed(task.test.texts, task.test.pairs).last)
    for seed in (0, 1):
        outputs = predict(tiny_encoder, task, seed=seed)
        np.testing.assert_allclose(outputs[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_ranks_are_learnt_by_weighted_ridge_regression(tiny_encoder, choice):
    task = toy_task(Problem.ORDINAL)
    rows = task.train.take(np.argsort(task.train.labels, kind="stable")[:40])  # few of the last
    train = tiny_encoder.embed(rows.texts).last.astype(np.float64)
    scaler = StandardScaler().fit(train)
    weights = compute_sample_weight("balanced" if choice == "auto" else None, rows.labels)
    oracle = RidgeCV(STANDARDISED.ridge).fit(scaler.transform(train), rows.labels, weights)
    expected = oracle.predict(scaler.transform(tiny_encoder.embed(task.test.texts).last))
    outputs = predict(tiny_encoder, task, rows, class_weights=choice)
    np.testing.assert_allclose(outputs[:, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("metric", "choice", "balanced"),
    [("macro_f1", "none", False), ("accuracy", "auto", False), ("accuracy", "balanced", True)],
)
def test_classes_are_weighed_by_choice_or_for_macro_f1(tiny_encoder, metric, choice, balanced):
    task = dataclasses.replace(toy_task(), metric=Metric(metric))
    rows = task.train.take(np.argsort(task.train.labels, kind="stable")[:36])
    plain, weighed = (
        predict(tiny_encoder, task, rows, class_weights=which) for which in ("none", "balanced")
    )
    assert (plain != weighed).any()
    outputs = predict(tiny_encoder, task, rows, class_weights=choice)
    np.testing.assert_array_equal(outputs, weighed if balanced else plain)


def test_a_class_without_training_rows_is_never_predicted(tiny_encoder):
    task = toy_task()
    rows = task.train.take(np.flatnonzero(task.train.labels != 1))
    outputs = predict(tiny_encoder, task, rows)
    assert np.isfinite(outputs).all()
    assert set(outputs.argmax(axis=1)) == {0, 2}


def test_a_class_with_one_training_row_is_no_obstacle(tiny_encoder, recwarn):
    task = toy_task()
    labels = task.train.labels
    rows = task.train.take([*np.flatnonzero(labels != 1), np.flatnonzero(labels == 1)[0]])
    assert predict(tiny_encoder, task, rows).shape == (24, 3)
    assert not [warning for warning in recwarn if "populated" in str(warning.message)]


def test_labels_that_all_rows_or_none_have(tiny_encoder):
    task = toy_task(Problem.MULTILABEL)
    labels = task.train.labels.copy()
    labels[:, 0], labels[:, 1] = 1.0, 0.0
    outputs = predict(tiny_encoder, task, Examples(task.train.texts, None, labels))
    assert (outputs[:, 0] > 0).all()
    assert (outputs[:, 1] < 0).all()
    assert {True, False} == set(outputs[:, 2] > 0)


def test_one_class_only(tiny_encoder):
    task = toy_task()
    rows = task.train.take(np.flatnonzero(task.train.labels == 0))
    with pytest.raises(FitError, match=r"16 training rows of toy-classification have one class"):
        predict(tiny_encoder, task, rows)


def test_the_penalty_follows_the_noise():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 60))
    clear = (features[:, 0] > 0).astype(int)
    noise = rng.integers(0, 2, size=120)
    for_clear, for_noise = (
        inverse_penalty(features, labels, 0, STANDARDISED.inverse) for labels in (clear, noise)
    )
    assert for_clear > for_noise


def test_further_seeds_and_attributes_of_the_same_texts_do_not_embed_again(
    tiny_encoder, tmp_path, monkeypatch
):
    task = toy_task()
    strategy = Features(EmbeddingCache(tmp_path))
    first = strategy.fit_task(tiny_encoder, task, task.train, TransferConfig(), seed=0)
    outputs = first.model.predict(task.test.texts)
    monkeypatch.setattr(tiny_encoder, "embed", None)
    again = strategy.fit_task(tiny_encoder, task, task.train, TransferConfig(), seed=0)
    np.testing.assert_array_equal(again.model.predict(task.test.texts), outputs)
