"""What a result is made of: lines (a source, a strategy, an outside system), curves, failures."""

from __future__ import annotations

from typing import Any

from esm.common.records import Record
from esm.metrics.confusion import ClassResult
from esm.trials.ledger import Confusion
from esm.trials.settings import Arm


class Line(Record):
    """One kind of trial on one attribute, at the largest number of examples.

    Attributes:
        source: Id of the source that its encoder was tuned on before, or ``none``; of an outside
            system in a validation its name.
        outside: Whether it is an outside system of which only predictions are known.
        runs: Finished runs.
        mean: Mean of the primary metric on the test rows.
        standard_error: Of the mean; None for a single seed, or a single fold.
        gain: Mean difference to what it is measured by, with the same seed and fold, in units of
            the metric: no transfer for a source, a separate model per attribute for a joint
            strategy; None without such runs, and for these themselves.
        gain_standard_error: Of the gain.
        metrics: Means of all metrics.
        classes: Precision, recall and F1 of every class; empty for regression.
        confusion: Test rows by true and predicted class, summed over the runs, as
            :func:`~esm.metrics.confusion.confusion_matrix` counts them; None for regression.
        train: Mean of the primary metric on the training rows; None for an outside system, and in
            validations of earlier versions.
        unseen: The same on rows that were not trained on.
        unseen_rows: Which rows these are.
        gap: ``train - unseen``: large where a model has learnt its rows by heart.
        p_against_best: Adjusted p-value of the difference to the best; None for the best itself,
            and for what has not all its runs.
        is_best: Whether its mean is the highest.
        is_tied: Whether it cannot be told from the best.
    """

    source: str
    outside: bool = False
    runs: int
    mean: float
    standard_error: float | None
    gain: float | None = None
    gain_standard_error: float | None = None
    metrics: dict[str, float]
    classes: tuple[ClassResult, ...] = ()
    confusion: Confusion | None = None
    train: float | None = None
    unseen: float | None = None
    unseen_rows: str = ""
    gap: float | None = None
    p_against_best: float | None = None
    is_best: bool = False
    is_tied: bool = False

    @property
    def label(self) -> str:
        """By what it is told from the others."""
        return self.source


class ArmResult(Line):
    """One source, or outside system, on one attribute; see :class:`Line`.

    Attributes:
        arm: Why it was run; None for an outside system.
        rank: Its place in the ranking, or in the aggregate where that chose the picks; None for
            ``none``.
        predicted_gain: The ranking's prediction, nats per example; None for ``none``.
        trained_share: Share of the model's weights that were trained on the attribute.
        seconds: Mean seconds per run, without the fine-tuning of the source.
        trained_parameters: How many weights these are; None in results of earlier versions.
        stored_parameters: Numbers kept of a model beside the encoder that it started from.
        peak_memory: Bytes in use at most while training, over all runs; None where the system does
            not tell.
        remarks: What has to be known of the training to judge it.
    """

    arm: Arm | None
    rank: int | None
    predicted_gain: float | None
    trained_share: float
    seconds: float
    trained_parameters: int | None = None
    stored_parameters: int | None = None
    peak_memory: int | None = None
    remarks: tuple[str, ...] = ()


class StrategyResult(Line):
    """One strategy, or outside system, on one attribute; see :class:`Line`.

    Attributes:
        strategy: Its name.
        sources: Ids of the sources that it got beside.
        planned: How many runs were planned.
        regret: What is lost by taking it and not the best, in percent of the best's mean; None
            where the best is not above 0, and before it has all its runs.
    """

    strategy: str
    sources: tuple[str, ...] = ()
    planned: int
    regret: float | None = None

    @property
    def label(self) -> str:
        """By what it is told from the others."""
        return self.strategy


class CurvePoint(Record):
    """One strategy, from one start, on one attribute with one number of training rows.

    Attributes:
        strategy: Its name.
        source: Id of the start source of a validation's arm; empty in a comparison.
        examples: Training rows; of folds the mean, rounded.
        runs: Finished runs.
        mean: Mean of the primary metric.
        standard_error: Of the mean; None for a single seed, or a single fold.
    """

    strategy: str
    source: str = ""
    examples: int
    runs: int
    mean: float
    standard_error: float | None


class StrategyTotals(Record):
    """What a strategy costs for all attributes, at the largest number of examples.

    Means over seeds and folds; what one run of it for all attributes takes.

    Attributes:
        strategy: Its name.
        together: Whether all attributes are one training.
        trained_parameters: Numbers that are trained.
        stored_parameters: Numbers that are kept beside the base model.
        trained_share: Share of the model's weights that is trained.
        seconds: Training time.
        megabytes: Size of what is kept (10^6 bytes), without the base model.
        megabytes_per_attribute: The same per attribute.
        next_megabytes: What one more attribute would add.
        next_seconds: How long it would take: a training of its own, a further step, or everything
            again.
        peak_memory: Bytes in use at most while training; None where it is not known.
        remarks: What has to be known of the training to judge its result.
        reports: What the strategy measured of itself, by run: ``seed``, ``fold``, ``attributes``
            and its own entries.
    """

    strategy: str
    together: bool
    trained_parameters: int
    stored_parameters: int
    trained_share: float
    seconds: float
    megabytes: float
    megabytes_per_attribute: float
    next_megabytes: float
    next_seconds: float
    peak_memory: int | None
    remarks: tuple[str, ...]
    reports: tuple[dict[str, Any], ...] = ()


class Failure(Record):
    """Trials of one arm that failed for the same reason."""

    attribute: str
    arm: Arm
    source: str
    runs: int
    reason: str


class ComparisonFailure(Record):
    """Trials of a strategy that failed for the same reason."""

    strategy: str
    attributes: tuple[str, ...]
    runs: int
    reason: str
