"""Tables of classes: how well each is found, which are confused, what became of rare ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from esm.metrics.rankings import NO_TRANSFER
from esm.report.numbers import number, points
from esm.report.table import Table

if TYPE_CHECKING:
    from esm.trials.lines import Line
    from esm.trials.results import AttributeFound, Result

# The cells of a label's two by two table, row by row.
_OF_A_LABEL = ("rightly absent", "wrongly found", "missed", "rightly found")
_MEASURES = {"precision": "precision", "recall": "recall", "F1": "f1"}
_LEFT = frozenset({"class", "after", "true class", "label"})


def class_tables(result: Result) -> list[Table]:
    """Return, per attribute, precision, recall and F1 of every class and confusion matrices.

    They are those of the winner and, in a validation, of no transfer; an attribute whose labels
    are amounts has none.
    """
    tables = []
    for name, found in result.found.items():
        title = f"{result.target}/{name}"
        arms = [one for one in _shown(found, result.best(name)) if one.confusion is not None]
        if arms:
            tables.append(_per_class(title, arms))
            tables += [_confusion(title, found.label_names, arm) for arm in arms]
    return tables


def _shown(found: AttributeFound, winner: Line | None) -> list[Line]:
    """Return the winner and no transfer, or no transfer alone where it wins."""
    lines = {one.label: one for one in found.lines}
    wanted = (NO_TRANSFER if winner is None else winner.label, NO_TRANSFER)
    return [lines[label] for label in dict.fromkeys(wanted) if label in lines]


def _per_class(title: str, arms: list[Line]) -> Table:
    rows = [
        (
            found.name,
            arm.label,
            number(found.support, 0),
            *(points(getattr(found, measure)) for measure in _MEASURES.values()),
        )
        for of_class in zip(*(arm.classes for arm in arms), strict=True)
        for arm, found in zip(arms, of_class, strict=True)
    ]
    notes = ["points (x 100), means over the runs; test rows: of the class, mean over the runs"]
    columns = ("class", "after", "test rows", *_MEASURES)
    return Table(f"{title}: classes", columns, rows, notes, _LEFT, keys=2)


def _confusion(title: str, names: tuple[str, ...], arm: Line) -> Table:
    assert arm.confusion is not None
    counts = np.asarray(arm.confusion)
    multilabel = counts.ndim == 3
    columns = ("label", *_OF_A_LABEL) if multilabel else ("true class", *names)
    rows = [
        (name, *(str(count) for count in row))
        for name, row in zip(names, counts.reshape(len(names), -1), strict=True)
    ]
    by = "label" if multilabel else "true and predicted class"
    runs = f"{arm.runs} runs" if arm.runs > 1 else "1 run"
    how = "after" if arm.label == arm.source else "with"
    return Table(
        f"{title} {how} {arm.label}: test rows by {by}, {runs}",
        columns,
        rows,
        left=_LEFT,
    )


def row_notes(attribute: Mapping[str, Any]) -> list[str]:
    """Say, of an attribute's description, which rows and rare classes it does without."""
    notes = [f"{count} rows left out: {reason}" for reason, count in attribute["dropped"].items()]
    return notes + [
        f"class {rare['name']!r} has {rare['rows']} training rows:"
        f" {'left out' if rare['into'] is None else 'now part of ' + repr(rare['into'])}"
        for rare in attribute["rare"]
    ]
