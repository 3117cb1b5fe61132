"""A target's texts as the numbers that a pool keeps of texts: which of them a source holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from esm.pool.fingerprints import (
    Fingerprint,
    FingerprintKey,
    Numbers,
    is_informative,
)
from esm.tasks.identity import fingerprint_form, unsalted_numbers
from esm.tasks.task import SplitName, Target

Places = npt.NDArray[np.int64]
Found = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class AttributeTexts:
    """Which of a target's texts are an attribute's, as places in the list of all of them.

    Attributes:
        all: Distinct informative texts (see :mod:`esm.pool.fingerprints`), of all splits.
        tests: Those among them that test rows have.
        unseen: Test texts, long or short, that no training row of the target has in the same
            fold, under any attribute: who knows them has seen what should not be seen.
    """

    all: Places
    tests: Places
    unseen: Places


@dataclass(frozen=True, eq=False)
class AttributeNumbers:
    """A target's distinct texts under one way of numbering them.

    Attributes:
        numbers: (u,) of all distinct texts.
        attributes: Which of them each attribute has.
    """

    numbers: Numbers
    attributes: Mapping[str, AttributeTexts]

    @classmethod
    def of(
        cls,
        targets: Sequence[Target],
        form: Callable[[str], str],
        number: Callable[[Sequence[str]], Numbers],
    ) -> AttributeNumbers:
        """Number a target's texts.

        Args:
            targets: The target, in all its folds.
            form: Gives what two copies of a text have in common.
            number: Gives the numbers of such forms.
        """
        place: dict[str, int] = {}
        folds = [_places(target, form, place) for target in targets]
        tells = is_informative([fingerprint_form(text) for text in place])
        return cls(
            number(list(place)),
            {
                name: _texts_of(name, folds, tells)
                for name in dict.fromkeys(name for fold in folds for name in fold)
            },
        )


_Fold = Mapping[str, Mapping[SplitName, set[int]]]


def _places(target: Target, form: Callable[[str], str], place: dict[str, int]) -> _Fold:
    """Return where the texts of each attribute and split stand, adding those that are new."""
    known: dict[str, int] = {}

    def where(text: str) -> int:
        if text not in known:
            known[text] = place.setdefault(form(text), len(place))
        return known[text]

    return {
        name: {
            split: {where(text) for text in (*rows.texts, *(rows.pairs or ()))}
            for split, rows in task.splits.items()
        }
        for name, task in target.attributes.items()
    }


def _texts_of(name: str, folds: Sequence[_Fold], tells: Found) -> AttributeTexts:
    every: set[int] = set()
    tests: set[int] = set()
    unseen: set[int] = set()
    for fold in folds:
        tested = fold[name].get(SplitName.TEST, set())
        every |= set().union(*fold[name].values())
        tests |= tested
        unseen |= tested.difference(*(splits[SplitName.TRAIN] for splits in fold.values()))
    telling_places = set(np.flatnonzero(tells))
    return AttributeTexts(
        _sorted(every & telling_places), _sorted(tests & telling_places), _sorted(unseen)
    )


def _sorted(places: set[int]) -> Places:
    return np.array(sorted(places), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Matches:
    """Which of a target's texts a source holds, as places in the list of all of them.

    Attributes:
        trained: Ascending, texts that the source's training rows have.
        others: Ascending, texts that its validation and test rows alone have.
        total: Distinct texts of the target.
        texts: Which texts each attribute has.
    """

    trained: Places
    others: Places
    total: int
    texts: Mapping[str, AttributeTexts]

    @property
    def share(self) -> float:
        """Share of all the target's texts that any row of the source has."""
        return (len(self.trained) + len(self.others)) / max(self.total, 1)

    def seen_tests(self, attribute: str) -> int:
        """How many test texts the source was trained on which the target itself keeps apart."""
        return common(self.texts[attribute].unseen, self.trained)


def common(first: Places, second: Places) -> int:
    """Return how many places two lists of distinct ones have in common."""
    return len(np.intersect1d(first, second, assume_unique=True))


class TargetNumbers:
    """A target's texts, numbered as fingerprints ask for it.

    Cost: 40 µs per distinct text, once, when the first salted fingerprint comes.

    Args:
        targets: The target; all of its folds, where it is split into folds.
        key: The pool's key; None where it has none.
    """

    def __init__(self, targets: Sequence[Target], key: FingerprintKey | None) -> None:
        self._targets, self._key = targets, key

    @cached_property
    def _salted(self) -> AttributeNumbers:
        assert self._key is not None, "salted fingerprints are not read without a key"
        return AttributeNumbers.of(self._targets, fingerprint_form, self._key.numbers)

    @cached_property
    def _unsalted(self) -> AttributeNumbers:
        return AttributeNumbers.of(self._targets, str, unsalted_numbers)

    def matches(self, fingerprint: Fingerprint) -> Matches:
        """Look a source's numbers up; cost: O(u log t)."""
        mine = self._salted if fingerprint.salted else self._unsalted
        trained = np.isin(mine.numbers, fingerprint.train)
        others = np.isin(mine.numbers, fingerprint.other) & ~trained
        return Matches(
            np.flatnonzero(trained), np.flatnonzero(others), len(mine.numbers), mine.attributes
        )
