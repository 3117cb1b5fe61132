"""What is said of a table that nobody has described: columns that seem to be more than was read."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from esm.tasks.facts import Facts
from esm.tasks.raw import RawData
from esm.tasks.roles import guess_column
from esm.tasks.task import Problem


def doubts(raw: RawData, others: Collection[str | None], chosen: Collection[str]) -> list[str]:
    """Return where the plain reading of a table differs from what ``esm tasks init`` proposes.

    A table without a specification is read by rules that a user can foresee: columns of few values
    are attributes, cells are single labels. A rating in small steps is then left out, and cells
    with several labels are taken for as many classes.

    Cost: one pass over the training rows.

    Args:
        raw: The data.
        others: Columns that are something else: texts, groups, splits.
        chosen: The attributes that are loaded.

    Returns:
        A part of a sentence per column, without any text of the data.
    """
    return list(_doubts(raw, others, chosen))


def _doubts(raw: RawData, others: Collection[str | None], chosen: Collection[str]) -> Iterator[str]:
    for column, values in raw.train.items():
        if column in others:
            continue
        facts = Facts(column, values)
        guess = guess_column(facts)
        if guess.how is None:
            continue
        if column not in chosen:
            yield f"column {column!r} is left out, which may be an attribute ({guess.why})"
        elif guess.how.kind == Problem.MULTILABEL and not facts.is_lists:
            yield f"column {column!r} is read as single labels, but {guess.why}"
