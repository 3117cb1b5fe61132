"""TF-IDF against formulas on paper and scikit-learn's pipeline; kept as arrays and JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from esm.common.errors import EncoderError, FitError, ValidationError
from esm.strategies.linear import inverse_penalty
from esm.strategies.settings import TransferConfig
from esm.strategies.tfidf import _PENALTIES, Tfidf, TfidfModel
from esm.tasks.task import Examples
from tests.toy_tasks import TEXT_KINDS, toy_task


def fit(encoder, task, rows=None, seed=0):
    rows = task.train if rows is None else rows
    return Tfidf().fit_task(encoder, task, rows, TransferConfig(), seed)


def test_features_by_hand():
    # tf is 1 + ln(count), the row has length 1; idf as given.
    idf, weight = np.array([1.0, 2.0]), np.array([[1.0], [10.0]])
    model = TfidfModel(("good", "bad"), idf, weight, np.array([0.5]))
    raw = np.array([1 + np.log(2), 2.0])
    expected = (raw / np.linalg.norm(raw)) @ weight[:, 0] + 0.5
    found = model.predict(["Good, good BAD unknown", "nothing known"])
    np.testing.assert_allclose(found[:, 0], [expected, 0.5])


def test_classes_are_those_of_a_pipeline_of_scikit_learn(tiny_encoder):
    task = toy_task()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\b\w+\b", sublinear_tf=True)
    train = vectorizer.fit_transform(task.train.texts)
    penalty = inverse_penalty(train, task.train.labels, 0, _PENALTIES.inverse)
    oracle = LogisticRegression(C=penalty, class_weight="balanced", max_iter=1000)
    oracle.fit(train, task.train.labels)
    expected = oracle.decision_function(vectorizer.transform(task.test.texts))
    outputs = fit(tiny_encoder, task).model.predict(task.test.texts)
    np.testing.assert_allclose(outputs, expected, atol=1e-8)


def test_of_a_pair_it_counts_what_both_share(tiny_encoder):
    texts = ("red", "red", "blue", "blue", "green", "green") * 3
    pairs = ("red", "blue", "blue", "red", "green", "red") * 3
    labels = np.array([1, 0, 1, 0, 1, 0] * 3)
    task = toy_task(num_classes=2)
    model = fit(tiny_encoder, task, Examples(texts, pairs, labels)).model
    outputs = model.predict(["red", "blue", "green"], ["red", "blue", "blue"])
    assert outputs.argmax(axis=1).tolist() == [1, 1, 0]


@pytest.mark.parametrize("problem", TEXT_KINDS)
@pytest.mark.parametrize("pairs", [False, True])
def test_the_restored_model_is_the_same_to_the_last_bit(tiny_encoder, problem, pairs):
    task = toy_task(problem, pairs=pairs)
    model = fit(tiny_encoder, task).model
    state = model.trained_state()
    again = Tfidf().restore_task(tiny_encoder, task, state)
    columns = (task.test.texts, task.test.pairs)
    np.testing.assert_array_equal(again.predict(*columns), model.predict(*columns))


def test_the_vocabulary_is_json_and_no_weight_is_of_the_encoder(tiny_encoder):
    transferred = fit(tiny_encoder, toy_task())
    state = transferred.model.trained_state()
    terms = json.loads(state["tfidf.vocabulary"].tobytes())
    assert "great" in terms
    assert "was very" in terms
    assert terms == sorted(terms)
    assert transferred.total_parameters == transferred.trained_parameters == 3 * len(terms) + 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tfidf.vocabulary", np.frombuffer(b"[1, 2]", np.uint8), "hold no vocabulary"),
        ("tfidf.vocabulary", np.frombuffer(b'["a", "a"]', np.uint8), "hold no vocabulary"),
        ("tfidf.vocabulary", np.frombuffer(b"import os", np.uint8), "hold no vocabulary"),
        ("tfidf.idf", np.ones(3), "do not fit"),
        ("head.bias", np.full(3, np.nan), "do not fit"),
    ],
)
def test_a_damaged_state_is_refused(tiny_encoder, name, value, message):
    task = toy_task()
    state = fit(tiny_encoder, task).model.trained_state()
    with pytest.raises(EncoderError, match=message):
        Tfidf().restore_task(tiny_encoder, task, state | {name: value})


def test_a_state_without_a_vocabulary_is_refused(tiny_encoder):
    with pytest.raises(EncoderError, match="hold no vocabulary"):
        Tfidf().restore_task(tiny_encoder, toy_task(), {})


def test_texts_without_words(tiny_encoder):
    rows = Examples(("?!", "..."), None, np.array([0, 1]))
    with pytest.raises(FitError, match="2 training rows of toy-classification hold no words"):
        fit(tiny_encoder, toy_task(), rows)


def test_it_cannot_be_exported(tiny_encoder):
    with pytest.raises(ValidationError, match=r"tfidf cannot be exported: it has no encoder"):
        Tfidf().export_task(tiny_encoder, toy_task(), {})
