"""A specification for a file nobody has described yet: every choice with its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from esm.common.errors import TaskError
from esm.tasks.annotators import find_annotator
from esm.tasks.formats.delimited import find_delimiter
from esm.tasks.formats.encodings import decode
from esm.tasks.formats.files import read_table
from esm.tasks.formats.sentences import as_sentences
from esm.tasks.formats.xlsx import sheet_names
from esm.tasks.guess.facts import Facts
from esm.tasks.guess.long import LongLayout, find_long
from esm.tasks.guess.rare import with_minimum
from esm.tasks.guess.roles import (
    Guess,
    Role,
    about_group,
    about_text,
    find_group,
    find_pair,
    find_split,
    guess_attribute,
    guess_column,
    text_candidates,
)
from esm.tasks.languages import UNDETERMINED, detect
from esm.tasks.raw import RawData, Table, is_missing, missing_column, num_rows
from esm.tasks.spec import ColumnSpec, SplitMethod, SplitSpec, TaskSpec
from esm.tasks.splits.divide import split_of
from esm.tasks.task import Problem, SplitName

_FEWEST_FOR_HOLD_OUT = 500
# Fewer texts with several values of an attribute are slips; they are named when it is read.
_SHARE_OF_SETS = 0.05
_TABLES_OF_TEXT = (".csv", ".txt")


@dataclass(frozen=True)
class Proposal:
    """A specification and why it is as it is.

    Attributes:
        spec: What is proposed; ``spec.attributes`` is empty where no column is fit for one.
        guesses: Of every column, in the file's order; then of the attributes of a long file.
        reasons: Of the specification's keys, by key; no text of the data is in them.
        rows: Rows of the file.
    """

    spec: TaskSpec
    guesses: tuple[Guess, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0


def propose(
    path: Path,
    *,
    text: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
) -> Proposal:
    """Propose a specification for a file of labelled rows.

    Args:
        path: A file of any kind that :func:`~esm.tasks.formats.files.read_table` reads.
        text: Text column; None finds it.
        encoding: Encoding of a text file; None finds it out.
        delimiter: What separates the cells of a text table; None finds it out.
        sheet: Sheet of a workbook; None takes the first.

    Raises:
        TaskError: The file cannot be read, or has no column of texts.
    """
    source, reasons = _source(path, encoding, delimiter, sheet)
    read = {SplitName.TRAIN: read_table(path, source)}
    raw = as_sentences(RawData(id=path.stem, splits=read), source.model_copy(update={"text": text}))
    table = raw.train
    columns = [Facts(name, values) for name, values in table.items()]
    texts = _choose_texts(path, columns, text or raw.words)
    others = [facts for facts in columns if facts not in texts and facts.name not in raw.known]
    long = find_long(texts[0], others) if len(texts) == 1 else None
    layout = [] if long is None else [long.names, long.values]
    others = [facts for facts in others if facts not in layout]
    split = find_split(others)
    group = find_group([facts for facts in others if facts is not split])
    if group is None and len(texts) > 1:
        group = find_group(texts[:1])
    if long is not None:
        split, group = (facts if long.is_constant(facts) else None for facts in (split, group))
    roles = _named_roles(texts, long, split, group) | {name: _tags(name) for name in raw.known}
    guesses = [
        roles[facts.name] if facts.name in roles else _guess_other(facts, texts, long)
        for facts in columns
    ]
    if long is not None:
        guesses += [_guess_in_long(facts, long) for facts in long.attributes]
    method, reasons["split"] = _choose_split(texts, guesses, table, long, split, group)
    reasons["language"] = _about_language(texts[0])
    values = _values(columns, long)
    counted = _training_rows(method, split) if long is None else None
    guesses = [with_minimum(guess, values, method, counted) for guess in guesses]
    attributes = {guess.name: guess.how for guess in guesses if guess.how is not None}
    spec = source.model_copy(
        update={
            "text": texts[0].name,
            "text_pair": texts[1].name if len(texts) > 1 else None,
            "attributes": tuple(attributes),
            "columns": attributes,
            "attribute_column": None if long is None else long.names.name,
            "value_column": None if long is None else long.values.name,
            "split": method,
        }
    )
    if annotator := find_annotator(table, [facts.name for facts in texts]):
        spec = spec.model_copy(update={"annotator": annotator})
        reasons["annotator"] = (
            "several people annotated the same texts; the label of most counts, or set voting ="
            " soft (train on every vote) or separate"
        )
    return Proposal(spec, tuple(guesses), reasons, num_rows(table))


# ----------------------------------------------------------------------------------- the file


def _source(
    path: Path, encoding: str | None, delimiter: str | None, sheet: str | None
) -> tuple[TaskSpec, dict[str, str]]:
    """Return where the rows are and how to read them, with what was found out."""
    reasons: dict[str, str] = {}
    suffix = path.suffix.lower()
    is_text = suffix in (*_TABLES_OF_TEXT, ".tsv", ".json", ".jsonl") and path.is_file()
    if is_text and path.stat().st_size:
        decoded = decode(path, encoding)
        if encoding is None and decoded.encoding != "utf-8":
            encoding = decoded.encoding
            reasons["encoding"] = "found by a byte order mark or by the letters that it makes"
        if delimiter is None and suffix in _TABLES_OF_TEXT:
            delimiter = find_delimiter(decoded.text)
            reasons["delimiter"] = "it divides the rows into as many cells as the header"
    if sheet is None and suffix == ".xlsx" and path.is_file():
        names = sheet_names(path)
        if len(names) > 1:
            sheet = names[0]
            reasons["sheet"] = f"the first of {len(names)}: {', '.join(map(repr, names))}"
    location = str(path.resolve())
    spec = TaskSpec(location=location, encoding=encoding, delimiter=delimiter, sheet=sheet)
    return spec, reasons


def _choose_texts(path: Path, columns: Sequence[Facts], text: str | None) -> list[Facts]:
    """Return the text column, or the two of a pair."""
    candidates = text_candidates(columns)
    pair = find_pair(candidates)
    if text is not None:
        named = [facts for facts in columns if facts.name == text]
        if not named:
            raise missing_column(text, {facts.name: [] for facts in columns}, f"rows of {path}")
        return list(pair) if pair is not None and pair[0] is named[0] else named
    if not candidates:
        raise TaskError(
            f"{path} has no column that looks like texts",
            expected=f"strings of several words in one of"
            f" {', '.join(repr(facts.name) for facts in columns)}",
            hint="name it with --text; or is it another --delimiter, --encoding or --sheet?",
        )
    return list(pair) if pair is not None and candidates[0] in pair else candidates[:1]


# -------------------------------------------------------------------------------------- roles


def _named_roles(
    texts: Sequence[Facts], long: LongLayout | None, split: Facts | None, group: Facts | None
) -> dict[str, Guess]:
    guesses = []
    if group is not None:
        guesses.append(Guess(group.name, Role.GROUP, about_group(group)))
    if split is not None:
        cells = ", ".join(f"{name} {count:,}" for name, count in split.counts.most_common())
        guesses.append(Guess(split.name, Role.SPLIT, f"every cell names a split: {cells}"))
    if long is not None:
        guesses.append(Guess(long.names.name, Role.ATTRIBUTE_NAMES, long.why))
        guesses.append(Guess(long.values.name, Role.VALUES, f"beside {long.names.name!r}"))
    # Last, because the first text of a pair may be the group as well.
    for facts, role in zip(texts, (Role.TEXT, Role.TEXT_PAIR), strict=False):
        guesses.append(Guess(facts.name, role, about_text(facts)))
    return {guess.name: guess for guess in guesses}


def _guess_other(facts: Facts, texts: Sequence[Facts], long: LongLayout | None) -> Guess:
    if long is not None:
        why = "not among the attributes that the rows of this long file name"
        return Guess(facts.name, Role.NONE, why)
    guess = guess_column(facts)
    if guess.role is Role.NONE and facts in text_candidates([facts]):
        why = f"texts as well; {texts[0].name!r} looks more like what the labels are about"
        return dataclasses.replace(guess, why=why)
    return guess


def _tags(name: str) -> Guess:
    """Return that a column has a tag for each word."""
    why = "as many tags as words in most rows"
    return Guess(name, Role.ATTRIBUTE, why, ColumnSpec(kind=Problem.TAGGING))


def _guess_in_long(facts: Facts, long: LongLayout) -> Guess:
    """Return of which kind an attribute of a long file is; its values may come row by row."""
    guess = guess_attribute(facts)
    several = long.num_several(facts.name)
    if guess.role is Role.ATTRIBUTE and several >= _SHARE_OF_SETS * long.num_texts:
        why = f"{several:,} of {long.num_texts:,} texts have several values of it"
        separator = None if guess.how is None else guess.how.separator
        how = ColumnSpec(kind=Problem.MULTILABEL, separator=separator)
        return Guess(facts.name, Role.ATTRIBUTE, why, how)
    return guess


def _values(columns: Sequence[Facts], long: LongLayout | None) -> dict[str, Facts]:
    found = columns if long is None else long.attributes
    return {facts.name: facts for facts in found}


def _about_language(texts: Facts) -> str:
    """Return the line that would declare the detected language, and how sure the detector is."""
    found = detect([str(text) for text in texts.filled])
    code = "sk" if found.detected == UNDETERMINED else found.detected
    share = f"{100 * found.share:.0f} ± {100 * found.error:.0f} %"
    about = f"detected, {share} of {found.texts} texts"
    if found.detected == UNDETERMINED:
        about = f"for instance; the detector is not sure of {found.texts} texts"
    return f'language = "{code}"  # {about}'


# -------------------------------------------------------------------------------------- split


def _choose_split(
    texts: Sequence[Facts],
    guesses: Sequence[Guess],
    table: Table,
    long: LongLayout | None,
    split: Facts | None,
    group: Facts | None,
) -> tuple[SplitSpec, str]:
    if split is not None:
        how = SplitSpec(method=SplitMethod.COLUMN, column=split.name)
        return how, f"column {split.name!r} names the split of every row"
    rows = _num_labelled(texts, guesses, table) if long is None else long.num_texts
    name = None if group is None else group.name
    if rows < _FEWEST_FOR_HOLD_OUT:
        why = (
            f"{rows:,} labelled rows: one test part of them would be too small to judge by; in"
            " folds, every row is a test row once"
        )
        folds = SplitSpec(method=SplitMethod.K_FOLD, group=name)
        return folds, why if name is None else f"{why}; rows of one {name!r} stay together"
    if name is not None:
        why = f"rows of one {name!r} resemble each other: all on one side, or the test flatters"
        return SplitSpec(method=SplitMethod.GROUPED, group=name), why
    why = f"{rows:,} labelled rows are enough to hold out a fifth; nothing groups them"
    return SplitSpec(method=SplitMethod.STRATIFIED), why


def _num_labelled(texts: Sequence[Facts], guesses: Sequence[Guess], table: Table) -> int:
    labels = [table[guess.name] for guess in guesses if guess.role is Role.ATTRIBUTE]
    rows = zip(*(facts.values for facts in texts), strict=True)
    has_text = [not any(map(is_missing, row)) for row in rows]
    has_label = (
        [not all(map(is_missing, row)) for row in zip(*labels, strict=True)] if labels else has_text
    )
    return sum(text and label for text, label in zip(has_text, has_label, strict=True))


def _training_rows(method: SplitSpec, split: Facts | None) -> list[bool] | None:
    """Return which rows are for training; None where the split is not known yet."""
    if split is None or method.method is not SplitMethod.COLUMN:
        return None
    return [split_of(value) is SplitName.TRAIN for value in split.values]
