"""Agreement of annotators: Krippendorff's alpha, by the library of that name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.tasks.labels.names import label_name
from esm.tasks.task import Problem

Votes = Sequence[Sequence[Any]]
"""What the annotators said of each text: the labels of those who annotated it."""


@dataclass(frozen=True)
class Agreement:
    """How far annotators agree on one attribute.

    Attributes:
        alpha: 1 for full agreement, 0 for what chance makes, below 0 for less; None where it has
            no value.
        level: What counts as how far apart: ``nominal``, ``ordinal``, ``interval``, or ``MASI``
            for sets of labels.
        annotators: How many people annotated.
        texts: Texts that several of them annotated.
        ties: Texts on which no label has most votes.
        repeated: Annotations that the same person gave again; the last one counts.
        why_none: Why there is no value; empty where there is one.
    """

    alpha: float | None
    level: str
    annotators: int
    texts: int
    ties: int = 0
    repeated: int = 0
    why_none: str = ""


def measure_agreement(
    votes: Votes,
    problem: Problem,
    order: Sequence[str] = (),
    *,
    annotators: int,
    ties: int = 0,
    repeated: int = 0,
) -> Agreement:
    """Return Krippendorff's alpha of one attribute.

    Classes and the tags of words are compared as names, ordered classes by their ranks, amounts by
    squared differences, sets of labels by the MASI distance.

    Args:
        votes: Labels by text, of the annotators who gave one: strings, numbers, or lists.
        problem: Kind of output.
        order: Classes from lowest to highest, for an ordinal attribute.
        annotators: How many people annotated.
        ties: Texts on which no label has most votes.
        repeated: Annotations that the same person gave again.

    Source:
        Krippendorff, Content Analysis (4th ed. 2018), chapter 12; MASI: Passonneau, "Measuring
        Agreement on Set-valued Items (MASI)", LREC 2006.
    """
    units = [list(of_text) for of_text in votes if len(of_text) > 1]
    level = _LEVELS.get(problem, "nominal")
    counted = (annotators, len(units), ties, repeated)
    if problem is Problem.TAGGING:
        units = [list(word) for of_text in units for word in _words(of_text)]
    if not units:
        return Agreement(None, level, *counted, "no text has several annotations")
    values = [[_value(vote, problem) for vote in unit] for unit in units]
    domain = _domain(values, problem, order)
    if len(domain) < 2:
        return Agreement(None, level, *counted, "all annotations are the same")
    places = {value: place for place, value in enumerate(domain)}
    counts = np.zeros((len(values), len(domain)), dtype=np.int64)
    for row, unit in enumerate(values):
        for value, count in Counter(unit).items():
            if value in places:
                counts[row, places[value]] = count
    return Agreement(_alpha(counts, domain, problem), level, *counted)


_LEVELS = {
    Problem.ORDINAL: "ordinal",
    Problem.REGRESSION: "interval",
    Problem.MULTILABEL: "MASI",
}


def _words(of_text: list[Any]) -> list[tuple[Any, ...]]:
    """Return the tags of each word, where all annotators have as many."""
    lengths = {len(tags) for tags in of_text}
    return list(zip(*of_text, strict=True)) if len(lengths) == 1 else []


def _value(vote: Any, problem: Problem) -> Any:
    if problem is Problem.REGRESSION:
        return float(vote)
    if isinstance(vote, list):
        return frozenset(map(label_name, vote))
    return label_name(vote)


def _domain(values: list[list[Any]], problem: Problem, order: Sequence[str]) -> list[Any]:
    found = {value for unit in values for value in unit}
    if problem is Problem.ORDINAL:
        return [name for name in order if name in found]
    return sorted(found, key=sorted if problem is Problem.MULTILABEL else None)


def _alpha(counts: npt.NDArray[np.int64], domain: list[Any], problem: Problem) -> float:
    import krippendorff

    level: Any = _LEVELS.get(problem, "nominal")
    if problem is Problem.MULTILABEL:
        distances = np.array([[masi_distance(a, b) for b in domain] for a in domain])

        def by_place(_: Any, __: Any, i1: Any, i2: Any, n_v: Any, dtype: Any = None) -> Any:
            return distances[i1, i2]

        level = by_place
    amounts = np.array(domain) if problem is Problem.REGRESSION else None
    return float(
        krippendorff.alpha(value_counts=counts, value_domain=amounts, level_of_measurement=level)
    )


def masi_distance(one: frozenset[str], other: frozenset[str]) -> float:
    """Return how far two sets of labels are apart, 0 for equal and 1 for disjoint ones.

    Example:
        >>> masi_distance(frozenset("ab"), frozenset("abc"))
        0.5555555555555556
    """
    if one == other:
        return 0.0
    both, all_ = len(one & other), len(one | other)
    monotony = 2 / 3 if one <= other or other <= one else 1 / 3
    return 1 - both / all_ * monotony
