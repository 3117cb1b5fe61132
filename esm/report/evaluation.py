"""Tables of rankings that were evaluated against measured results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from esm.report.numbers import number
from esm.report.table import Table

if TYPE_CHECKING:
    from esm.metrics.evaluate import Evaluation

_PER_TARGET = frozenset({"ndcg", "spearman"})


def evaluation_tables(evaluation: Evaluation) -> list[Table]:
    """Return every measure beside random and static orders, and the main ones per target."""
    judged = {
        "mean": evaluation.mean,
        "standard error": evaluation.standard_error,
        "random order": evaluation.random,
        "static order": evaluation.static,
    }
    rows = [
        (name, *(_measure(values, name) for values in judged.values())) for name in evaluation.mean
    ]
    count = len(evaluation.targets)
    title = f"{count} targets" if count > 1 else next(iter(evaluation.targets))
    notes = _evaluation_notes(evaluation)
    summary = Table(title, ("measure", *judged), rows, notes, frozenset({"measure"}))
    return [_per_target(evaluation), summary] if count > 1 else [summary]


def _per_target(evaluation: Evaluation) -> Table:
    names = [name for name in evaluation.mean if name.startswith("regret@") or name in _PER_TARGET]
    rows = [
        (target, *(_measure(judged, name) for name in names))
        for target, judged in evaluation.targets.items()
    ]
    return Table("", ("target", *names), rows, left=frozenset({"target"}))


def _evaluation_notes(evaluation: Evaluation) -> list[str]:
    notes = [
        "regret in percent, 0 is perfect; random: exact expectation over all orders; static:"
        " sources by their mean performance on the other targets, blind to this one"
    ]
    notes += [
        f"{target}: not judged, {reason}" for target, reason in evaluation.left_out.targets.items()
    ]
    notes += [
        f"{target}: {count} scored sources without results were left out"
        for target, count in evaluation.left_out.sources.items()
    ]
    return notes


def _measure(judged: Mapping[str, float | None], name: str) -> str:
    return number(judged[name], 2 if name.startswith("regret") else 3)
