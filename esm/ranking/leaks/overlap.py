"""How much of a target a source holds: a leak must not be sold as transfer.

Two shares, both of the target's texts:

* **exact**: of its distinct texts, and of its test texts, those that the source's training rows
  hold too, by the numbers that the pool keeps (:mod:`esm.pool.fingerprints`). Nothing is embedded,
  so test rows are always looked at. Texts of one to three words do not count: "thank you" is
  everywhere.
* **near**: of its texts that were embedded, how many have a near copy in the source, estimated
  from the source's sketches. With h of m sketched rows that have a near copy among n texts of the
  target, and N rows that the sample was drawn from, the share is h N / (m n), at most 1. A near
  copy is one at a cosine of about 0.9 or more (centred embeddings). Exact copies are among them.

Near copies are counted from three on. They are found by what texts mean to the base model, so a
small change of words may hide one: of 120 headlines of CoAID whose last word was replaced by an
address, 0.35 kept a cosine of 0.9 with the packaged encoder, and 0.32 were found by their sketches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from esm.common.neighbours import nearest_codes
from esm.common.records import Record
from esm.pool.fingerprints import (
    SKETCH_BITS,
    Fingerprint,
    FingerprintKey,
    Sketches,
    informative_rows,
)
from esm.pool.pool import PoolEntry
from esm.ranking.leaks.copies import Matches, common
from esm.ranking.leaks.derived import DerivedSources

Near = tuple[float | None, float | None]
"""Estimated shares of near copies among training and among test texts; None where not known."""

NEAR_COSINE = 0.9

# Two vectors at an angle θ differ in a share θ / π of their signs.
_MOST_BITS = math.floor(SKETCH_BITS * math.acos(NEAR_COSINE) / math.pi)
# Fewer near copies are chance, and as many exact ones are worth a warning.
_FEWEST = 3
_NOTABLE_SHARE = 0.01
_MOST_NAMED = 5


class Overlap(Record):
    """What a source shares with one attribute of a target.

    Attributes:
        texts: Share of the target's distinct texts that the source's training rows hold.
        tests: Share of its distinct test texts; None without test rows.
        num_texts: How many texts that are.
        num_tests: How many test texts.
        other: Share of the target's texts that the source's validation and test rows alone hold.
        near: Estimated share of the target's training texts that have a near copy in the source;
            None where it was not looked at.
        near_tests: The same for its test texts.
        flagged: Whether it is enough to be told: three texts or 1 % of them, of all or of the test
            texts, or near copies.
    """

    texts: float
    tests: float | None
    num_texts: int
    num_tests: int
    other: float
    near: float | None = None
    near_tests: float | None = None
    flagged: bool = False

    @property
    def largest(self) -> float:
        """The largest of the shares that the source's training could have leaked."""
        shares = (self.texts, self.tests, self.near, self.near_tests)
        return max(share for share in shares if share is not None)


@dataclass(frozen=True, eq=False)
class TargetSketches:
    """Sketches of a target's texts, against which those of sources are held.

    Attributes:
        is_pair: Whether the target's rows are pairs; only sources of the same kind compare.
        train: (n, 32) of distinct training texts.
        test: (t, 32) of distinct test texts; None where they were not embedded.
    """

    is_pair: bool
    train: Sketches
    test: Sketches | None = None

    def shares(self, fingerprint: Fingerprint, is_pair: bool) -> Near:
        """Return the estimated shares of training and of test texts; None where not known."""
        if is_pair != self.is_pair or not len(fingerprint.sketches):
            return None, None
        test = None if self.test is None else near_share(fingerprint, self.test)
        return near_share(fingerprint, self.train), test


class Overlaps:
    """What each source of a pool shares with a target, and which sources that rules out.

    Args:
        siblings: Knows the sources' texts, and refuses siblings that saw test texts.
        sketches: Gives the target's sketches, when first asked for; None looks for exact copies
            only.
        most: Largest share of the target's texts, or of its test texts, that a source may hold,
            exactly or nearly; None leaves none out. Sources made of the target may hold any.
    """

    def __init__(
        self,
        siblings: DerivedSources,
        sketches: Callable[[], TargetSketches] | None = None,
        most: float | None = None,
    ) -> None:
        self.siblings = siblings
        self._make, self._most = sketches, most
        self._near: dict[str, Near] = {}

    def of(self, entry: PoolEntry, attribute: str) -> Overlap | None:
        """Return what a source shares with an attribute; None where that is not known."""
        matches = self.siblings.matches(entry)
        if matches is None:
            return None
        if self.siblings.includes(entry):
            return overlap_of(matches, attribute).model_copy(update={"flagged": False})
        return overlap_of(matches, attribute, self._near_of(entry))

    def refusal(self, entry: PoolEntry, attribute: str) -> str | None:
        """Return why a source must not be used for an attribute; None where it may be."""
        if reason := self.siblings.refusal(entry, attribute):
            return reason
        overlap = None if self._most is None else self.of(entry, attribute)
        if overlap is None or self._most is None or self.siblings.includes(entry):
            return None
        if overlap.largest <= self._most:
            return None
        held = overlap_in_words(overlap)
        return f"it holds {held}: more than --exclude-overlap {self._most:g} allows"

    def count_unknown(self, entries: Sequence[PoolEntry]) -> int:
        """Return of how many sources that were trained here it is not known what they hold."""
        return sum(
            entry.record.published is None and self.siblings.matches(entry) is None
            for entry in entries
        )

    def _near_of(self, entry: PoolEntry) -> Near:
        if entry.id not in self._near:
            self._near[entry.id] = self._look_near(entry)
        return self._near[entry.id]

    def _look_near(self, entry: PoolEntry) -> Near:
        fingerprint = None if self._make is None else entry.load_fingerprint(self.siblings.key)
        if fingerprint is None or not len(fingerprint.sketches) or self._sketches is None:
            return None, None
        return self._sketches.shares(fingerprint, entry.record.is_pair)

    @cached_property
    def _sketches(self) -> TargetSketches | None:
        return None if self._make is None else self._make()


