"""Which columns hold the texts and which the attributes, where the user has not said."""

from __future__ import annotations

from collections.abc import Collection
from statistics import median

from esm.common.errors import TaskError
from esm.tasks.formats.sentences import TEXT
from esm.tasks.guess.facts import Facts
from esm.tasks.guess.roles import guess_column
from esm.tasks.labels.read import distinct
from esm.tasks.raw import RawData, Table, Values, is_missing, is_number, missing_column, num_rows
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Problem, SplitName

TEXT_PAIR = "text_pair"
LABEL = "label"

_FEWEST_VALUES, _MOST_VALUES = 2, 30
_LARGEST_SHARE_OF_ROWS = 0.5
_WORDS_OF_A_TEXT = 3


def choose_texts(raw: RawData, spec: TaskSpec) -> tuple[str, str | None]:
    """Return the text column and, for a pair task, the second one.

    Unless named, the text column is the one called ``text``, else the one of the words that have
    tags, else the only column of varied strings of several words; the second is the one called
    ``text_pair``.

    Raises:
        TaskError: A named column is absent, none or several fit, or the column holds numbers.
    """
    table = raw.train
    text = spec.text or _guess_text(raw)
    pair = spec.text_pair or (TEXT_PAIR if TEXT_PAIR in table and text != TEXT_PAIR else None)
    for column in (text, pair):
        if column is not None:
            check_texts(column, raw.column(SplitName.TRAIN, column), raw.id)
    return text, pair


def offered_attributes(raw: RawData, others: tuple[str | None, ...]) -> tuple[str, ...]:
    """Return the columns that can be attributes, in the file's order.

    They are those that the data describe. Where nothing is described: a column called ``label``,
    every column of which the specification says how to read it, and every column with 2 to 30
    distinct values, at most half as many as it has labelled rows, so that neither texts nor ids
    are offered.

    Args:
        raw: The data.
        others: Columns that are something else: texts, groups, splits; None for those there are
            not.
    """
    columns = raw.known if raw.described else raw.train
    return tuple(
        column
        for column in columns
        if column not in others
        and (column == LABEL or column in raw.known or _has_few_values(raw.train[column]))
    )


def choose_attributes(raw: RawData, spec: TaskSpec, offered: tuple[str, ...]) -> tuple[str, ...]:
    """Return the attributes to load: those named, else all that are offered.

    Raises:
        TaskError: A named one is not among the columns, or none is named and none offered.
    """
    for name in spec.attributes:
        if name not in raw.train:
            raise missing_column(name, raw.train, f"training rows of {raw.id}")
    if not spec.attributes and not offered:
        raise TaskError(
            f"{raw.id} has no column that looks like an attribute",
            expected=f"a column with {_FEWEST_VALUES} to {_MOST_VALUES} distinct values among"
            f" {_listed(raw.train)}",
            hint="--attribute NAME; or, to train a source on texts without labels, --kind corpus",
        )
    return spec.attributes or offered


def _guess_text(raw: RawData) -> str:
    table = raw.train
    if TEXT in table:
        return TEXT
    if raw.words is not None:
        return raw.words
    candidates = [column for column, values in table.items() if _looks_like_texts(values)]
    if len(candidates) != 1:
        found = f"{len(candidates)} columns that may be it" if candidates else "none like it"
        raise TaskError(
            f"{raw.id} has no column called {TEXT!r}, and {found}",
            expected=f"a column of texts among {_listed(table)}",
            hint="--text NAME",
        )
    return candidates[0]


def _looks_like_texts(values: Values) -> bool:
    filled = [value for value in values if not is_missing(value)]
    if not filled or not all(isinstance(value, str) for value in filled):
        return False
    varied = len(set(filled)) > _LARGEST_SHARE_OF_ROWS * len(filled)
    return varied and median(len(value.split()) for value in filled) >= _WORDS_OF_A_TEXT


def _has_few_values(values: Values) -> bool:
    filled = [value for value in values if not is_missing(value)]
    count = len(distinct(filled))
    few = _FEWEST_VALUES <= count <= _MOST_VALUES
    return few and count <= _LARGEST_SHARE_OF_ROWS * len(filled)


def check_texts(column: str, values: Values, task: str) -> None:
    """Refuse a text column whose values are no strings.

    Raises:
        TaskError: They are numbers, or of another type than strings.
    """
    filled = [value for value in values if not is_missing(value)]
    if filled and all(is_number(value) for value in filled):
        raise TaskError(
            f"text column {column!r} of {task} holds numbers",
            expected="texts; ids and numbers are not texts",
            hint="name the text column with --text",
        )
    odd = next((value for value in filled if not isinstance(value, str)), None)
    if odd is not None:
        raise TaskError(
            f"text column {column!r} of {task} holds {type(odd).__name__} values",
            expected="strings",
            hint="name the text column with --text",
        )


def _listed(table: Table) -> str:
    return f"{', '.join(map(repr, table))} ({num_rows(table)} rows)"


# Of more, every second, third, … is looked at.
_MOST_ROWS = 2000


def unread_columns(
    raw: RawData, others: Collection[str | None], chosen: Collection[str]
) -> list[str]:
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
