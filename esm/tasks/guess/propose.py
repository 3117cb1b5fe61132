"""A specification for a file nobody has described yet: every choice with its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from esm.tasks.formats.delimited import find_delimiter
from esm.tasks.formats.encodings import decode
from esm.tasks.formats.files import read_table
from esm.tasks.formats.sentences import as_sentences
from esm.tasks.formats.xlsx import sheet_names
from esm.tasks.guess.facts import Facts
from esm.tasks.guess.rare import with_minimum
from esm.tasks.guess.reading import Reading, read_columns
from esm.tasks.guess.roles import Guess
from esm.tasks.languages import UNDETERMINED, detect
from esm.tasks.raw import RawData, Table, is_missing, num_rows
from esm.tasks.spec import SplitMethod, SplitSpec, TaskSpec
from esm.tasks.splits.divide import split_of
from esm.tasks.task import SplitName

_FEWEST_FOR_HOLD_OUT = 500
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
    source = source.model_copy(update={"text": text})
    read = {SplitName.TRAIN: read_table(path, source)}
    raw = as_sentences(RawData(id=path.stem, splits=read), source)
    reading = read_columns(raw, source)
    method, reasons["split"] = _choose_split(reading, raw.train)
    reasons["language"] = _about_language(reading.texts[0])
    values = _values(reading)
    counted = _training_rows(method, reading.split) if reading.long is None else None
    guesses = tuple(with_minimum(guess, values, method, counted) for guess in reading.guesses)
    reading = dataclasses.replace(reading, guesses=guesses)
    spec = reading.fill_in(source).model_copy(update={"split": method})
    if reading.annotator is not None:
        reasons["annotator"] = (
            "several people annotated the same texts; the label of most counts, or set voting ="
            " soft (train on every vote) or separate"
        )
    return Proposal(spec, guesses, reasons, num_rows(raw.train))


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


def _values(reading: Reading) -> dict[str, Facts]:
    found = reading.columns if reading.long is None else reading.long.attributes
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


def _choose_split(reading: Reading, table: Table) -> tuple[SplitSpec, str]:
    split, group, long = reading.split, reading.group, reading.long
    if split is not None:
        how = SplitSpec(method=SplitMethod.COLUMN, column=split.name)
        return how, f"column {split.name!r} names the split of every row"
    rows = _num_labelled(reading, table) if long is None else long.num_texts
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


def _num_labelled(reading: Reading, table: Table) -> int:
    labels = [table[name] for name in reading.attributes]
    rows = zip(*(facts.values for facts in reading.texts), strict=True)
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
