"""What is wrong with texts: missing, damaged, repeated, on both sides of a split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

import numpy as np

from esm.tasks.faults.findings import Finding, FindingKind
from esm.tasks.faults.near import MOST_COMPARED, near_copies
from esm.tasks.identity import row_forms
from esm.tasks.splits.rows import EMPTY_TEXT
from esm.tasks.task import SplitName, Target

_MOST_EMPTY = 0.5


def text_findings(target: Target, seed: int) -> list[Finding]:
    """Return what is wrong with a target's texts; see ``inspect_target``."""
    train = _forms(target, (SplitName.TRAIN, SplitName.VALIDATION))
    test = _forms(target, (SplitName.TEST,))
    found = (
        _empty_texts(target),
        _damaged_texts(target),
        _duplicates(train + test),
        _shared(train, test),
        _near(train, test, seed),
    )
    return [finding for finding in found if finding is not None]


def _forms(target: Target, splits: Collection[SplitName]) -> Counter[str]:
    """Return how many rows each text has in these splits.

    Attributes may be annotated on different rows: a text has as many rows as in the attribute in
    which it has most.
    """
    forms: Counter[str] = Counter()
    for task in target.attributes.values():
        parts = [task.splits[name] for name in splits if name in task.splits]
        forms |= Counter(form for part in parts for form in row_forms(part.texts, part.pairs))
    return forms


def _empty_texts(target: Target) -> Finding | None:
    empty = max(task.dropped.get(EMPTY_TEXT, 0) for task in target.attributes.values())
    rows = empty + max(sum(map(len, task.splits.values())) for task in target.attributes.values())
    if empty <= _MOST_EMPTY * rows:
        return None
    return Finding(
        FindingKind.EMPTY_TEXTS,
        None,
        empty,
        f"{empty:,} of about {rows:,} rows have no text",
        "is it the right column? name another one with --text",
    )


# What the letters of UTF-8 become when their bytes are read one by one: a lead byte from C2 to
# C5, or the E2 80 of quotation marks, and a byte from 80 to BF, in cp1252, cp1250 or Latin-1. Ĺ
# and Ă before capitals are left out: DĹŽKA is a word, and so is MĂŞTI.
_FOLLOWING = "".join(
    {
        char
        for encoding in ("cp1252", "cp1250", "latin-1")
        for byte in range(0x80, 0xC0)
        for char in bytes([byte]).decode(encoding, "ignore")
    }
    - {"\u00a0", "Š", "Ž", "Ş"}
)
_DAMAGE = re.compile(
    f"\ufffd|[ÂÃÄÅĂĹ][{re.escape(_FOLLOWING)}]|â€"
    # Control characters, and ľ of cp1250 read as Latin-1.
    "|[\x80-\x84\x86-\x9f]|[^\\W\\d_]¾|¾[^\\W\\d_]{2}"
)


def is_damaged(text: str) -> bool:
    """Return whether a text looks as if it had been read in a wrong encoding."""
    return _DAMAGE.search(text) is not None


def _damaged_texts(target: Target) -> Finding | None:
    texts = {
        text
        for task in target.attributes.values()
        for examples in task.splits.values()
        for text in (*examples.texts, *(examples.pairs or ()))
    }
    count = sum(map(is_damaged, texts))
    if not count:
        return None
    return Finding(
        FindingKind.DAMAGED_TEXTS,
        None,
        count,
        f"texts with replacement characters, or with letters such as Ã¡ and Ä¾ that come of a wrong"
        f" encoding: {count:,} of {len(texts):,}",
        "read the file in its own encoding (--encoding), or export it again as UTF-8",
    )


def _duplicates(rows: Counter[str]) -> Finding | None:
    again = rows.total() - len(rows)
    if not again:
        return None
    several = sum(count > 1 for count in rows.values())
    return Finding(
        FindingKind.DUPLICATE_TEXTS,
        None,
        again,
        f"rows with a text that came before: {again:,} of {rows.total():,}; texts that come again:"
        f" {several:,}",
        "keep one row of each: repeated texts count more than others, in training and in scores",
    )


def _shared(train: Counter[str], test: Counter[str]) -> Finding | None:
    count = len(train.keys() & test.keys())
    if not count:
        return None
    return Finding(
        FindingKind.SHARED_TEXTS,
        None,
        count,
        f"test texts that are in train as well: {count:,} of {len(test):,}; results will flatter",
        'remove them from one side, or split anew by text: method = "stratified" under [split]',
    )


def _near(train: Counter[str], test: Counter[str], seed: int) -> Finding | None:
    """Look for near-duplicates across train and test; without test rows, among all rows."""
    first = _sample(test.keys() - train.keys() if test else train.keys(), seed)
    second = _sample(train.keys(), seed) if test else None
    count = int(near_copies(first, second).sum()) if first else 0
    if not count:
        return None
    what = f"texts that are nearly the same as another one: {count:,} of {len(first):,}"
    if test:
        what = f"test texts that are nearly the same as one in train: {count:,} of {len(first):,}"
    if max(map(len, (train, test))) > MOST_COMPARED:
        what += f" (looked at {MOST_COMPARED:,} texts of a side at most)"
    return Finding(
        FindingKind.NEAR_DUPLICATES,
        None,
        count,
        what,
        "remove the copies, or give each set of them a value of its own in a column and keep them"
        " together: group under [split]",
    )


def _sample(texts: Collection[str], seed: int) -> list[str]:
    # Sorted, so that the sample does not hang on the order of the rows.
    ordered = sorted(texts)
    if len(ordered) <= MOST_COMPARED:
        return ordered
    chosen = np.random.default_rng(seed).choice(len(ordered), MOST_COMPARED, replace=False)
    return [ordered[place] for place in np.sort(chosen)]
