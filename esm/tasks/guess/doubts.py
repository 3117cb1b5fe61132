"""What is said of a table that nobody has described: columns that seem to be more than was read."""

from __future__ import annotations

from collections.abc import Collection

from esm.tasks.guess.facts import Facts
from esm.tasks.guess.roles import guess_column
from esm.tasks.raw import RawData, Values, num_rows
from esm.tasks.task import Problem

# Of more, every second, third, … is looked at.
_MOST_ROWS = 2000


def doubts(raw: RawData, others: Collection[str | None], chosen: Collection[str]) -> list[str]:
    """Return which columns the plain reading of a table leaves out, or takes for less, and why.

    A table without a specification is read by rules that a user can foresee: columns of few values
    are attributes, cells are single labels. A rating in small steps is then left out, and cells
    with several labels are taken for as many classes.

    Cost: a tenth of a second for a column of long texts; at most 2,000 rows are looked at.

    Args:
        raw: The data.
        others: Columns that are something else: texts, groups, splits.
        chosen: The attributes that are loaded.

    Returns:
        A part of a sentence per column.
    """
    found: list[str] = []
    rows = num_rows(raw.train)
    step = max(1, -(-rows // _MOST_ROWS))
    of_what = "" if step == 1 else f"; of {rows:,}, a sample"
    for column, values in raw.train.items():
        if column in others:
            continue
        facts = Facts(column, values[::step])
        guess = guess_column(facts)
        if guess.how is None or not _can_be_labels(facts.filled):
            continue
        why = f"{guess.why}{of_what}"
        if column not in chosen:
            found.append(f"column {column!r} is left out, which may be an attribute ({why})")
        elif guess.how.kind == Problem.MULTILABEL and not facts.is_lists:
            found.append(f"column {column!r} is read as single labels, but {why}")
    return found


def _can_be_labels(values: Values) -> bool:
    """Whether lists, where there are any, hold nothing but what can be a label."""
    return all(
        isinstance(item, str | bool | int | float)
        for value in values
        for item in (value if isinstance(value, list) else [value])
    )
