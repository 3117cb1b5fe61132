"""The bootstrap of a ranking's examples: from folds and sources to intervals on its lines.

The interval is for the gain that fresh samples of as many examples would give on average. Each
fold's examples have shares in that fold's score, and a score is the mean over the folds: an
example's shares are therefore averaged over the folds, and it is re-weighted once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import SettingError, ShapeError
from esm.ranking.result import RankConfig, RankedSource
from esm.scorers.base import Evidence, Scorer, Source, TargetAttribute

# Fewer say nothing of a tail of 5 %.
FEWEST_DRAWS = 50


def check_bootstrap(config: RankConfig, scorer: Scorer) -> None:
    """Check that a ranking can be bootstrapped as its settings ask.

    Raises:
        SettingError: The scorer's score is no sum over examples, or the draws are too few.
    """
    if not config.bootstrap:
        return
    if not scorer.is_sum_over_rows:
        raise SettingError(
            f"--bootstrap {config.bootstrap} for scorer {scorer.name}",
            expected="logme or tuned-logme: the others are no sum over examples",
            hint="--scorer logme, or no --bootstrap",
        )
    if config.bootstrap < FEWEST_DRAWS:
        raise SettingError(
            f"--bootstrap {config.bootstrap}", expected=f"0, or at least {FEWEST_DRAWS} draws"
        )


def with_intervals(
    lines: Sequence[RankedSource],
    sources: Sequence[Source],
    folds: Sequence[TargetAttribute],
    scorer: Scorer,
    config: RankConfig,
) -> tuple[RankedSource, ...]:
    """Return the lines of an attribute's ranking, with intervals where the settings ask for them.

    Args:
        lines: The lines, best first.
        sources: The source of each line.
        folds: The attribute, in every fold.
        scorer: How the lines were scored.
        config: Settings; its seed is that of the draws.

    Cost: two decompositions per source and fold, O(n d min(n, d) + d³), and O(B n m) for the draws.
    """
    if not config.bootstrap or not scorer.is_sum_over_rows:
        return tuple(lines)
    strata = [_strata(fold) for fold in folds]
    shares = [np.empty((len(fold), len(sources))) for fold in folds]
    base = [scorer.contributions(Evidence(fold)) for fold in folds]
    for column, source in enumerate(sources):
        at_hand = source.passing()
        for share, fold, without in zip(shares, folds, base, strict=True):
            share[:, column] = scorer.contributions(Evidence(fold, at_hand)) - without
    pooled, classes = _pooled(folds, shares, strata)
    found = bootstrap_gains(
        pooled,
        np.array([line.score if line.gain is None else line.gain for line in lines]),
        draws=config.bootstrap,
        top_k=config.top_k,
        seed=config.seed,
        strata=classes,
    )
    return tuple(
        line.model_copy(
            update={
                "gain_low": float(found.low[i]),
                "gain_high": float(found.high[i]),
                "top_probability": float(found.top_probability[i]),
                "group": int(found.group[i]),
            }
        )
        for i, line in enumerate(lines)
    )


def _strata(fold: TargetAttribute) -> Float64:
    """Return (n,) classes where balance fixes what each adds to the score, else all the same."""
    if fold.weights is None:
        return np.zeros(len(fold))
    return fold.labels.astype(np.float64)


def _pooled(
    folds: Sequence[TargetAttribute], shares: Sequence[Float64], strata: Sequence[Float64]
) -> tuple[Float64, Float64]:
    """Return the shares of the N distinct examples in the mean over folds, and their strata.

    Examples of the same text and class are one: a fresh sample has both or neither. Shares are
    centred in their fold before, so that an example that a fold lacks adds nothing there.
    """
    keys = np.concatenate(
        [
            np.stack([fold.rows, stratum], axis=1)
            for fold, stratum in zip(folds, strata, strict=True)
        ]
    )
    distinct, place = np.unique(keys, axis=0, return_inverse=True)
    influence = np.concatenate(
        [
            centred(share, stratum) / (len(share) * len(folds))
            for share, stratum in zip(shares, strata, strict=True)
        ]
    )
    pooled = np.zeros((len(distinct), influence.shape[1]))
    np.add.at(pooled, place.ravel(), influence)
    return pooled * len(distinct), distinct[:, 1]


LEVEL = 0.9
_TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What a bootstrap says of m sources.

    Attributes:
        low: (m,) lower ends of the 90 % intervals of the gains.
        high: (m,) upper ends.
        top_probability: (m,) probabilities of being among the k best; they sum to min(k, m).
        group: (m,) int64, 1 for the best. Down the ranking, a source belongs to the group of the
            source before unless the 90 % interval of its difference to that group's first source
            leaves out 0: it then begins the next group. Members cannot be told from the first.
    """

    low: Float64
    high: Float64
    top_probability: Float64
    group: npt.NDArray[np.int64]


