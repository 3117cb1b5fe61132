"""Tags of words: how words make up a text, how tags make up spans, and the text-level view.

A sentence is kept as one text, its words between single spaces, so that everything that reads
texts reads it too; its labels are a row of tag numbers, :data:`NO_WORD` behind the last word.

Spans are written in IOB2 (Tjong Kim Sang and Veenstra 1999, "Representing Text Chunks"): ``B-X``
begins a span of type X, ``I-X`` goes on with it, ``O`` is outside of all spans. Columns without
such tags, parts of speech for instance, have a tag per word and no spans.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import TaskError
from esm.tasks.task import Examples, Metric, Problem, Task

NO_WORD = -1
"""Stands in a row of tag numbers behind the last word."""

OUTSIDE = "O"

_BEGIN, _INSIDE = "B-", "I-"
# Beginnings of tags in schemes that mark ends and single words too.
_OTHER_SCHEMES = ("S-", "E-", "L-", "U-")

Tags = npt.NDArray[np.int64]
Span = tuple[str, int, int]
"""Type of a span, its first word, and the word behind its last one."""


# ----------------------------------------------------------------------------------------- words


def join_words(words: Iterable[object]) -> str:
    """Return words as one text, from which :func:`words_of` returns as many.

    A space inside a word becomes a no-break space: tokenizers read both alike.
    """
    return " ".join(str(word).replace(" ", "\u00a0") for word in words)


def words_of(text: str) -> list[str]:
    """Return the words that stand between single spaces.

    Example:
        >>> len(words_of(join_words(["New York", "is", "big"])))
        3
    """
    return text.split(" ")


# ------------------------------------------------------------------------------------------ tags


def is_iob2(names: Iterable[str]) -> bool:
    """Whether tags mark spans: all are ``O``, ``B-X`` or ``I-X``, and there is one with a type."""
    found = set(names)
    typed = {name for name in found if _type(name) is not None}
    return bool(typed) and found - typed <= {OUTSIDE}


def _type(tag: str) -> str | None:
    """Return the type of the span that a tag is part of; None outside of spans."""
    return tag[2:] if tag[:2] in (_BEGIN, _INSIDE) and len(tag) > 2 else None


def to_iob2(tags: Sequence[str]) -> list[str]:
    """Return tags in which every span begins with ``B-``: also one that began with ``I-``.

    Example:
        >>> mended(["I-PER", "I-PER", "I-LOC", "O"])
        ['B-PER', 'I-PER', 'B-LOC', 'O']
    """
    types = [None, *map(_type, tags)]
    return [
        f"{_BEGIN}{kind}" if tag.startswith(_INSIDE) and kind not in (None, before) else tag
        for tag, kind, before in zip(tags, types[1:], types, strict=False)
    ]


def spans(tags: Sequence[str]) -> set[Span]:
    """Return the spans of one sentence, where ``I-X`` after anything but X begins one.

    Source:
        The script conlleval of the CoNLL-2000 shared task, which reads predictions so.

    Example:
        >>> sorted(spans(["B-PER", "I-PER", "O", "I-LOC"]))
        [('LOC', 3, 4), ('PER', 0, 2)]
    """
    found: set[Span] = set()
    first, open_type = 0, None
    for place, tag in enumerate([*to_iob2(tags), OUTSIDE]):
        if tag.startswith(_INSIDE) and _type(tag) == open_type:
            continue
        if open_type is not None:
            found.add((open_type, first, place))
        first, open_type = place, _type(tag)
    return found


def tag_names(column: str, found: Collection[str], described: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of a column in order.

    In IOB2 ``O`` comes first, so that it is what a word gets of which a model sees nothing, and
    every type has both of its tags: a span of two words may occur in the test rows alone. For the
    same reason tags that are described stay, whether or not they occur.

    Args:
        column: The column's name, for messages.
        found: The tags of the training rows.
        described: Tags in the order of the task's description.

    Raises:
        TaskError: Some tags mark spans in IOB2 and others are no tags of it.
    """
    names = tuple(dict.fromkeys([*described, *sorted(found)]))
    marked = [name for name in names if _type(name) is not None]
    if not marked:
        return names
    if odd := sorted(set(names) - set(marked) - {OUTSIDE}):
        other = any(name.startswith(_OTHER_SCHEMES) for name in odd)
        raise TaskError(
            f"column {column!r} has the tag {odd[0][:60]!r} beside {marked[0][:60]!r}",
            expected=f"{OUTSIDE}, {_BEGIN}TYPE and {_INSIDE}TYPE",
            hint="convert the tags from IOBES or BILOU to IOB2" if other else "mend the tag",
        )
    types = dict.fromkeys(name[2:] for name in marked)
    return (OUTSIDE, *(f"{mark}{kind}" for kind in types for mark in (_BEGIN, _INSIDE)))


def padded(rows: Sequence[Sequence[int]]) -> Tags:
    """Return rows of tag numbers as (n, w), w being the most words of a row."""
    labels = np.full((len(rows), max(map(len, rows), default=0)), NO_WORD, dtype=np.int64)
    for row, codes in enumerate(rows):
        labels[row, : len(codes)] = codes
    return labels


def tags_of(row: Tags) -> list[int]:
    """Return the tag numbers of one sentence."""
    return [int(code) for code in row if code != NO_WORD]


def present(labels: Tags, num_tags: int) -> npt.NDArray[np.float64]:
    """Return which tags occur in which sentence, (n, c) zeros and ones."""
    rows, columns = np.nonzero(labels != NO_WORD)
    found = np.zeros((len(labels), num_tags))
    found[rows, labels[rows, columns]] = 1.0
    return found


# --------------------------------------------------------------------------------- as whole texts


def text_level(task: Task) -> Task:
    """Return a task of texts: of a tagging task, which types of spans (which tags) a text holds.

    Tasks of all other kinds are returned as they are. Whatever knows a text by one embedding,
    rankings and the vectors of sources among it, sees a tagging task like this.
    """
    if task.problem is not Problem.TAGGING:
        return task
    return dataclasses.replace(
        task,
        problem=Problem.MULTILABEL,
        metric=Metric.MACRO_F1,
        label_names=_types(task.label_names),
        splits={name: text_level_rows(task, rows) for name, rows in task.splits.items()},
    )


def text_level_rows(task: Task, rows: Examples) -> Examples:
    """Return rows of a task with the labels that they have in :func:`text_level`."""
    if task.problem is not Problem.TAGGING:
        return rows
    names, types = task.label_names, _types(task.label_names)
    of_tags = present(rows.labels, len(names))
    labels = np.zeros((len(rows), len(types)))
    for column, name in enumerate(names):
        if (kind := _type(name) if is_iob2(names) else name) is not None:
            place = types.index(kind)
            labels[:, place] = np.maximum(labels[:, place], of_tags[:, column])
    return dataclasses.replace(rows, labels=labels)


def _types(names: Sequence[str]) -> tuple[str, ...]:
    """Return the types of spans; where tags mark none, the tags."""
    if not is_iob2(names):
        return tuple(names)
    return tuple(dict.fromkeys(name[2:] for name in names if _type(name) is not None))


def as_words(cell: Any) -> list[str] | None:
    """Return the words, or tags, of a cell: a list of them, or a string with spaces between."""
    if isinstance(cell, list):
        return [str(item).strip() if item is not None else "" for item in cell]
    return cell.split() if isinstance(cell, str) else None