def sketch_rows(
    key: FingerprintKey,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    embeddings: npt.NDArray[np.float32],
) -> Sketches:
    """Return the sketches of the distinct rows that tell.

    Args:
        key: The pool's key.
        texts: n texts of the target.
        pairs: Their n second texts, for a pair task.
        embeddings: (n, d) base embeddings of the rows.
    """
    return key.sketches(embeddings[list(informative_rows(texts, pairs).values())])


def near_share(fingerprint: Fingerprint, sketches: Sketches) -> float:
    """Return the estimated share of some texts that have a near copy in a source.

    Cost: O(m n), a millisecond for 512 sketched rows and 1,000 texts.

    Args:
        fingerprint: The source's.
        sketches: (n, 32) of the texts.
    """
    if not len(sketches):
        return 0.0
    near = int((nearest_codes(fingerprint.sketches, sketches) <= _MOST_BITS).sum())
    if near < _FEWEST:
        return 0.0
    copied = near * fingerprint.population / len(fingerprint.sketches)
    return min(1.0, copied / len(sketches))


def overlap_of(matches: Matches, attribute: str, near: Near = (None, None)) -> Overlap:
    """Sum up what a source shares with an attribute.

    Args:
        matches: Which of the target's texts it holds.
        attribute: The attribute.
        near: Shares of near copies, see :meth:`TargetSketches.shares`.
    """
    texts = matches.texts[attribute]
    num_texts = common(texts.all, matches.trained)
    num_tests = common(texts.tests, matches.trained)
    shared = num_texts / max(len(texts.all), 1)
    tests = num_tests / len(texts.tests) if len(texts.tests) else None
    other = common(texts.all, matches.others) / max(len(texts.all), 1)
    return Overlap(
        texts=shared,
        tests=tests,
        num_texts=num_texts,
        num_tests=num_tests,
        other=other,
        near=near[0],
        near_tests=near[1],
        flagged=num_texts >= _FEWEST
        or max(shared, tests or 0.0) >= _NOTABLE_SHARE
        or any(share for share in near),
    )


def overlap_warnings(
    overlaps: Mapping[str, Mapping[str, Overlap | None]], count_unknown: int
) -> tuple[str, ...]:
    """Return what there is to say of sources that hold texts of the target, a sentence each.

    Args:
        overlaps: By attribute and ranked source, what they share.
        count_unknown: Sources of which it is not known.
    """
    worst: dict[str, Overlap] = {}
    for lines in overlaps.values():
        for source, overlap in lines.items():
            if overlap is not None and overlap.flagged:
                known = worst.get(source)
                worst[source] = max(known or overlap, overlap, key=lambda one: one.largest)
    return (*_about_flagged(worst), *_about_of_unknown(count_unknown))


def _about_flagged(worst: Mapping[str, Overlap]) -> list[str]:
    if not worst:
        return []
    order = sorted(worst, key=lambda source: (-worst[source].largest, source))
    named = [f"{source} ({overlap_in_words(worst[source])})" for source in order[:_MOST_NAMED]]
    if len(order) > _MOST_NAMED:
        named.append(f"{len(order) - _MOST_NAMED} more")
    holds = "1 source holds" if len(order) == 1 else f"{len(order)} sources hold"
    return [
        f"{holds} texts of the target: {', '.join(named)}. What such a source gains may be memory"
        " and not transfer; --exclude-overlap 0.01 leaves out those above 1 %"
    ]


def _about_of_unknown(count_unknown: int) -> list[str]:
    if not count_unknown:
        return []
    return [
        f"of {count_unknown} sources the pool does not keep which texts they have, so whether they"
        " hold texts of the target is not known; esm train with the same tasks and settings adds"
        " that without training again"
    ]


def overlap_in_words(overlap: Overlap) -> str:
    """Return what a source shares, for a sentence.

    Example:
        >>> said(Overlap(texts=0.052, tests=0.041, num_texts=52, num_tests=8, other=0.0))
        '5.2 % of its texts, 4.1 % of its test texts'
    """
    parts = [f"{percent(overlap.texts)} of its texts"]
    if overlap.tests is not None:
        parts.append(f"{percent(overlap.tests)} of its test texts")
    if overlap.near:
        parts.append(f"about {percent(overlap.near)} nearly")
    if overlap.near_tests:
        parts.append(f"about {percent(overlap.near_tests)} of the test texts nearly")
    return ", ".join(parts)


def percent(share: float) -> str:
    """Format a share: two digits that tell.

    Example:
        >>> percent(0.0412), percent(0.274), percent(0.00031), percent(0.0), percent(1.0)
        ('4.1 %', '27 %', '0.03 %', '0 %', '100 %')
    """
    points = 100 * share
    if points == 0:
        return "0 %"
    digits = 0 if points >= 10 else 1 if points >= 1 else 2
    return f"{points:.{digits}f} %"
