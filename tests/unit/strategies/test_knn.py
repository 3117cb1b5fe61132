"""Nearest neighbours by faiss against scikit-learn's brute force, and votes by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from esm.common.errors import EncoderError, SettingError, ValidationError
from esm.encoder.cache import EmbeddingCache
from esm.strategies.knn import Knn, best_number, outputs, unit
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Examples, Problem
from tests.toy_tasks import TEXT_KINDS, toy_task

PLAIN = TransferConfig(class_weights="none")


def fit(encoder, task, config=PLAIN, rows=None):
    return Knn().fit_task(encoder, task, task.train if rows is None else rows, config, seed=0)


def asked(number):
    return TransferConfig(class_weights="none", own={"knn.neighbours": number})


@pytest.mark.parametrize("number", [1, 4, 48])
def test_shares_of_votes_are_those_of_scikit_learn(tiny_encoder, number):
    task = toy_task(num_test=40)
    model = fit(tiny_encoder, task, asked(number)).model
    train, test = (unit(tiny_encoder.embed(rows.texts).last) for rows in (task.train, task.test))
    oracle = KNeighborsClassifier(number, algorithm="brute").fit(train, task.train.labels)
    shares = oracle.predict_proba(test)
    expected = np.log((number * shares + 1 / 3) / (number + 1))
    np.testing.assert_allclose(model.predict(task.test.texts), expected, rtol=1e-6)


@pytest.mark.parametrize("problem", [Problem.REGRESSION, Problem.ORDINAL])
def test_amounts_and_ranks_are_means(tiny_encoder, problem):
    task = toy_task(problem)
    train, test = (unit(tiny_encoder.embed(rows.texts).last) for rows in (task.train, task.test))
    oracle = KNeighborsRegressor(5, algorithm="brute").fit(train, task.train.labels)
    found = fit(tiny_encoder, task, asked(5)).model.predict(task.test.texts)
    np.testing.assert_allclose(found[:, 0], oracle.predict(test), rtol=1e-6)


def test_votes_by_hand():
    votes = np.array([[[1, 0], [1, 0], [0, 1]]], dtype=float)
    plain = outputs(Problem.CLASSIFICATION, votes, np.ones((1, 3)))
    np.testing.assert_allclose(np.exp(plain), [[2.5 / 4, 1.5 / 4]])
    weighed = outputs(Problem.CLASSIFICATION, votes, np.array([[1.0, 1.0, 4.0]]))
    np.testing.assert_allclose(np.exp(weighed), [[2.5 / 7, 4.5 / 7]])
    labels = outputs(Problem.MULTILABEL, votes, np.ones((1, 3)))
    np.testing.assert_allclose(np.exp(labels), [[2.5 / 1.5, 1.5 / 2.5]])
    values = outputs(Problem.REGRESSION, np.array([[[1.0], [4.0]]]), np.array([[1.0, 2.0]]))
    np.testing.assert_allclose(values, [[3.0]])


def test_clean_classes_ask_few_and_noisy_ones_many():
    rng = np.random.default_rng(0)
    points = unit(rng.normal(size=(200, 4)))
    clear = (points[:, 0] > 0).astype(int)
    noisy = np.where(rng.random(200) < 0.35, 1 - clear, clear)
    numbers = [
        best_number(Problem.CLASSIFICATION, points, np.eye(2)[labels], np.ones(200))
        for labels in (clear, noisy)
    ]
    assert numbers[0] < numbers[1]


@pytest.mark.parametrize("problem", TEXT_KINDS)
def test_the_restored_model_is_the_same_to_the_last_bit(tiny_encoder, problem):
    task = toy_task(problem, pairs=True)
    model = fit(tiny_encoder, task, TransferConfig()).model
    again = Knn().restore_task(tiny_encoder, task, model.trained_state())
    columns = (task.test.texts, task.test.pairs)
    np.testing.assert_array_equal(again.predict(*columns), model.predict(*columns))


def test_a_text_alone_is_told_what_it_is_told_among_others(tiny_encoder):
    task = toy_task()
    model = Knn(EmbeddingCache(None)).fit_task(tiny_encoder, task, task.train, PLAIN, seed=0).model
    together = model.predict(task.test.texts)
    alone = np.concatenate([model.predict([text]) for text in task.test.texts[:6]])
    np.testing.assert_allclose(alone, together[:6], atol=1e-6)


def test_rare_classes_count_more_where_classes_are_weighed(tiny_encoder):
    task = toy_task()
    rows = task.train.take(np.argsort(task.train.labels, kind="stable")[:36])
    plain = fit(tiny_encoder, task, asked(9), rows).model
    config = TransferConfig(own={"knn.neighbours": 9})
    weighed = fit(tiny_encoder, task, config, rows).model
    assert set(plain.weights) == {1.0}
    rarest = np.bincount(rows.labels).argmin()
    assert weighed.weights[rows.labels == rarest].min() == weighed.weights.max()
    assert (plain.predict(task.test.texts) != weighed.predict(task.test.texts)).any()


def test_no_weight_is_trained_and_how_many_are_asked_is_told(tiny_encoder):
    task = toy_task()
    transferred = fit(tiny_encoder, task, asked(100))
    assert transferred.trained_parameters == 0
    assert transferred.stored_parameters == 48 * 32 + 48 * 3 + 48 + 1
    assert transferred.remarks == ("48 nearest neighbours",)
    one = fit(tiny_encoder, task, rows=Examples(("a b",), None, np.array([1])))
    assert one.model.predict(["c"]).argmax() == 1


def test_a_damaged_state_is_refused(tiny_encoder):
    task = toy_task()
    state = fit(tiny_encoder, task).model.trained_state()
    for name in ("knn.points", "knn.votes"):
        with pytest.raises(EncoderError, match="do not fit"):
            Knn().restore_task(tiny_encoder, task, state | {name: state[name][:, :2]})
    with pytest.raises(EncoderError, match="60 neighbours among the 48 rows of toy-class"):
        Knn().restore_task(tiny_encoder, task, state | {"knn.neighbours": np.array([60])})


def test_it_cannot_be_exported_and_zero_neighbours_are_none(tiny_encoder):
    with pytest.raises(ValidationError, match=r"knn cannot be exported: it asks the training rows"):
        Knn().export_task(tiny_encoder, toy_task(), {})
    with pytest.raises(SettingError, match="neighbours = '0'; expected greater"):
        Knn().settings(TransferConfig(own={"knn.neighbours": 0}))
