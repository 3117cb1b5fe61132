"""What may spoil results, as findings: with counts, and with what to do; never with a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class FindingKind(StrEnum):
    """What a finding is about."""

    CONFLICTING_LABELS = "conflicting labels"
    DUPLICATE_TEXTS = "duplicate texts"
    SHARED_TEXTS = "same texts in train and test"
    NEAR_DUPLICATES = "near-duplicates"
    RARE_CLASSES = "rare classes"
    NOT_IN_TEST = "classes without test rows"
    NOT_IN_TRAIN = "labels without training rows"
    NO_ANSWER = "no answer"
    SPELLINGS = "spellings of a class"
    LOOK_ALIKES = "classes that look alike"
    ID_AS_LABEL = "id as a label"
    ONE_CLASS = "nearly one class"
    FEW_ROWS = "few rows"
    DAMAGED_TEXTS = "damaged texts"
    EMPTY_TEXTS = "empty texts"
    UNUSABLE = "cannot be used"


@dataclass(frozen=True)
class Finding:
    """One thing that may spoil results.

    Attributes:
        kind: What it is about.
        attribute: The attribute; None where it holds for the whole target.
        count: How many texts, rows or classes.
        message: A sentence with the counts.
        hint: What to do.
    """

    kind: FindingKind
    attribute: str | None
    count: int
    message: str
    hint: str


_MOST_NAMED = 6
_LONGEST_NAMED = 30


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Return classes and their rows for a sentence; of many classes the first six.

    Example:
        >>> listed({"áno": 1200, "nie": 3})
        'áno 1,200, nie 3'
    """
    shown = [
        f"{' '.join(label.split())[:_LONGEST_NAMED]} {count:,}"
        for label, count in list(counts.items())[:_MOST_NAMED]
    ]
    more = [f"and {len(counts) - _MOST_NAMED} others"] if len(counts) > _MOST_NAMED else []
    return ", ".join([*shown, *more])
