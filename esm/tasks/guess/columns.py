"""Which columns hold the texts and which attributes are loaded."""

from __future__ import annotations

from collections.abc import Sequence

from esm.common.errors import TaskError
from esm.tasks.formats.sentences import TEXT
from esm.tasks.guess.facts import Facts
from esm.tasks.guess.roles import find_pair, text_candidates
from esm.tasks.raw import RawData, Table, Values, is_missing, is_number, missing_column, num_rows
from esm.tasks.spec import TaskSpec
from esm.tasks.task import SplitName

TEXT_PAIR = "text_pair"
LABEL = "label"


def choose_texts(
    raw: RawData, spec: TaskSpec, columns: Sequence[Facts] | None = None
) -> tuple[str, str | None]:
    """Return the text column and, for a pair task, the second one.

    Unless named, the text column is the one called ``text``, else the one of the words that have
    tags, else of the columns of varied strings of several words the one that is named like texts,
    the longest and the fullest. The second is the one called ``text_pair``, or whose name makes a
    pair with the first: premise and hypothesis, claim and evidence.

    Args:
        raw: The data.
        spec: What was said of them.
        columns: Their columns, to look for a pair to a first text that is named; None looks for
            one only where the first is not named either.

    Raises:
        TaskError: A named column is absent, none fits, or the column holds numbers.
    """
    table = raw.train
    text = spec.text or (TEXT if TEXT in table else raw.words)
    pair = spec.text_pair
    if pair is None and TEXT_PAIR in table and text in (None, TEXT):
        pair = TEXT_PAIR
    if text is None or (columns and pair is None and raw.words is None):
        columns = columns or [Facts(name, values) for name, values in table.items()]
        candidates = text_candidates(columns)
        found = find_pair(candidates)
        if text is None:
            text = _most_likely(raw, candidates, found)
        if pair is None and found is not None and found[0].name == text:
            pair = found[1].name
    for column in (text, pair):
        if column is not None:
            check_texts(column, raw.column(SplitName.TRAIN, column), raw.id)
    return text, pair


def _most_likely(raw: RawData, candidates: list[Facts], pair: tuple[Facts, Facts] | None) -> str:
    if not candidates:
        raise TaskError(
            f"{raw.id} has no column that looks like texts",
            expected=f"strings of several words in one of {listed_columns(raw.train)}",
            hint="name it with --text; or is it another --delimiter, --encoding or --sheet?",
        )
    first = candidates[0]
    return pair[0].name if pair is not None and first in pair else first.name


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
            expected=f"labels in one of {listed_columns(raw.train)}; esm tasks init FILE says of"
            " each why it is none",
            hint="--attribute NAME; or, to train a source on texts without labels, --kind corpus",
        )
    return spec.attributes or offered


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


def listed_columns(table: Table) -> str:
    """Return a table's columns and rows, for messages."""
    return f"{', '.join(map(repr, table))} ({num_rows(table)} rows)"
