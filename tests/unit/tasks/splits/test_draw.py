from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esm.common.errors import TaskError
from esm.tasks.splits.draw import held_out, sample, sample_together, split_rows, strata
from esm.tasks.task import Examples, Metric, Problem, SplitName, Target, Task


def examples_of(labels, texts=None):
    labels = np.asarray(labels)
    texts = texts or tuple(f"text {i}" for i in range(len(labels)))
    return Examples(texts=tuple(texts), pairs=None, labels=labels)


def task_of(labels, texts=None, **splits):
    metric = Metric.MACRO_F1
    splits = {SplitName.TRAIN: examples_of(labels, texts), **splits}
    return Task("t", Problem.CLASSIFICATION, metric, ("a", "b"), splits)


# ------------------------------------------------------------------------------------ strata


def test_strata_of_classes_lists_and_nulls():
    assert strata(["b", None, "a"]).tolist() == [[False, True], [False, False], [True, False]]
    assert strata([["a", "b"], []]).tolist() == [[True, True], [False, False]]
    assert strata([None, None]).shape == (2, 0)


def test_many_numbers_are_stratified_by_fifths():
    membership = strata([*map(float, range(100)), None])
    assert membership.sum(axis=0).tolist() == [20] * 5
    assert not membership[-1].any()


# ----------------------------------------------------------------------------------- splitting


def test_every_class_of_every_attribute_keeps_its_proportion():
    rng = np.random.default_rng(0)
    first = rng.choice(["x", "y", "z"], 1000, p=[0.7, 0.25, 0.05]).tolist()
    second = rng.choice(["p", "q", None], 1000, p=[0.1, 0.4, 0.5]).tolist()
    membership = np.hstack([strata(first), strata(second)])
    train, test = split_rows([str(i) for i in range(1000)], membership, 0.2, seed=0)
    assert len(test) == pytest.approx(200, abs=2)
    np.testing.assert_allclose(
        membership[test].sum(axis=0), 0.2 * membership.sum(axis=0), atol=1.01
    )
    assert sorted([*train, *test]) == list(range(1000))


def test_rare_classes_by_hand():
    # One row of "rare": 0.8 wanted in train, 0.2 in test. Three of "few": train wants 2.4, 1.4
    # and then 0.4 of them, test 0.6 all along, so the third goes to test.
    values = ["rare", "few", "few", "few", *["common"] * 16]
    train, test = split_rows([str(i) for i in range(20)], strata(values), 0.2, seed=3)
    assert Counter(values[i] for i in test) == {"few": 1, "common": 3}
    assert len(train) == 16


def test_the_split_depends_on_the_seed_alone():
    values = [str(i % 3) for i in range(60)]
    keys = [str(i) for i in range(60)]
    first = split_rows(keys, strata(values), 0.2, seed=1)
    again = split_rows(keys, strata(values), 0.2, seed=1)
    other = split_rows(keys, strata(values), 0.2, seed=2)
    np.testing.assert_array_equal(first[1], again[1])
    assert first[1].tolist() != other[1].tolist()


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 15), st.sampled_from(["a", "b", "c", None])), max_size=60
    ),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 5),
)
def test_parts_are_disjoint_whole_and_share_no_text(rows, share, seed):
    keys = [str(text) for text, _ in rows]
    train, test = split_rows(keys, strata([label for _, label in rows]), share, seed)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(rows)))
    assert not {keys[i] for i in train} & {keys[i] for i in test}


# ----------------------------------------------------------------------------------- held out


def test_held_out_takes_the_validation_rows():
    validation = examples_of([0, 1], ("v", "w"))
    train, judged = held_out(task_of([0, 1, 0], **{SplitName.VALIDATION: validation}), seed=0)
    assert judged is validation
    assert len(train) == 3


def test_held_out_carves_a_stratified_tenth_of_train_and_never_touches_test():
    test = examples_of([0, 1], ("secret", "hidden"))
    train, judged = held_out(task_of([0] * 150 + [1] * 50, **{SplitName.TEST: test}), seed=0)
    assert Counter(judged.labels.tolist()) == {0: 15, 1: 5}
    assert not set(train.texts) & set(judged.texts)
    assert not {"secret", "hidden"} & {*train.texts, *judged.texts}


