"""Columns of words and of their tags: to one text per row, and one tag for each of its words."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence

from esm.common.errors import TaskError
from esm.tasks.raw import LabelColumn, RawData, Table, Values, is_missing
from esm.tasks.spec import TaskSpec
from esm.tasks.tagging import as_words, is_iob2, join_words, to_iob2, words_of
from esm.tasks.task import Problem, SplitName

_LOGGER = logging.getLogger(__name__)

TEXT = "text"
WORDS = ("tokens", "words")
"""Usual names of a column of words, unless there is one called ``text``."""

UNEQUAL = "not as many tags as words"


def as_sentences(raw: RawData, spec: TaskSpec) -> RawData:
    """Return data in which words stand in one text, and tags in a list per row.

    The column of words is the text column: the one that is named, else the one called ``text``,
    ``tokens`` or ``words``. Its cells are lists of words, or texts with spaces between the words.
    A column holds tags where the description or the kind asked for says so; and where the words
    are a list, or in a column called ``tokens`` or ``words``, if most rows have as many tags as
    words. Other data are returned as they are.
    """
    text = spec.text or next((name for name in (TEXT, *WORDS) if name in raw.train), None)
    if text not in raw.train or text is None:
        return raw
    cells = raw.train[text]
    is_words = text in WORDS or any(isinstance(cell, list) for cell in cells)
    tagged = [
        name
        for name, values in raw.train.items()
        if name != text and (_is_asked_for(name, raw, spec) or (is_words and _fit(cells, values)))
    ]
    if not tagged and not any(isinstance(cell, list) for cell in cells):
        return raw
    splits = {split: _as_texts(table, text, tagged) for split, table in raw.splits.items()}
    known = {
        name: dataclasses.replace(raw.known.get(name, LabelColumn()), problem=Problem.TAGGING)
        for name in tagged
    }
    return dataclasses.replace(raw, splits=splits, known={**raw.known, **known}, words=text)


def as_text(cell: object) -> str | None:
    """Return the text of a cell of words; None where there are none."""
    words = as_words(cell)
    return join_words(words) if words else None


def _is_asked_for(name: str, raw: RawData, spec: TaskSpec) -> bool:
    """Return whether a column is said to hold tags."""
    if name in spec.columns and spec.columns[name].kind != "auto":
        return spec.columns[name].kind == Problem.TAGGING
    if name in raw.known and raw.known[name].problem is Problem.TAGGING:
        return True
    offered = spec.attributes or (tuple(raw.known) if raw.described else ())
    return spec.kind == Problem.TAGGING and name in offered


def _fit(cells: Values, values: Values) -> bool:
    """Return whether most rows have as many tags as words, and several."""
    pairs = [
        (as_words(cell), as_words(value))
        for cell, value in zip(cells, values, strict=True)
        if not (is_missing(cell) or is_missing(value))
    ]
    as_many = [w for w, t in pairs if w is not None and t is not None and len(w) == len(t)]
    return 2 * len(as_many) > len(pairs) and any(len(words) > 1 for words in as_many)


def _as_texts(table: Table, text: str, tagged: Sequence[str]) -> Table:
    """Return a split's columns; an absent one is left to whoever reads it."""
    found = dict(table)
    if text in table:
        found[text] = [as_text(cell) for cell in table[text]]
    for name in tagged:
        if name in table:
            found[name] = [None if is_missing(cell) else as_words(cell) for cell in table[name]]
    return found


# ------------------------------------------------------------------------------------------ tags


def fitting_tags(
    column: str,
    values: Mapping[SplitName, Values],
    texts: Mapping[SplitName, Sequence[str]],
) -> tuple[dict[SplitName, Values], int]:
    """Return the tags of the rows that have one per word, and how many rows have not.

    Args:
        column: The column's name, for messages.
        values: Lists of tags, or None without labels, by split.
        texts: The texts of the same rows.

    Raises:
        TaskError: No training row has as many tags as words.
    """
    fitting: dict[SplitName, Values] = {}
    for split, of_split in values.items():
        fitting[split] = [
            tags if tags is not None and _is_whole(tags, text) else None
            for tags, text in zip(of_split, texts[split], strict=True)
        ]
    if not any(fitting[SplitName.TRAIN]):
        count = len(values[SplitName.TRAIN]) - values[SplitName.TRAIN].count(None)
        raise TaskError(
            f"column {column!r} has as many tags as there are words in none of its {count}"
            " training rows",
            expected="a list of words, and a list of tags that is as long",
            hint="name the column of the words with --text",
        )
    unequal = sum(fitting[name].count(None) - values[name].count(None) for name in values)
    return fitting, unequal


def _is_whole(tags: Sequence[object], text: str) -> bool:
    return len(tags) == len(words_of(text)) and not any(map(is_missing, tags))


def in_iob2(column: str, values: Mapping[SplitName, Values]) -> dict[SplitName, Values]:
    """Return tags as stripped names; where they mark spans, every span begins with ``B-``.

    Args:
        column: The column's name, to say how many spans did not.
        values: Lists of tags, or None without labels, by split.
    """
    named = {
        split: [None if tags is None else [str(tag).strip() for tag in tags] for tags in of_split]
        for split, of_split in values.items()
    }
    train = [tags for tags in named[SplitName.TRAIN] if tags is not None]
    if not is_iob2({tag for tags in train for tag in tags}):
        return named
    whole = {
        split: [None if tags is None else to_iob2(tags) for tags in of_split]
        for split, of_split in named.items()
    }
    count = sum(
        before != after
        for split, of_split in named.items()
        for old, new in zip(of_split, whole[split], strict=True)
        for before, after in zip(old or (), new or (), strict=True)
    )
    if count:
        _LOGGER.warning(
            f"column {column!r}: {count} spans begin with I- and are read as if with B-"
        )
    return whole