def bootstrap_gains(
    contributions: Float64,
    gains: Float64,
    *,
    draws: int,
    top_k: int = 3,
    seed: int = 0,
    strata: npt.NDArray[Any] | None = None,
) -> Uncertainty:
    """Return intervals, probabilities and groups from the examples' shares in the gains.

    Every example draws its weights once for all sources, so that differences between sources are
    paired. Weights are n times a Dirichlet(1, ..., 1) variable; as the variance within the sample
    is known from few examples only, each draw is widened to that of Student's t.

    Args:
        contributions: (n, m), what each example adds to n times each source's gain.
        gains: (m,) gains, or scores.
        draws: Number of bootstrap draws.
        top_k: k of the probability of being among the k best; ties share it.
        seed: Seed of the draws, which depend on n but on no source.
        strata: (n,) classes of the examples where each class has a fixed share in the score,
            as class balance gives it; None where there is none.

    Returns:
        One number per source, in the order given. Cost: O(draws n m), O(draws m) memory.

    Raises:
        ShapeError: Shapes do not fit, or there are fewer than two examples.

    Source:
        Rubin 1981, The Bayesian Bootstrap, Annals of Statistics 9(1).

    Example:
        >>> shares = np.random.default_rng(0).standard_normal((50, 1)) * [0.1, 5.0] + [1.0, 0.5]
        >>> found = bootstrap_gains(shares, shares.mean(axis=0), draws=200, top_k=1)
        >>> bool(np.diff(found.high - found.low)[0] > 0), float(found.top_probability.sum())
        (True, 1.0)
    """
    if contributions.ndim != 2 or gains.shape != contributions.shape[1:] or len(contributions) < 2:
        raise ShapeError(
            f"contributions of shape {contributions.shape} for gains of shape {gains.shape}",
            expected="(n, m) of at least two examples, and (m,)",
        )
    count = len(contributions)
    codes = np.zeros(count, dtype=np.int64)
    if strata is not None:
        if strata.shape != (count,):
            raise ShapeError(f"strata of shape {strata.shape}", expected=f"({count},)")
        codes = np.unique(strata, return_inverse=True)[1]
    # An average of Dirichlet weights varies by (n - 1) / (n + 1) of what a fresh sample's does.
    spread = centred(contributions, codes, unbiased=True) * np.sqrt(1 + 1 / count) / count
    generator = np.random.default_rng(seed)
    weights = count * generator.dirichlet(np.ones(count), size=draws)
    degrees = max(count - len(np.unique(codes)), 1)
    widening = np.sqrt(degrees / generator.chisquare(degrees, size=(draws, 1)))
    drawn = gains + widening * (weights @ spread)
    low, high = np.quantile(drawn, _TAILS, axis=0)
    return Uncertainty(low, high, _top_probability(drawn, top_k), _groups(drawn, gains))


def centred(contributions: Float64, strata: npt.NDArray[Any], *, unbiased: bool = False) -> Float64:
    """Return (n, m) contributions less the mean of their stratum.

    Args:
        contributions: (n, m).
        strata: (n,) stratum of each example.
        unbiased: Stretch the c examples of a stratum by sqrt(c / (c - 1)), as they are nearer to
            their own mean than to the true one. A stratum of one says nothing of its spread.
    """
    codes, counts = np.unique(strata, return_inverse=True, return_counts=True)[1:]
    means = np.zeros((len(counts), contributions.shape[1]))
    np.add.at(means, codes, contributions)
    found: Float64 = contributions - (means / counts[:, None])[codes]
    if unbiased:
        found = found * np.sqrt(counts / np.maximum(counts - 1, 1))[codes][:, None]
    return found


def _top_probability(drawn: Float64, top_k: int) -> Float64:
    """Return how often each of m sources is among the k best of (B, m) drawn gains."""
    if top_k >= drawn.shape[1]:
        return np.ones(drawn.shape[1])
    least = np.sort(drawn, axis=1)[:, -top_k, None]
    above, tied = drawn > least, drawn == least
    share = (top_k - above.sum(axis=1)) / tied.sum(axis=1)
    probability: Float64 = (above + share[:, None] * tied).mean(axis=0)
    return probability


def _groups(drawn: Float64, gains: Float64) -> npt.NDArray[np.int64]:
    """Return the group of each source, see :class:`Uncertainty`."""
    group = np.zeros(len(gains), dtype=np.int64)
    first, current = -1, 0
    for source in np.argsort(-gains, kind="stable"):
        if first >= 0:
            low, high = np.quantile(drawn[:, first] - drawn[:, source], _TAILS)
        if first < 0 or not low <= 0 <= high:
            first, current = source, current + 1
        group[source] = current
    return group