def test_held_out_is_at_most_a_thousand():
    train, judged = held_out(task_of([0, 1] * 7000), seed=0)
    assert (len(train), len(judged)) == (13_000, 1000)


def test_held_out_of_a_few_rows_has_one_and_of_one_text_none():
    train, judged = held_out(task_of([0, 1, 0], ("a", "b", "b")), seed=0)
    assert len(train) + len(judged) == 3
    assert judged.texts in {("a",), ("b", "b")}
    with pytest.raises(TaskError, match="1 distinct training text; expected at least two"):
        held_out(task_of([0, 0], ("a", "a")), seed=0)


# ------------------------------------------------------------------------------------ samples


def test_a_sample_keeps_proportions_and_the_order_of_the_data():
    examples = examples_of(np.repeat([0, 1, 2], [60, 30, 10]))
    drawn = sample(examples, Problem.CLASSIFICATION, 20, seed=0)
    assert Counter(drawn.labels.tolist()) == {0: 12, 1: 6, 2: 2}
    positions = [int(text.split()[1]) for text in drawn.texts]
    assert positions == sorted(set(positions))
    again = sample(examples, Problem.CLASSIFICATION, 20, seed=0)
    assert again.texts == drawn.texts
    assert sample(examples, Problem.CLASSIFICATION, 20, seed=1).texts != drawn.texts


def test_a_sample_of_an_ordered_scale_keeps_the_share_of_every_level():
    examples = examples_of(np.repeat(np.arange(25), 4))  # more levels than numbers have strata
    drawn = sample(examples, Problem.ORDINAL, 50, seed=0)
    assert set(Counter(drawn.labels.tolist()).values()) == {2}


def test_a_sample_as_large_as_the_data_is_the_data():
    examples = examples_of([0, 1])
    assert sample(examples, Problem.CLASSIFICATION, 2, seed=0) is examples
    with pytest.raises(TaskError, match="a sample of 0 rows"):
        sample(examples, Problem.CLASSIFICATION, 0, seed=0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_sample_has_its_size_and_every_class_that_fits(data):
    counts = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=8))
    labels = np.repeat(np.arange(len(counts)), counts)
    size = data.draw(st.integers(1, len(labels)))
    drawn = sample(examples_of(labels), Problem.CLASSIFICATION, size, seed=0)
    assert len(drawn) == len(set(drawn.texts)) == size
    if size >= len(counts):
        assert set(drawn.labels.tolist()) == set(range(len(counts)))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_sample_of_label_sets_covers_every_label(data):
    c = data.draw(st.integers(1, 5))
    n = data.draw(st.integers(c, 40))
    seed = data.draw(st.integers(0, 3))
    labels = (np.random.default_rng(seed).random((n, c)) < 0.2).astype(np.float64)
    size = data.draw(st.integers(c, n))
    drawn = sample(examples_of(labels), Problem.MULTILABEL, size, seed)
    assert len(set(drawn.texts)) == size
    np.testing.assert_array_equal(drawn.labels.any(axis=0), labels.any(axis=0))


def test_a_sample_of_amounts_spans_their_range():
    drawn = sample(examples_of(np.linspace(0, 1, 100)), Problem.REGRESSION, 10, seed=0)
    counts, _ = np.histogram(drawn.labels, bins=5, range=(0, 1))
    assert counts.tolist() == [2] * 5


def test_a_sample_for_all_attributes_takes_the_same_texts_in_proportion():
    texts = [f"text {i}" for i in range(200)]
    every = task_of([i % 2 for i in range(200)], texts)
    some = task_of([i % 2 for i in range(100)], texts[:100])
    drawn = sample_together(Target("t", {"every": every, "some": some}), 40, seed=0)
    assert len(drawn["every"]) == pytest.approx(40, abs=2)
    assert set(drawn["some"].texts) == set(drawn["every"].texts) & set(texts[:100])
    for examples in drawn.values():
        assert Counter(examples.labels.tolist())[0] == pytest.approx(len(examples) / 2, abs=1)
    whole = sample_together(Target("t", {"every": every}), 200, seed=0)
    assert whole["every"] is every.train
