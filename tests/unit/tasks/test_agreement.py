"""Krippendorff's alpha, against published examples and another package's figures."""

import pytest

from esm.tasks.agreement import masi_distance, measure_agreement
from esm.tasks.task import Problem

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example of section C:
# four observers, twelve units, with missing data. Nominal 0.743, ordinal 0.815, interval 0.849.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
UNITS = [[each for each in unit if each is not None] for unit in zip(*OBSERVERS, strict=True)]
ORDER = ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("problem", "level", "alpha"),
    [
        (Problem.CLASSIFICATION, "nominal", 0.743),
        (Problem.ORDINAL, "ordinal", 0.815),
        (Problem.REGRESSION, "interval", 0.849),
    ],
)
def test_the_published_example(problem, level, alpha):
    found = measure_agreement(UNITS, problem, ORDER, annotators=4)
    assert found.alpha == pytest.approx(alpha, abs=5e-4)
    assert (found.level, found.annotators, found.texts) == (level, 4, 11)


def test_names_and_numbers_of_a_class_are_the_same():
    named = [[str(each) for each in unit] for unit in UNITS]
    mixed = [[float(each) for each in unit] for unit in UNITS]
    found = [
        measure_agreement(votes, Problem.ORDINAL, ORDER, annotators=4).alpha
        for votes in (UNITS, named, mixed)
    ]
    assert len(set(found)) == 1


def test_the_order_of_the_classes_counts():
    turned = measure_agreement(UNITS, Problem.ORDINAL, ["3", "1", "5", "2", "4"], annotators=4)
    assert turned.alpha != pytest.approx(0.815, abs=0.01)


SETS = [
    [["a"], ["a"], ["a", "b"]],
    [["b"], ["b", "c"]],
    [["a", "c"], ["a", "c"], ["b"]],
    [[], ["a"]],
    [["c"], ["c"]],
]


def test_sets_of_labels_by_masi():
    """By nltk 3.10.4, AnnotationTask(data, distance=masi_distance).alpha()."""
    full = [unit for unit in SETS if [] not in unit]
    assert measure_agreement(full, Problem.MULTILABEL, annotators=3).alpha == pytest.approx(
        0.4018987341772152, abs=1e-9
    )
    assert measure_agreement(SETS, Problem.MULTILABEL, annotators=3).level == "MASI"


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("a", "a", 0),
        ("", "", 0),
        ("a", "b", 1),
        ("", "a", 1),
        ("ab", "a", 2 / 3),
        ("ab", "bc", 8 / 9),
    ],
)
def test_masi_by_hand(one, other, distance):
    assert masi_distance(frozenset(one), frozenset(other)) == pytest.approx(distance)


def test_tags_are_compared_word_by_word():
    votes = [[["O", "B-X", "I-X"], ["O", "B-X", "O"]], [["O"], ["O"]], [["O"], ["O", "O"]]]
    words = [["O", "O"], ["B-X", "B-X"], ["I-X", "O"], ["O", "O"]]
    by_word = measure_agreement(words, Problem.CLASSIFICATION, annotators=2)
    found = measure_agreement(votes, Problem.TAGGING, annotators=2)
    assert found.alpha == by_word.alpha
    assert found.texts == 3


@pytest.mark.parametrize(
    ("votes", "why"),
    [
        ([["a"], ["b"], []], "no text has several annotations"),
        ([["a", "a"], ["a", "a"]], "all annotations are the same"),
        ([], "no text has several annotations"),
    ],
)
def test_where_there_is_no_value(votes, why):
    found = measure_agreement(votes, Problem.CLASSIFICATION, annotators=2, ties=1, repeated=3)
    assert (found.alpha, found.why_none, found.ties, found.repeated) == (None, why, 1, 3)
