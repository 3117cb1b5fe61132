"""The bootstrap of a ranking's examples: from folds and sources to intervals on its lines.

The interval is for the gain that fresh samples of as many examples would give on average. Each
fold's examples have shares in that fold's score, and a score is the mean over the folds: an
example's shares are therefore averaged over the folds, and it is re-weighted once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from esm.common.errors import SettingError
from esm.ranking.result import RankConfig, RankedSource
from esm.ranking.uncertainty import bootstrap_gains, centred
from esm.scorers.base import Evidence, Scorer, Source, TargetAttribute
from esm.scorers.logme import LogME
from esm.scorers.moments import Float64
from esm.scorers.predictive import contributions

# Fewer say nothing of a tail of 5 %.
FEWEST_DRAWS = 50


def check_bootstrap(config: RankConfig, scorer: Scorer) -> None:
    """Check that a ranking can be bootstrapped as its settings ask.

    Raises:
        SettingError: The scorer's score is no sum over examples, or the draws are too few.
    """
    if not config.bootstrap:
        return
    if not isinstance(scorer, LogME):
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
    if not config.bootstrap or not isinstance(scorer, LogME):
        return tuple(lines)
    strata = [_strata(fold) for fold in folds]
    shares = [np.empty((len(fold), len(sources))) for fold in folds]
    base = [contributions(scorer, Evidence(fold)) for fold in folds]
    for column, source in enumerate(sources):
        at_hand = source.passing()
        for share, fold, without in zip(shares, folds, base, strict=True):
            share[:, column] = contributions(scorer, Evidence(fold, at_hand)) - without
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
