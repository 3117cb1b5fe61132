"""Score a few maps exactly, predict the others, score the best of these, and so on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esm.errors import SettingError
from esm.shortlist.index import ShortlistIndex
from esm.shortlist.surrogate import Kernel, Surrogate, choose_kernel

Numbers = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

MOST = 2000
"""Most maps of a shortlist."""

# Share of the shortlist that is scored first, rounds in which the rest is.
_FIRST = 0.3
_ROUNDS = 4

# Maps that stay in the running after the first round; the neighbours of the best join them.
_RUNNING = 20000
_BEST, _NEIGHBOURS = 32, 256


@dataclass(frozen=True, eq=False)
class Shortlist:
    """Maps that were scored exactly.

    Attributes:
        numbers: (N,) numbers of the maps in the index, ascending.
        scores: (N,), exact; nan where a map could not be scored.
        left_out: Maps that were not scored.
    """

    numbers: Numbers
    scores: Float64
    left_out: int


def find_shortlist(
    index: ShortlistIndex,
    score: Callable[[Numbers], Float64],
    limit: int,
    allowed: Numbers | None = None,
) -> Shortlist:
    """Choose up to ``limit`` maps such that those with the highest scores are among them.

    Args:
        index: Signatures.
        score: Scores maps exactly, by their numbers.
        limit: N, 1 to 2,000.
        allowed: Numbers of the maps to choose from; None for all.

    Raises:
        SettingError: The limit is out of range.
    """
    if not 1 <= limit <= MOST:
        raise SettingError(f"a shortlist of {limit}", expected=f"1 to {MOST}")
    running = np.arange(len(index)) if allowed is None else np.unique(allowed).astype(np.int64)
    total = len(running)
    if total <= limit:
        return Shortlist(running, score(running), 0)
    order = np.random.default_rng(0).permutation(total)
    seen = np.ones(len(index), dtype=bool)
    seen[running] = False
    numbers = np.sort(running[order[: max(1, round(_FIRST * limit))]])
    scores = score(numbers)
    seen[numbers] = True
    batch = -(-(limit - len(numbers)) // _ROUNDS)
    kernel: Kernel | None = None
    for turn in range(_ROUNDS):
        good = np.flatnonzero(np.isfinite(scores))
        if len(good) < 3:  # nothing to learn from: the next maps in the fixed order
            running = running[~seen[running]]
            fresh = running[: min(batch, limit - len(numbers))]
        else:
            best = good[np.argsort(-scores[good], kind="stable")]
            points = index.signatures[numbers[best]]
            if kernel is None or turn < 2:
                kernel = choose_kernel(points, scores[best])
            surrogate = Surrogate.fit(points, scores[best], kernel)
            if turn:
                near = index.near.search(points[:_BEST], min(_NEIGHBOURS, len(index)))
                running = np.union1d(running, near)
            running = running[~seen[running]]
            expected = surrogate.predict(index.signatures[running])
            running = running[np.argsort(-expected, kind="stable")][:_RUNNING]
            fresh = running[: min(batch, limit - len(numbers))]
        fresh = np.sort(fresh)
        seen[fresh] = True
        numbers, scores = np.r_[numbers, fresh], np.r_[scores, score(fresh)]
    ascending = np.argsort(numbers)
    return Shortlist(numbers[ascending], scores[ascending], total - len(numbers))
