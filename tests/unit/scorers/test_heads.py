"""LEEP and NCE worked by hand, and what the scorers make of heads, targets and embeddings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esm.common.errors import PoolError, ShapeError, TaskError
from esm.scorers.base import EmbeddingKind, Need
from esm.scorers.leep import Leep, leep
from esm.scorers.nce import Nce, nce
from esm.tasks.task import Problem
from tests.evidence import evidence_of, head_of, record_of, source_of, target_of


def test_leep_by_hand():
    # P(y, z): (0.45, 0.05), (0.15, 0.35); P(y | z) = (3/4, 1/8), (1/4, 7/8).
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    likelihoods = [
        0.9 * 0.75 + 0.1 * 0.125,
        0.9 * 0.75 + 0.1 * 0.125,
        0.4 * 0.25 + 0.6 * 0.875,
        0.2 * 0.25 + 0.8 * 0.875,
    ]
    expected = sum(map(math.log, likelihoods)) / 4
    assert leep(probabilities, np.array([0, 0, 1, 1])) == pytest.approx(expected, abs=1e-12)


def test_nce_by_hand():
    # Source class 0 with target classes 0, 0, 1; source class 1 with 1.
    expected = 3 / 4 * (2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    found = nce(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_head_that_decides_by_the_target_is_perfect_and_a_constant_one_leaves_the_entropy():
    labels = np.array([0, 1, 2, 0, 1, 2])
    certain = np.eye(3)[(labels + 1) % 3]  # whatever the classes are called
    assert leep(certain, labels) == pytest.approx(0, abs=1e-12)
    assert nce(certain.argmax(1), labels) == pytest.approx(0, abs=1e-12)
    constant = np.tile([0.2, 0.8], (6, 1))
    assert leep(constant, labels) == pytest.approx(-math.log(3))
    assert nce(constant.argmax(1), labels) == pytest.approx(-math.log(3))


def test_leep_of_certain_heads_is_nce():
    rng = np.random.default_rng(0)
    source, labels = rng.integers(0, 4, 200), rng.integers(0, 3, 200)
    assert leep(np.eye(4)[source], labels) == pytest.approx(nce(source, labels), abs=1e-12)


def test_a_source_class_that_never_occurs_changes_nothing():
    labels = np.array([0, 1, 1])
    probabilities = np.array([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])
    wider = np.column_stack([probabilities, np.zeros(3)])
    assert leep(wider, labels) == pytest.approx(leep(probabilities, labels), abs=1e-15)


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"probabilities \(3, 2\) and labels \(2,\)"):
        leep(np.ones((3, 2)) / 2, np.array([0, 1]))


# --------------------------------------------------------------------------------- the scorers


def world(problem=Problem.CLASSIFICATION):
    rng = np.random.default_rng(0)
    tuned = rng.standard_normal((50, 4)).astype(np.float32)
    labels = {
        Problem.CLASSIFICATION: rng.integers(0, 3, 50),
        Problem.ORDINAL: rng.integers(0, 3, 50),
        Problem.MULTILABEL: rng.integers(0, 2, (50, 2)).astype(float),
        Problem.REGRESSION: rng.standard_normal(50),
    }[problem]
    weight, bias = rng.standard_normal((5, 4)), rng.standard_normal(5)
    logits = tuned @ weight.T + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    evidence = evidence_of(
        target_of(labels, problem=problem), record_of(), tuned=tuned, head=head_of(weight, bias)
    )
    return evidence, probabilities, labels


@pytest.mark.parametrize("problem", [Problem.CLASSIFICATION, Problem.ORDINAL])
def test_the_head_is_applied_to_the_targets_rows(problem):
    evidence, probabilities, labels = world(problem)
    assert Leep(EmbeddingKind.TUNED).score(evidence) == pytest.approx(
        leep(probabilities, labels), abs=1e-6
    )
    assert Nce(EmbeddingKind.TUNED).score(evidence) == pytest.approx(
        nce(probabilities.argmax(1), labels), abs=1e-12
    )


def test_sets_of_labels_are_averaged_and_a_constant_label_is_left_out():
    evidence, probabilities, labels = world(Problem.MULTILABEL)
    expected = np.mean([leep(probabilities, column) for column in labels.T])
    found = Leep(EmbeddingKind.TUNED).score(evidence)
    assert found == pytest.approx(expected, abs=1e-6)
    wider = target_of(np.column_stack([labels, np.ones(50)]), problem=Problem.MULTILABEL)
    source = evidence.source
    again = evidence_of(wider, source.entry.record, tuned=source.tuned, head=source.head)
    assert Leep(EmbeddingKind.TUNED).score(again) == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize("scorer", [Leep(EmbeddingKind.TUNED), Nce(EmbeddingKind.TUNED)])
def test_amounts_and_one_class_are_refused(scorer):
    evidence, _, _ = world(Problem.REGRESSION)
    with pytest.raises(TaskError, match=f"for which {scorer.name} is not defined"):
        scorer.score(evidence)
    one = evidence_of(
        target_of(np.zeros(50, int)),
        record_of(),
        tuned=evidence.source.tuned,
        head=evidence.source.head,
    )
    with pytest.raises(TaskError, match="one class only in 50 rows"):
        scorer.score(one)


@pytest.mark.parametrize("problem", [Problem.REGRESSION, Problem.MULTILABEL, Problem.ORDINAL])
def test_a_head_without_class_probabilities_is_named(problem):
    with pytest.raises(PoolError, match=f"the head of cat, a {problem} task, gives no class"):
        source_of(record_of(problem=problem)).require(frozenset({Need.HEAD}))
    with pytest.raises(PoolError, match="source cat has no head"):
        source_of(record_of()).require(frozenset({Need.HEAD}))


def test_what_they_say_of_themselves():
    for kind in EmbeddingKind:
        assert Leep(kind).needs == Nce(kind).needs == {Need.HEAD, kind.need}
        assert not Leep(kind).has_base
