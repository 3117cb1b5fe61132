"""Which classes an attribute has: their order, and what becomes of the rare ones.

Only training rows are counted, so that nothing is learnt of the test rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from esm.common.errors import TaskError
from esm.tasks.raw import is_number
from esm.tasks.spec import ColumnSpec, RareClasses
from esm.tasks.task import Problem, RareClass

OTHER = "other"
_BETWEEN_MERGED = "|"


@dataclass(frozen=True)
class Classes:
    """The classes of one attribute.

    Attributes:
        names: Names of the c classes; on an ordered scale from lowest to highest.
        codes: Class number of every label that occurs in the training rows; None where the label
            is left out.
        rare: The labels with too few training rows, and what became of them.
    """

    names: tuple[str, ...]
    codes: Mapping[str, int | None]
    rare: tuple[RareClass, ...] = ()


def choose_classes(
    column: str,
    counts: Mapping[str, int],
    problem: Problem,
    described: tuple[str, ...] = (),
    how: ColumnSpec | None = None,
) -> Classes:
    """Put the labels of a column in order and deal with the rare ones.

    Labels come in the order that was asked for, else described; then the others, numbers by their
    value. Rare ones are left out, merged or refused. To merge nominal classes, all rare ones
    become ``other``; if that is too small as well, it is left out. To merge the levels of an
    ordered scale, the one with the fewest rows joins its neighbour towards the middle, as
    ``a|b``, until every level has enough.

    Args:
        column: The column's name, for messages.
        counts: Training rows of each label.
        problem: Not regression.
        described: Classes in the order of the task's description.
        how: Order, minimum per class and rule.

    Raises:
        TaskError: A label has no place in the order of an ordinal scale, rare classes are to be
            refused, or fewer than two classes (no label of a multi-label column) are left.
    """
    how = how or ColumnSpec()
    order = tuple(name.strip() for name in how.order or described)
    if problem is Problem.ORDINAL and order:
        _refuse_unplaced(column, counts, order)
    names = _ordered(counts, order)
    few = [name for name in names if counts[name] < how.min_per_class]
    if not few or how.rare is RareClasses.KEEP:
        return Classes(names, {name: code for code, name in enumerate(names)})
    if how.rare is RareClasses.REFUSE:
        raise _too_rare(column, counts, few, how)
    if how.rare is RareClasses.LEAVE_OUT:
        into: dict[str, str | None] = {name: None if name in few else name for name in names}
    elif problem is Problem.ORDINAL:
        into = _merge_levels(names, counts, how.min_per_class)
    else:
        into = _merge_into_other(names, counts, few, how.min_per_class)
    kept = tuple(dict.fromkeys(new for new in into.values() if new is not None))
    if len(kept) < (1 if problem is Problem.MULTILABEL else 2):
        raise _too_rare(column, counts, few, how)
    return Classes(
        names=kept,
        codes={name: None if new is None else kept.index(new) for name, new in into.items()},
        rare=tuple(RareClass(name, counts[name], into[name]) for name in few if into[name] != name),
    )


def _ordered(names: Iterable[str], stated: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in the order stated, then sorted, numbers by their value."""

    def key(name: str) -> tuple[bool, float, str]:
        return (not is_number(name), float(name) if is_number(name) else 0.0, name)

    occurring = set(names)
    first = [name for name in dict.fromkeys(stated) if name in occurring]
    return (*first, *sorted(occurring - set(first), key=key))


def _refuse_unplaced(column: str, counts: Mapping[str, int], order: tuple[str, ...]) -> None:
    if unplaced := sorted(set(counts) - set(order)):
        raise TaskError(
            f"the order of the ordinal column {column!r} has no place for"
            f" {', '.join(name[:60] for name in unplaced[:5])}"
            f"{' and others' if len(unplaced) > 5 else ''}",
            expected="every label of the training rows, from lowest to highest",
            hint=f"name them in order under [columns.{column}], or --kind classification",
        )


# ---------------------------------------------------------------------------------------- merging


def _merge_into_other(
    names: tuple[str, ...], counts: Mapping[str, int], few: list[str], fewest: int
) -> dict[str, str | None]:
    """Return the new name of each label: the rare ones and one called ``other`` become one."""
    together = sum(counts[name] for name in {*few, *({OTHER} & set(names))})
    merged = OTHER if together >= fewest else None
    into: dict[str, str | None] = {name: name for name in names if name not in few}
    # At the end, whatever the places of the rare classes were.
    return into | dict.fromkeys(few, merged)


def _merge_levels(
    names: tuple[str, ...], counts: Mapping[str, int], fewest: int
) -> dict[str, str | None]:
    """Return the new name of each level, which holds neighbours on the scale only."""
    levels = [[name] for name in names]
    rows = [counts[name] for name in names]
    while len(levels) > 1 and min(rows) < fewest:
        middle = (len(levels) - 1) / 2
        # Of equally small levels the outermost, which tells least of the rest of the scale.
        place = min(range(len(levels)), key=lambda i: (rows[i], -abs(i - middle), i))
        neighbour = _towards_the_middle(place, rows)
        low, high = sorted((place, neighbour))
        levels[low : high + 1] = [levels[low] + levels[high]]
        rows[low : high + 1] = [rows[low] + rows[high]]
    return {name: _BETWEEN_MERGED.join(level) for level in levels for name in level}


def _towards_the_middle(place: int, rows: list[int]) -> int:
    """Return the neighbour's place; of the level in the very middle, that of the smaller one."""
    middle = (len(rows) - 1) / 2
    if place != middle:
        return place + 1 if place < middle else place - 1
    return place - 1 if rows[place - 1] <= rows[place + 1] else place + 1


def _too_rare(column: str, counts: Mapping[str, int], few: list[str], how: ColumnSpec) -> TaskError:
    listed = ", ".join(f"{name[:60]} {counts[name]}" for name in few[:10])
    further = f" and {len(few) - 10} others" if len(few) > 10 else ""
    return TaskError(
        f"column {column!r} has classes with too few training rows ({listed}{further}), which the"
        f" rule {how.rare.value!r} cannot mend",
        expected=f"at least {how.min_per_class} rows per class, and two such classes",
        hint="label more rows, a smaller min_per_class, another rule for rare classes, or leave"
        " the attribute out",
    )
