"""Mixed lessons: each text once, tasks as often as their share says, weights that add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esm.strategies.joint.mixing import (
    MixedBatches,
    Mixture,
    Sampling,
    row_weights,
    sampling_shares,
    systematic,
)
from esm.strategies.protocol import Lesson
from esm.tasks.task import Examples
from esm.training.loop import LengthGroupedBatches
from tests.toy_tasks import toy_task


def lesson(texts, pairs=None):
    rows = Examples(tuple(texts), pairs, np.zeros(len(texts), dtype=np.int64))
    return Lesson(toy_task(), rows)


# ------------------------------------------------------------------------------------ shares


def test_shares_by_hand():
    # Rows 100 and 900: 1:9, roots 10:30, and equal shares to the power of 0.2 at the end.
    sizes = [100, 900]
    assert sampling_shares(sizes, Sampling.PROPORTIONAL, 0, 3).tolist() == pytest.approx([0.1, 0.9])
    assert sampling_shares(sizes, Sampling.SQUARE_ROOT, 2, 3).tolist() == pytest.approx(
        [0.25, 0.75]
    )
    annealed = [sampling_shares(sizes, Sampling.ANNEALED, epoch, 3)[0] for epoch in range(3)]
    assert annealed[0] == pytest.approx(0.1)
    assert annealed[1] == pytest.approx(1 / (1 + 9**0.6))
    assert annealed[2] == pytest.approx(1 / (1 + 9**0.2))
    assert sampling_shares(sizes, Sampling.ANNEALED, 0, 1)[0] == pytest.approx(0.1)


# ----------------------------------------------------------------------------------- mixture


def test_texts_of_several_lessons_are_there_once():
    mixture = Mixture.of({"a": lesson(["x", "y", "x"]), "b": lesson(["z", "x", "x"])})
    assert mixture.texts == ("x", "y", "x", "z")
    assert mixture.places["a"].tolist() == [0, 1, 2]
    assert mixture.places["b"].tolist() == [3, 0, 2]
    assert mixture.annotated().tolist() == [[1, 1], [1, 0], [1, 1], [0, 1]]


def test_pairs_and_single_texts_are_different_rows(tiny_encoder):
    mixture = Mixture.of({"a": lesson(["x", "the"]), "b": lesson(["the"], ("good",))})
    assert mixture.pairs == (None, None, "good")
    tokens = mixture.tokens(tiny_encoder)
    single, pair = tiny_encoder.tokenize(["the"]), tiny_encoder.tokenize(["the"], ["good"])
    assert [tokens[1], tokens[2]] == [*single, *pair]


# ----------------------------------------------------------------------------------- weights


def test_weights_by_hand():
    # Row 0 has both tasks, row 1 the first alone: n = (2, 1), shares (1/2, 1/2), so each row of
    # the first task is drawn with 1/4, the only one of the second with 1/2.
    likely, weights = row_weights(np.array([[1, 1], [1, 0]], dtype=bool), np.array([0.5, 0.5]))
    assert likely.tolist() == pytest.approx([0.75, 0.25])
    assert weights[0].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert weights[1].tolist() == [1.0, 0.0]


@given(st.integers(1, 4), st.integers(1, 30), st.integers(0, 10**6))
def test_expected_losses_are_those_of_drawing_a_task_and_then_its_row(tasks, rows, seed):
    rng = np.random.default_rng(seed)
    annotated = rng.random((rows, tasks)) < 0.5
    annotated[np.arange(rows), rng.integers(tasks, size=rows)] = True
    annotated[rng.integers(rows, size=tasks), np.arange(tasks)] = True
    share = rng.dirichlet(np.ones(tasks))
    likely, weights = row_weights(annotated, share)
    assert likely.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    expected = annotated * share / annotated.sum(axis=0)  # the plain way, annotation by annotation
    np.testing.assert_allclose(likely[:, None] * weights, expected, atol=1e-12)


@given(st.integers(1, 40), st.integers(0, 10**6))
def test_rows_are_drawn_as_often_as_they_should(count, seed):
    rng = np.random.default_rng(seed)
    likely = rng.dirichlet(np.full(count, 0.7))
    drawn = np.bincount(systematic(likely, rng), minlength=count)
    assert drawn.sum() == count
    assert (drawn >= np.floor(count * likely - 1e-6)).all()
    assert (drawn <= np.ceil(count * likely + 1e-6)).all()


def test_draws_are_unbiased():
    likely = np.array([0.5, 0.3, 0.15, 0.05])
    rng = np.random.default_rng(0)
    mean = np.mean([np.bincount(systematic(likely, rng), minlength=4) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(mean, 4 * likely, atol=0.04)


# ----------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("sampling", [Sampling.PROPORTIONAL, Sampling.SQUARE_ROOT])
def test_one_task_alone_gives_the_plain_batches(sampling):
    lengths = np.random.default_rng(0).integers(3, 30, size=53).tolist()
    mixed = MixedBatches(lengths, 8, 5, np.ones((53, 1), dtype=bool), sampling, 3)
    plain = LengthGroupedBatches(lengths, 8, 5)
    for _ in range(3):
        assert list(mixed) == list(plain)
        assert (mixed.weights == 1).all()


def test_a_small_task_is_trained_more_often_by_the_root_of_its_rows():
    annotated = np.zeros((100, 2), dtype=bool)
    annotated[:90, 0] = annotated[90:, 1] = True
    for sampling, expected in ((Sampling.PROPORTIONAL, 10), (Sampling.SQUARE_ROOT, 25)):
        batches = MixedBatches([1] * 100, 10, 0, annotated, sampling, 1)
        rows = [row for batch in batches for row in batch]
        assert len(rows) == 100
        assert sum(row >= 90 for row in rows) == pytest.approx(expected, abs=1)


def test_a_seed_decides_the_epochs():
    annotated = np.random.default_rng(0).random((40, 3)) < 0.5
    annotated[:, 0] = True

    def epochs(seed):
        batches = MixedBatches([1] * 40, 8, seed, annotated, Sampling.ANNEALED, 3)
        return [list(batches) for _ in range(3)]

    assert epochs(1) == epochs(1) != epochs(2)
