"""Google Forms' CSV and workbooks: questions for column names, check boxes joined by commas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from esm.tasks.formats.annotations import Export
from esm.tasks.guess.words import plain_words
from esm.tasks.raw import Table, Values, is_missing

# In a sheet of answers, and in the file that Forms itself offers.
_BETWEEN = (";", ", ")
_UNMISTAKABLE = ";"  # a comma also stands inside an option
# The first column, as Forms names it in the languages that are read here.
_TIMES = {
    "timestamp",
    "casova peciatka",
    "casova znacka",
    "casove razitko",
    "sygnatura czasowa",
    "zeitstempel",
    "idobelyeg",
    "horodateur",
    "marca temporal",
}
_MOST_OPTIONS = 40
_FEWEST_ROWS_PER_OPTION = 3
_LONGEST_OPTION_IN_WORDS = 12


def from_table(path: Path, table: Table) -> Export | None:
    """Read answers to a form; None where the columns are of another origin.

    Check boxes are joined by a comma, which may also stand inside an option: parts that never
    come apart are one option.
    """
    first = next(iter(table), "")
    if " ".join(plain_words(first)) not in _TIMES:
        return None
    columns: dict[str, Values] = {}
    notes = []
    for name, cells in table.items():
        boxes = None if name == first else check_boxes(cells)
        columns[name] = list(cells) if boxes is None else boxes
        if boxes is not None:
            options = {option for answer in boxes for option in answer or ()}
            notes.append(f"{name!r} holds check boxes, {len(options)} options")
    return Export("Google Forms", columns, tuple(notes))


def check_boxes(cells: Sequence[object]) -> list[list[str] | None] | None:
    """Return the options of every answer; None where a question has no check boxes.

    It has where some answers hold several of a few short options, each chosen more than twice.
    """
    answers = [cell for cell in cells if isinstance(cell, str) and not is_missing(cell)]
    if len(answers) < len(cells) - sum(map(is_missing, cells)):
        return None
    mark = next((mark for mark in _BETWEEN if any(mark in answer for answer in answers)), "")
    if not mark:
        return None
    parts = [answer.strip().split(mark) for answer in answers]
    if mark not in _UNMISTAKABLE:
        parts = _together(parts, mark)
    options = {option for answer in parts for option in answer}
    few = 1 < len(options) <= min(_MOST_OPTIONS, sum(map(len, parts)) / _FEWEST_ROWS_PER_OPTION)
    short = all(len(option.split()) <= _LONGEST_OPTION_IN_WORDS for option in options)
    if not (few and short and any(len(answer) > 1 for answer in parts)):
        return None
    filled = iter(parts)
    return [None if is_missing(cell) else next(filled) for cell in cells]


def _together(answers: list[list[str]], mark: str) -> list[list[str]]:
    """Return answers in which parts that always follow each other are one."""
    while True:
        counts = Counter(part for answer in answers for part in answer)
        pairs = Counter(pair for answer in answers for pair in pairwise(answer))
        joined = {
            pair for pair, count in pairs.items() if count == counts[pair[0]] == counts[pair[1]]
        }
        if not joined:
            return answers
        answers = [_join(answer, joined, mark) for answer in answers]


def _join(answer: list[str], joined: set[tuple[str, str]], mark: str) -> list[str]:
    found: list[str] = []
    last = ""
    for part in answer:
        if found and (last, part) in joined:
            found[-1] += mark + part
        else:
            found.append(part)
        last = part
    return found
