"""Means over runs and how sure they are: over seeds, over training seeds of sources, over folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from esm.common.records import Record
from esm.strategies.registry import strategy
from esm.trials.ledger import RunRow
from esm.trials.settings import ValidationConfig
from esm.trials.trial import Plan

FoldAndSeed = tuple[int | None, int]

_SOURCE_SEED_FIXED = "over transfer seeds ({varies}); the training seed of the source is fixed"
_FOLDS = (
    "over {folds} folds, each averaged over its seeds ({varies}), with the variance of the folds"
    " times 1/{folds} + test rows per training row instead of 1/{folds}, because folds share"
    " training rows (Nadeau and Bengio 2003); the training seeds of the source are the same in"
    " every fold"
)
_SOURCE_SEED_VARIED = (
    "over training seeds of the source, each averaged over its transfer seeds ({varies}), so that"
    " it holds both variances; for none over transfer seeds"
)


_SEEDS_ALONE = "over seeds ({varies}); rows and sources are the same for all"
_FOLDS_OF_ALL = (
    "over {folds} folds, each averaged over its seeds ({varies}), with the variance of the folds"
    " times 1/{folds} + test rows per training row, because folds share training rows (Nadeau and"
    " Bengio 2003)"
)


def error_sentence(plan: Plan) -> str:
    """Say which variance the standard errors hold."""
    if isinstance(plan.config, ValidationConfig):
        fixed = plan.config.source_seeds == 1
        sentence = _SOURCE_SEED_FIXED if fixed else _SOURCE_SEED_VARIED
        sentence = _FOLDS if plan.folds else sentence
    else:
        sentence = _FOLDS_OF_ALL if plan.folds else _SEEDS_ALONE
    names = plan.strategies if plan.is_comparison else plan.config.strategies
    varies = dict.fromkeys(strategy(name).seed_varies for name in names)
    return sentence.format(varies="; ".join(varies), folds=plan.folds)


def paired_gains(
    rows: Sequence[RunRow], without: Mapping[FoldAndSeed, float]
) -> list[tuple[RunRow, float]]:
    """Return each run's difference to no transfer on the same fold with the same seed."""
    return [
        (row, row.value - without[row.fold, row.seed])
        for row in rows
        if (row.fold, row.seed) in without
    ]


def mean_and_error(
    values: Sequence[tuple[RunRow, float]], overlap: float
) -> tuple[float, float | None]:
    """Return mean and standard error over runs that are independent of each other.

    Runs that share a tuned source are not, when its training seed is varied: they count as one.
    Nor are runs on one fold. Folds in turn share training rows: the variance of the mean over J
    of them is taken as theirs times 1/J + overlap.

    Args:
        values: A number per run.
        overlap: Test rows per training row of a fold; not used for a fixed split.

    Source:
        Nadeau and Bengio 2003, Inference for the Generalization Error, corrected resampled t-test.
    """
    folded = any(row.fold is not None for row, _ in values)
    source_seeds = {row.source_seed for row, _ in values}
    groups: dict[int | None, list[float]] = {}
    for row, value in values:
        group = row.seed if len(source_seeds) == 1 else row.source_seed
        groups.setdefault(row.fold if folded else group, []).append(value)
    means = [np.mean(group) for group in groups.values()]
    mean = float(np.mean([value for _, value in values]))
    if len(means) < 2:
        return mean, None
    share = 1 / len(means) + (overlap if folded else 0.0)
    return mean, float(np.std(means, ddof=1) * np.sqrt(share))


class OutOfFold(Record):
    """What it gains to choose by the ranking, judged by rows that had no part in the choice.

    For each fold, the source is taken that a ranking from this fold's training rows alone puts
    first among the measured sources; its gain is that on the fold's test rows. The ranking over
    all folds has seen every row, so the gain of its first source may flatter; this one does not.
    Only which sources were measured follows from the ranking over all folds, unless all were.

    Attributes:
        gain: Mean over the folds of the gain over ``none``, in units of the metric.
        standard_error: Of the gain.
        picks: In how many folds each source was taken.
    """

    gain: float
    standard_error: float | None
    picks: dict[str, int]


def out_of_fold(
    by_fold: Sequence[Sequence[str]],
    measured: Mapping[str, Sequence[RunRow]],
    without: Mapping[FoldAndSeed, float],
    overlap: float,
) -> OutOfFold | None:
    """Return the gain of each fold's own choice, or None before every fold has its runs.

    Args:
        by_fold: Source ids, best first, as each fold ranks them; empty for a fixed split.
        measured: Runs of the sources that have all of theirs.
        without: Values of no transfer.
        overlap: As for :func:`mean_and_error`.
    """
    picks: dict[str, int] = {}
    gains: list[tuple[RunRow, float]] = []
    for fold, order in enumerate(by_fold):
        pick = next((source for source in order if source in measured), None)
        if pick is None:
            return None
        gained = paired_gains([row for row in measured[pick] if row.fold == fold], without)
        if not gained:
            return None
        picks[pick] = picks.get(pick, 0) + 1
        gains += gained
    if not gains:
        return None
    gain, standard_error = mean_and_error(gains, overlap)
    return OutOfFold(gain=gain, standard_error=standard_error, picks=picks)
