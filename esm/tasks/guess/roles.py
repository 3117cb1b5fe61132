"""What each column of a table seems to be: text, attribute, group, split, or nothing to use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from esm.tasks.guess.facts import Facts
from esm.tasks.guess.scales import ordered_scale
from esm.tasks.guess.words import (
    AMOUNTS,
    ANNOTATORS,
    FILLERS,
    OCCASIONS,
    RATINGS,
    ROW_NUMBERS,
    SENDERS,
    TEXTS,
    plain_words,
    says,
    says_only,
    stem,
)
from esm.tasks.spec import ColumnSpec
from esm.tasks.splits.divide import split_of
from esm.tasks.task import Problem, SplitName


class Role(StrEnum):
    """What a column is proposed as; NONE is left out."""

    TEXT = "text"
    TEXT_PAIR = "second text"
    ATTRIBUTE = "attribute"
    GROUP = "group"
    SPLIT = "split"
    ATTRIBUTE_NAMES = "names of attributes"
    VALUES = "values of attributes"
    NONE = "-"


@dataclass(frozen=True)
class Guess:
    """What one column, or one attribute of a long file, is proposed as.

    Attributes:
        name: The column, or the attribute.
        role: What it is proposed as.
        why: The reason, a sentence without any text of the data.
        how: How to read its labels; None for what is no attribute.
        about_rare: Why a minimum per class is proposed; empty where none is.
    """

    name: str
    role: Role
    why: str
    how: ColumnSpec | None = None
    about_rare: str = ""


# Pairs of texts have names that belong together; beside them sentence1, sentence2 and the like.
_PAIRS = (
    ("premise", "hypothesis"),
    ("claim", "evidence"),
    ("question", "answer"),
    ("query", "document"),
    ("text", "text pair"),
    ("predpoklad", "hypoteza"),
    ("tvrdenie", "dokaz"),
    ("otazka", "odpoved"),
)
_NUMBERS_OF_PAIRS = (("1", "2"), ("a", "b"))

_FEWEST_WORDS = 3
_FEWEST_TEXTS = 10
_MOST_CLASSES = 30
_MOST_NUMBERED_CLASSES = 20
_FEWEST_GROUPS = 10
_ALL_DIFFER = 0.95
_NEARLY_ALL_NUMBERS = 0.9
_ROWS_THAT_TELL = 20
_MOST_LISTED = 6
_LONGEST_LISTED = 30


# ------------------------------------------------------------------------------------------ texts


def text_candidates(columns: Iterable[Facts]) -> list[Facts]:
    """Return the columns that may hold the texts, the most likely one first."""
    found = [
        facts
        for facts in columns
        if facts.is_strings
        and facts.mean_words >= _FEWEST_WORDS
        and _is_varied(facts)
        and not (facts.is_addresses or facts.is_dates or facts.separator)
    ]
    return sorted(found, key=_likeness_to_texts, reverse=True)


def _is_varied(facts: Facts) -> bool:
    named = says(facts.name, TEXTS) and len(facts.counts) >= _FEWEST_TEXTS
    return named or len(facts.counts) > _MOST_CLASSES or facts.variety > 0.5


def _likeness_to_texts(facts: Facts) -> float:
    named = 4.0 if says(facts.name, TEXTS) else 1.0
    return named * facts.fill * math.log1p(facts.mean_words) * math.sqrt(facts.variety)


def find_pair(candidates: Sequence[Facts]) -> tuple[Facts, Facts] | None:
    """Return the two columns of texts whose names make them a pair; None where there are none."""
    for first in candidates:
        for second in candidates:
            if _are_pair(plain_words(first.name), plain_words(second.name)):
                return first, second
    return None


def _are_pair(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    numbered = first[:-1] == second[:-1] and (first[-1:] + second[-1:]) in _NUMBERS_OF_PAIRS
    return numbered or (" ".join(first), " ".join(second)) in _PAIRS


def about_text(facts: Facts) -> str:
    """Return why a column holds the texts."""
    return (
        f"{len(facts.counts):,} distinct values in {len(facts.filled):,} rows, on average"
        f" {facts.mean_words:.0f} words"
    )


# ----------------------------------------------------------------------------- splits and groups


def find_split(columns: Iterable[Facts]) -> Facts | None:
    """Return the column whose every cell names a split, training rows among them."""
    for facts in columns:
        named = {split_of(value) for value in facts.counts}
        if len(named) > 1 and None not in named and SplitName.TRAIN in named and facts.fill == 1:
            return facts
    return None


def find_group(columns: Iterable[Facts]) -> Facts | None:
    """Return the column whose values should stay on one side of a split, if there is one.

    It is named like a sender (author, source) or an occasion (claim, event), has at least ten
    values, one row in ten or more shares its value, and no value has half of the rows.
    """
    named = [facts for facts in columns if _is_called(facts.name, SENDERS + OCCASIONS)]
    fit = [facts for facts in named if _can_group(facts)]
    order = [*SENDERS, *OCCASIONS]

    def place(facts: Facts) -> int:
        found = map(stem, plain_words(facts.name))
        return min(order.index(word) for word in found if word in order)

    return min(fit, key=place, default=None)


def _can_group(facts: Facts) -> bool:
    return (
        len(facts.counts) >= _FEWEST_GROUPS
        and facts.variety <= 0.9
        and facts.fill > 0.5
        and max(facts.counts.values()) <= len(facts.filled) / 2
    )


def _is_called(name: str, words: Sequence[str]) -> bool:
    """Return whether a name is one of these words and nothing else: not ``author_gender``."""
    return says(name, words) and says_only(name, {*words, *FILLERS})


def about_group(facts: Facts) -> str:
    """Return why rows should be grouped by a column."""
    repeated = sum(count for count in facts.counts.values() if count > 1)
    return (
        f"named like an origin, and {repeated:,} of {len(facts.filled):,} rows share one of its"
        f" {len(facts.counts):,} values with another row"
    )


# ------------------------------------------------------------------------------------- attributes


def guess_column(facts: Facts) -> Guess:
    """Return whether a column that is neither text, group nor split is an attribute, and why."""
    reason = _why_not(facts)
    return Guess(facts.name, Role.NONE, reason) if reason else guess_attribute(facts)


def _why_not(facts: Facts) -> str | None:
    """Return why what a column holds is no label; None where it may be one."""
    rows, distinct = len(facts.filled), len(facts.counts)
    some = f"{distinct:,} distinct values in {rows:,} rows"
    if distinct == 0:
        return "empty"
    if distinct == 1:
        return f"the same value in all {rows:,} rows that have one"
    if facts.is_dates:
        return "dates"
    if _is_called(facts.name, SENDERS):
        return f"named like an origin; {some} do not make groups to split by"
    if says(facts.name, ANNOTATORS):
        return "who annotated, not what"
    if facts.is_addresses:
        return "addresses on the web; a column with their domains could be a group"
    if _is_row_number(facts):
        return f"an id: {some}"
    if facts.is_numbers and says(facts.name, AMOUNTS):
        return "named like an amount that comes with the texts"
    return None


def _is_row_number(facts: Facts) -> bool:
    if says_only(facts.name, {*ROW_NUMBERS, *FILLERS}) and facts.variety > 0.5:
        return True
    if len(facts.filled) < _ROWS_THAT_TELL or facts.variety < _ALL_DIFFER:
        return False
    whole = facts.is_whole and (facts.is_counted_on or min(map(abs, facts.filled)) >= 10_000)
    return whole or (facts.is_strings and facts.mean_words <= 2)


def guess_attribute(facts: Facts) -> Guess:
    """Return of which kind an attribute is, or why its values are no labels."""
    distinct, rows = len(facts.counts), len(facts.filled)
    if facts.is_lists or facts.separator:
        return _labels_of_sets(facts)
    if facts.is_numbers and not (_are_codes(facts) and distinct <= rows / 2):
        low, high = min(facts.filled), max(facts.filled)
        why = f"{distinct:,} different numbers from {low:g} to {high:g} in {rows:,} rows"
        return _attribute(facts, Problem.REGRESSION, why)
    if 2 <= distinct <= _MOST_CLASSES and distinct <= rows / 2:
        return _classes(facts)
    if rows > facts.num_numbers >= _NEARLY_ALL_NUMBERS * rows:
        why = (
            f"{facts.num_numbers:,} of {rows:,} cells are numbers, {rows - facts.num_numbers:,} are"
            " not: empty those (not annotated), and it can be an attribute"
        )
    elif facts.mean_words >= _FEWEST_WORDS:
        why = f"free text: on average {facts.mean_words:.0f} words"
    else:
        why = (
            f"{distinct:,} distinct values in {rows:,} rows: classes are at most {_MOST_CLASSES},"
            " each in several rows"
        )
    return Guess(facts.name, Role.NONE, why)


def _are_codes(facts: Facts) -> bool:
    """Return whether whole numbers are so few, or so regular, that they number classes."""
    if not facts.is_whole:
        return False
    low, high, distinct = min(facts.filled), max(facts.filled), len(facts.counts)
    counted_on = low in (0, 1) and high - low + 1 == distinct and not says(facts.name, RATINGS)
    return distinct <= (_MOST_CLASSES if counted_on else _MOST_NUMBERED_CLASSES)


def _classes(facts: Facts) -> Guess:
    scale = ordered_scale(facts.name, facts.counts)
    if scale is None:
        why = f"{len(facts.counts)} values in {len(facts.filled):,} rows: {_listed(facts)}"
        return _attribute(facts, Problem.CLASSIFICATION, why)
    order, reason = scale
    return _attribute(facts, Problem.ORDINAL, f"{reason}: {_listed(facts)}", order=order)


def _labels_of_sets(facts: Facts) -> Guess:
    separator = None if facts.is_lists else facts.separator
    several = sum(
        count for cell, count in facts.counts.items() if separator and separator in cell.strip()
    )
    cells = f"{several:,} of {len(facts.filled):,} cells hold several labels between"
    why = "its cells are lists" if separator is None else f"{cells} {separator!r}"
    if empty := len(facts.values) - len(facts.filled):
        none = "[]" if separator is None else f"{separator} or []"
        why += f"; {empty:,} empty ones count as not annotated: where no label holds, write {none}"
    return _attribute(facts, Problem.MULTILABEL, why, separator=separator)


def _attribute(
    facts: Facts,
    problem: Problem,
    why: str,
    *,
    order: tuple[str, ...] = (),
    separator: str | None = None,
) -> Guess:
    how = ColumnSpec(kind=problem, order=order, separator=separator)
    return Guess(facts.name, Role.ATTRIBUTE, why, how)


def _listed(facts: Facts) -> str:
    shown = [
        f"{' '.join(label.split())[:_LONGEST_LISTED]} {count:,}"
        for label, count in facts.counts.most_common(_MOST_LISTED)
    ]
    return ", ".join([*shown, "…"] if len(facts.counts) > _MOST_LISTED else shown)
