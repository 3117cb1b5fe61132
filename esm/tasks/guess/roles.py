"""What each column of a table seems to be: text, attribute, group, split, or nothing to use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from esm.tasks.guess.facts import Facts
from esm.tasks.guess.words import (
    FILLERS,
    OCCASIONS,
    SENDERS,
    TEXTS,
    plain_words,
    says,
    says_only,
    stem,
)
from esm.tasks.spec import ColumnSpec
from esm.tasks.splits.divide import split_of
from esm.tasks.task import SplitName


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

FEWEST_WORDS = 3
_MOST_NAMES_OF_SPLITS = 20
_FEWEST_TEXTS = 10
MOST_CLASSES = 30
_FEWEST_GROUPS = 10


# ------------------------------------------------------------------------------------------ texts


def text_candidates(columns: Iterable[Facts]) -> list[Facts]:
    """Return the columns that may hold the texts, the most likely one first."""
    found = [
        facts
        for facts in columns
        if facts.is_strings
        and facts.mean_words >= FEWEST_WORDS
        and _is_varied(facts)
        and not (facts.is_addresses or facts.is_dates or facts.separated)
    ]
    return sorted(found, key=_likeness_to_texts, reverse=True)


def _is_varied(facts: Facts) -> bool:
    named = says(facts.name, TEXTS) and len(facts.counts) >= _FEWEST_TEXTS
    return named or len(facts.counts) > MOST_CLASSES or facts.variety > 0.5


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
        if len(facts.counts) > _MOST_NAMES_OF_SPLITS:
            continue
        named = {split_of(value) for value in facts.counts}
        if len(named) > 1 and None not in named and SplitName.TRAIN in named and facts.fill == 1:
            return facts
    return None


def find_group(columns: Iterable[Facts]) -> Facts | None:
    """Return the column whose values should stay on one side of a split, if there is one.

    It is named like a sender (author, source) or an occasion (claim, event), has at least ten
    values, one row in ten or more shares its value, and no value has half of the rows.
    """
    named = [facts for facts in columns if is_called(facts.name, SENDERS + OCCASIONS)]
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


def is_called(name: str, words: Sequence[str]) -> bool:
    """Return whether a name is one of these words and nothing else: not ``author_gender``."""
    return says(name, words) and says_only(name, {*words, *FILLERS})


def about_group(facts: Facts) -> str:
    """Return why rows should be grouped by a column."""
    repeated = sum(count for count in facts.counts.values() if count > 1)
    return (
        f"named like an origin, and {repeated:,} of {len(facts.filled):,} rows share one of its"
        f" {len(facts.counts):,} values with another row"
    )
