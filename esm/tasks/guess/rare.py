"""Whether classes are so rare that a minimum per class should be proposed."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from esm.tasks.guess.facts import Facts
from esm.tasks.guess.roles import Guess
from esm.tasks.labels.names import label_name
from esm.tasks.labels.sets import as_sets, as_singles
from esm.tasks.raw import is_missing
from esm.tasks.spec import ColumnSpec, RareClasses, SplitMethod, SplitSpec
from esm.tasks.task import Problem

FEWEST_PER_CLASS = 5


def with_minimum(
    guess: Guess, values: Mapping[str, Facts], method: SplitSpec, training: list[bool] | None
) -> Guess:
    """Return a guess with a minimum per class, where classes will have too few training rows.

    Args:
        guess: What a column is proposed as.
        values: All its values, and those of the others, by name.
        method: How rows will be split: a hold-out takes its share of every class away.
        training: Which rows are training rows; None where the split is not drawn yet.
    """
    if guess.how is None or guess.how.kind in (Problem.REGRESSION, Problem.TAGGING):
        return guess
    cells = values[guess.name].values
    if training is not None:
        cells = [cell for cell, kept in zip(cells, training, strict=True) if kept]
    drawn = method.method in (SplitMethod.STRATIFIED, SplitMethod.GROUPED)
    share = 1 - method.test_share if drawn else 1.0
    counts = _label_counts(cells, guess.how)
    needed = math.ceil(FEWEST_PER_CLASS / share)
    few = sorted(name for name, count in counts.items() if count < needed)
    rare = _rule(guess.how.kind, counts, few, needed)
    if not few or rare is None:
        return guess
    listed = ", ".join(f"{' '.join(name.split())[:30]} {counts[name]}" for name in few[:6])
    more = f" and {len(few) - 6} others" if len(few) > 6 else ""
    why = f"few rows to learn from: {listed}{more}"
    how = guess.how.model_copy(update={"min_per_class": FEWEST_PER_CLASS, "rare": rare})
    return dataclasses.replace(guess, how=how, about_rare=why)


def _label_counts(cells: Sequence[object], how: ColumnSpec) -> Counter[str]:
    if how.kind == Problem.MULTILABEL:
        values = as_sets(list(cells), how.separator, how.options, how.indicators)
        return Counter(name for labels in values if labels for name in set(map(label_name, labels)))
    named = Counter(label_name(cell) for cell in as_singles(list(cells)) if not is_missing(cell))
    return Counter({name: count for name, count in named.items() if name not in how.missing})


def _rule(
    kind: str, counts: Mapping[str, int], few: Sequence[str], needed: int
) -> RareClasses | None:
    """Return what should become of the rare classes; None where too little would be left."""
    enough = len(counts) - len(few)
    if kind == Problem.ORDINAL:
        return RareClasses.MERGE if sum(counts.values()) >= 2 * needed and enough else None
    return RareClasses.LEAVE_OUT if enough >= (1 if kind == Problem.MULTILABEL else 2) else None
