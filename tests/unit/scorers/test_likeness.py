"""Scores by likeness of vectors, and orders that are blind to the target."""

from __future__ import annotations

import numpy as np
import pytest

from esm.common.errors import PoolError, RankingError
from esm.metrics.rankings import measures, random_measures, static_scores
from esm.pool.vectors import MOST_WORDS, TaskVectors, fisher_diagonal, hashed_words
from esm.scorers.base import Need
from esm.scorers.chance import Chance
from esm.scorers.similarity import cosine
from esm.scorers.size import Size
from esm.scorers.static import Static
from esm.scorers.taskemb import TaskEmb
from esm.scorers.textemb import TextEmb
from esm.scorers.vocab import Vocab, vocabulary_coverage
from esm.tasks.task import Examples
from tests.evidence import evidence_of, record_of, source_of, target_of


def hashes(*values):
    return np.array(values, np.uint32)


def vectors(mean, fisher, words=()):
    return TaskVectors(np.asarray(mean, np.float32), np.asarray(fisher, np.float32), hashes(*words))


def test_cosine():
    assert cosine(np.array([1.0, 0.0]), np.array([3.0, 4.0])) == pytest.approx(0.6)
    assert cosine(np.ones(2), -2 * np.ones(2)) == pytest.approx(-1)
    assert np.isnan(cosine(np.zeros(2), np.ones(2)))


def test_textemb_compares_mean_embeddings_and_no_labels():
    base = np.array([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]], np.float32)
    vectors_of_source = vectors([3, 4], [1, 1])
    for labels in (np.array([0, 1, 1]), np.array([1, 0, 1])):
        evidence = evidence_of(target_of(labels, base), record_of(), vectors=vectors_of_source)
        assert TextEmb().score(evidence) == pytest.approx(0.6)


def test_taskemb_is_one_for_the_same_task_and_less_for_another():
    rng = np.random.default_rng(0)
    base = rng.standard_normal((200, 8)).astype(np.float32)
    first, second = ((base[:, column] > 0).astype(int) for column in (0, 1))
    target = target_of(first, base)
    fishers = [fisher_diagonal(target.task.problem, labels, base) for labels in (first, second)]
    same, other = (
        TaskEmb().score(evidence_of(target, record_of(), vectors=vectors(base.mean(0), fisher)))
        for fisher in fishers
    )
    assert same == pytest.approx(1)
    assert other < 0.5
    constant = vectors(base.mean(0), np.zeros(8))
    assert np.isnan(TaskEmb().score(evidence_of(target, record_of(), vectors=constant)))


def test_vocab_counts_the_targets_words():
    texts = ("a cat runs", "a cat sleeps", "the dog runs")
    target = target_of(np.array([0, 1, 0]), texts=texts)
    words = {  # what two of its texts hold
        word: hashed_words(Examples((word, word), None, np.zeros(2)))[0]
        for word in ("a", "cat", "runs")
    }
    assert sorted(words.values()) == target.words.tolist()
    known = sorted([words["cat"], words["runs"], np.uint32(7)])
    evidence = evidence_of(target, record_of(), vectors=vectors([1], [1], known))
    assert Vocab().score(evidence) == pytest.approx(2 / 3)


def test_a_vocabulary_that_was_cut_is_compared_as_far_as_it_is_known():
    rng = np.random.default_rng(0)
    everything = np.sort(rng.choice(2**32, 3 * MOST_WORDS, replace=False)).astype(np.uint32)
    source = everything[rng.random(len(everything)) < 0.8]
    kept = source[:MOST_WORDS]
    target = everything[rng.random(len(everything)) < 0.3]
    known = target[target <= kept[-1]]
    assert vocabulary_coverage(kept, target) == np.isin(known, kept).mean()
    assert vocabulary_coverage(kept, target) == pytest.approx(
        np.isin(target, source).mean(), abs=0.05
    )
    assert np.isnan(vocabulary_coverage(kept, hashes()))
    assert vocabulary_coverage(hashes(), hashes(1, 2)) == 0


def test_size_is_that_of_the_task_not_of_the_sample():
    evidence = evidence_of(target_of(np.array([0, 1])), record_of(rows=5000))
    assert Size().score(evidence) == 5000
    with pytest.raises(PoolError, match="how many training rows cat has is not known"):
        source_of(record_of(rows=None)).require(Size().needs)


def test_random_is_worth_what_a_random_order_is():
    scores = {
        name: Chance().score(evidence_of(target_of(np.array([0, 1])), record_of(name)))
        for name in ("a", "b", "c")
    }
    performance = {"a": 0.5, "b": 0.8, "c": 0.7}
    assert measures(scores, performance) == random_measures(performance)


RESULTS = {
    "posts/harmful": {"cat": 0.9, "dog": 0.1},
    "posts/topic": {"cat": 0.9, "dog": 0.1, "sun": 0.4},
    "sst2": {"cat": 0.2, "dog": 0.6},
    "trec": {"cat": 0.4, "dog": 0.4},
}


def test_static_leaves_out_the_targets_own_dataset():
    target = target_of(np.array([0, 1]), name="posts/harmful")
    scorer = Static(RESULTS)
    scores = {name: scorer.score(evidence_of(target, record_of(name))) for name in ("cat", "dog")}
    assert scores == pytest.approx({"cat": 0.3, "dog": 0.5})
    assert scores == pytest.approx(static_scores(RESULTS, "posts/harmful"))
    with pytest.raises(PoolError, match="nothing on source sun outside the target's own"):
        scorer.score(evidence_of(target, record_of("sun")))


def test_static_needs_another_dataset():
    own = {name: found for name, found in RESULTS.items() if name.startswith("posts")}
    target = target_of(np.array([0, 1]), name="posts/harmful")
    with pytest.raises(RankingError, match="expected results on datasets other than posts"):
        Static(own).score(evidence_of(target, record_of()))


def test_what_is_needed_of_a_source():
    for scorer in (TextEmb(), TaskEmb(), Vocab()):
        assert scorer.needs == {Need.VECTORS}
        with pytest.raises(PoolError, match="source cat has no vectors"):
            source_of(record_of()).require(scorer.needs)
    assert Chance().needs == Static(RESULTS).needs == frozenset()
