"""The vectors of a task against differentiation by hand and words counted by eye."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from esm.common.errors import MapError, StorageError
from esm.common.storage import save_tensors
from esm.pool.vectors import MOST_WORDS, TaskVectors, fisher_diagonal, hashed_words
from esm.tasks.task import Examples, Problem


def examples(texts, labels=None, pairs=None):
    labels = np.zeros(len(texts)) if labels is None else labels
    return Examples(tuple(texts), None if pairs is None else tuple(pairs), labels)


def slope(log_likelihood, point, step=1e-5):
    """Gradient at a point by central differences."""
    steps = step * np.eye(len(point))
    return (
        np.array([(log_likelihood(point + e) - log_likelihood(point - e)) / 2 for e in steps])
        / step
    )


class Scaler:
    """Embeddings about their mean, in units of their root mean square deviation."""

    def __init__(self, base):
        self.mean = base.mean(0)
        self.unit = ((base - self.mean) ** 2).mean() ** 0.5

    def transform(self, points):
        return (points - self.mean) / self.unit


def data(seed=0, n=40, d=5):
    rng = np.random.default_rng(seed)
    return rng, rng.standard_normal((n, d)) * [1, 3, 0.2, 1, 1] + 2


@pytest.mark.parametrize("num_classes", [2, 4])
def test_fisher_of_classes_by_finite_differences(num_classes):
    rng, base = data()
    labels = rng.integers(0, num_classes, len(base))
    scaler = Scaler(base)
    head = LogisticRegression(C=0.01, max_iter=1000).fit(scaler.transform(base), labels)

    def log_likelihood(row):
        return lambda point: head.predict_log_proba(scaler.transform(point[None]))[0, labels[row]]

    gradients = np.array([slope(log_likelihood(row), point) for row, point in enumerate(base)])
    found = fisher_diagonal(Problem.CLASSIFICATION, labels, base)
    assert found == pytest.approx((gradients**2).mean(0) * scaler.unit**2, rel=1e-5)


def test_fisher_of_labels_by_finite_differences():
    rng, base = data()
    labels = rng.integers(0, 2, (len(base), 3)).astype(float)
    scaler = Scaler(base)
    features = scaler.transform(base)
    heads = [LogisticRegression(C=0.01, max_iter=1000).fit(features, column) for column in labels.T]

    def log_likelihood(row):
        def at(point):
            standardised = scaler.transform(point[None])
            return sum(
                head.predict_log_proba(standardised)[0, int(labels[row, column])]
                for column, head in enumerate(heads)
            )

        return at

    gradients = np.array([slope(log_likelihood(row), point) for row, point in enumerate(base)])
    found = fisher_diagonal(Problem.MULTILABEL, labels, base)
    assert found == pytest.approx((gradients**2).mean(0) * scaler.unit**2, rel=1e-5)


@pytest.mark.parametrize("problem", [Problem.REGRESSION, Problem.ORDINAL])
def test_fisher_of_amounts_by_finite_differences(problem):
    rng, base = data()
    labels = rng.integers(0, 5, len(base))
    amounts = (labels - labels.mean()) / labels.std()
    scaler = Scaler(base)
    head = Ridge(alpha=100).fit(scaler.transform(base), amounts)

    def log_likelihood(row):
        return lambda point: (
            -0.5 * (amounts[row] - head.predict(scaler.transform(point[None]))[0]) ** 2
        )

    gradients = np.array([slope(log_likelihood(row), point) for row, point in enumerate(base)])
    assert fisher_diagonal(problem, labels, base) == pytest.approx(
        (gradients**2).mean(0) * scaler.unit**2, rel=1e-5
    )


@pytest.mark.parametrize(
    "problem", [Problem.CLASSIFICATION, Problem.REGRESSION, Problem.MULTILABEL]
)
def test_equal_labels_inform_about_nothing(problem):
    _, base = data()
    labels = np.ones((len(base), 2)) if problem is Problem.MULTILABEL else np.ones(len(base))
    assert fisher_diagonal(problem, labels, base).tolist() == [0.0] * 5


def test_the_dimension_that_tells_the_classes_apart_has_the_largest_share():
    _, base = data(n=200)
    labels = (base[:, 3] > 2).astype(int)
    assert fisher_diagonal(Problem.CLASSIFICATION, labels, base).argmax() == 3


def test_a_dimension_that_hardly_varies_does_not_decide():
    """The packaged encoder has one; its numbers must neither overflow nor dominate."""
    _, base = data(n=200)
    labels = (base[:, 3] > 2).astype(int)
    dead = base * [1, 1, 1e-25, 1, 1]
    found = fisher_diagonal(Problem.CLASSIFICATION, labels, dead)
    assert np.isfinite(found).all()
    assert found.argmax() == 3
    assert found[2] < 1e-6 * found[3]
    assert fisher_diagonal(Problem.CLASSIFICATION, labels, np.ones((200, 5))).tolist() == [0.0] * 5


def test_words_of_one_text_alone_are_not_kept_and_case_does_not_count():
    shared = hashed_words(examples(["The cat, the CAT!", "a Cat sat", "Novák left"]))
    assert len(shared) == 1  # cat: "the" is twice in one text only
    again = hashed_words(examples(["cat", "dog", "x"], pairs=["y", "z", "CAT"]))
    assert shared.tolist() == again.tolist()
    assert hashed_words(examples(["one text"])).tolist() == []


def test_the_smallest_hashes_are_kept():
    words = [f"w{i}" for i in range(2 * MOST_WORDS)]
    everything = hashed_words(examples([" ".join(words)] * 2))
    assert len(everything) == MOST_WORDS
    halves = [hashed_words(examples([" ".join(words[i::2])] * 2)) for i in (0, 1)]
    assert everything.tolist() == sorted(np.concatenate(halves))[:MOST_WORDS]


def test_summed_up_saved_and_read_back(tmp_path):
    _rng, base = data(n=6)
    rows = examples(["a cat", "a dog", "a sun", "cat", "b", "c"], np.array([0, 1, 0, 1, 0, 1]))

    class Outputs:
        id, problem, num_outputs = "t", Problem.CLASSIFICATION, 2

    vectors = TaskVectors.of(Outputs(), rows, base.astype(np.float32))
    assert vectors.mean == pytest.approx(base.mean(0), rel=1e-6)
    assert len(vectors.vocabulary) == 2  # a, cat
    path = tmp_path / "vectors.safetensors"
    vectors.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = TaskVectors.load(path, width=5)
    for name in ("mean", "fisher", "vocabulary"):
        assert np.array_equal(getattr(loaded, name), getattr(vectors, name))


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "vectors.safetensors"
    with pytest.raises(StorageError, match="no file"):
        TaskVectors.load(path, width=5)
    good = {"mean": np.ones(5, np.float32), "fisher": np.ones(5, np.float32)}
    words = np.array([1, 2], np.uint32)
    save_tensors(path, good)
    with pytest.raises(MapError, match="holds fisher, mean; expected mean, fisher and vocabulary"):
        TaskVectors.load(path, width=5)
    save_tensors(path, {**good, "vocabulary": words})
    with pytest.raises(MapError, match="width 5; expected width 6"):
        TaskVectors.load(path, width=6)
    for change in (
        {"vocabulary": words[::-1]},
        {"vocabulary": words.astype(np.int64)},
        {"mean": np.full(5, np.nan, np.float32)},
        {"fisher": np.ones(4, np.float32)},
    ):
        save_tensors(path, {**good, "vocabulary": words, **change})
        with pytest.raises(MapError, match="ascending uint32"):
            TaskVectors.load(path, width=5)
