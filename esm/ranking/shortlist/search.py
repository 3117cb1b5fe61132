"""Score a few maps exactly, predict the others, score the best of these, and so on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import SettingError
from esm.pool.bundle.index import ShortlistIndex
from esm.ranking.shortlist.surrogate import Kernel, Surrogate, choose_kernel

Numbers = npt.NDArray[np.int64]

MOST = 2000
"""Most maps of a shortlist."""

ESTIMATED = 4
"""Maps that are estimated for each that is scored exactly, where the scorer can estimate."""

# Share of the shortlist that is looked at first, at random; rounds in which the rest is.
_FIRST = 0.3
_ROUNDS = 4

# Most maps that predictions are fitted to, and share of these that are the best so far.
_POINTS = 1500
_POINTS_BEST = 0.8

# Maps that stay in the running after the first round; the neighbours of the best join them.
_RUNNING = 20000
_BEST, _NEIGHBOURS = 32, 256

Score = Callable[[Numbers], Float64]


@dataclass(frozen=True, eq=False)
class Shortlist:
    """Maps that were scored exactly.

    Attributes:
        numbers: (N,) numbers of the maps in the index, ascending.
        scores: (N,), exact; nan where a map could not be scored.
        left_out: Maps that were neither scored nor found unusable.
    """

    numbers: Numbers
    scores: Float64
    left_out: int


def find_shortlist(
    index: ShortlistIndex,
    score: Score,
    limit: int,
    allowed: Numbers | None = None,
    estimate: Score | None = None,
    usable: Callable[[int], bool] = lambda number: True,
) -> Shortlist:
    """Choose up to ``limit`` maps such that those with the highest scores are among them.

    With estimates, four times as many maps are estimated, and the best of these are scored.

    Args:
        index: Signatures.
        score: Scores maps exactly, by their numbers.
        limit: N, 1 to 2,000.
        allowed: Numbers of the maps to choose from; None for all.
        estimate: Estimates scores at a fraction of the cost, to a small part of their spread;
            None where there is no way to.
        usable: Whether a map may be on the shortlist. It is asked of the best only, and the next
            best takes the place of one that may not.

    Raises:
        SettingError: The limit is out of range.
    """
    if not 1 <= limit <= MOST:
        raise SettingError(f"a shortlist of {limit}", expected=f"1 to {MOST}")
    running = np.arange(len(index)) if allowed is None else np.unique(allowed).astype(np.int64)
    total, first = len(running), max(1, round(_FIRST * limit))
    known: dict[int, float] = {}
    if total <= limit:
        best_first = running
    elif estimate is None:
        numbers, scores = _search(index, score, running, first, limit)
        known = dict(zip(numbers.tolist(), scores.tolist(), strict=True))
        best_first = _best_first(numbers, scores)
    else:
        most = min(total, ESTIMATED * limit)
        best_first = _best_first(*_search(index, estimate, running, first, most))
    chosen: list[int] = []
    unusable = 0
    for number in best_first.tolist():
        if len(chosen) == limit:
            break
        if usable(number):
            chosen.append(number)
        else:
            unusable += 1
    numbers = np.array(sorted(chosen), dtype=np.int64)
    scores = np.array([known[one] for one in numbers.tolist()]) if known else score(numbers)
    return Shortlist(numbers, scores, total - len(numbers) - unusable)


def _best_first(numbers: Numbers, scores: Float64) -> Numbers:
    """Order maps by their scores; those without one come last."""
    known = np.where(np.isfinite(scores), scores, -np.inf)
    return numbers[np.argsort(-known, kind="stable")]


def _search(
    index: ShortlistIndex, score: Score, running: Numbers, first: int, limit: int
) -> tuple[Numbers, Float64]:
    """Score ``limit`` maps, first at random, then round by round those that are predicted best."""
    order = np.random.default_rng(0).permutation(len(running))
    seen = np.ones(len(index), dtype=bool)
    seen[running] = False
    numbers = np.sort(running[order[:first]])
    scores = score(numbers)
    seen[numbers] = True
    batch = -(-(limit - len(numbers)) // _ROUNDS)
    kernel: Kernel | None = None
    for turn in range(_ROUNDS):
        good = np.flatnonzero(np.isfinite(scores))
        running = running[~seen[running]]
        if len(good) >= 3:  # else there is nothing to learn from: the next in the fixed order
            best = good[np.argsort(-scores[good], kind="stable")]
            points = index.signatures[numbers[best[:_BEST]]]
            learned = _learned_from(best)
            known, aims = index.signatures[numbers[learned]], scores[learned]
            if kernel is None or turn < 2:
                kernel = choose_kernel(known, aims)
            if turn:
                near = index.near.search(points, min(_NEIGHBOURS, len(index)))
                running = np.union1d(running, near[~seen[near]])
            expected = Surrogate.fit(known, aims, kernel).predict(index.signatures[running])
            running = running[np.argsort(-expected, kind="stable")][:_RUNNING]
        fresh = np.sort(running[: min(batch, limit - len(numbers))])
        seen[fresh] = True
        numbers, scores = np.r_[numbers, fresh], np.r_[scores, score(fresh)]
    return numbers, scores


def _learned_from(best: Numbers) -> Numbers:
    """Return some of these, best first: the best, and of the others some of every height."""
    if len(best) <= _POINTS:
        return best
    leading = round(_POINTS_BEST * _POINTS)
    others = np.linspace(leading, len(best) - 1, _POINTS - leading).round().astype(np.int64)
    return np.concatenate([best[:leading], best[others]])
