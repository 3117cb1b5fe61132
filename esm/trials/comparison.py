"""What a comparison found: strategies on attributes, what can be told apart, what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from esm.common.errors import ValidationError
from esm.common.records import Record, parse
from esm.common.storage import read_json, write_json
from esm.pool.pool import Skipped

COMPARISON_NAME = "comparison.json"
COMPARISON_FORMAT = 1


class StrategyResult(Record):
    """One strategy, or outside system, on one attribute, at the largest number of examples.

    Attributes:
        strategy: Its name.
        source: Id of the source that its encoder was tuned on before, or ``none``.
        sources: Ids of the sources that it got beside.
        outside: Whether it is an outside system of which only predictions are known.
        runs: Finished runs, of how many planned.
        planned: How many were planned.
        mean: Mean of the primary metric on the test rows.
        standard_error: Of the mean; None for a single seed, or a single fold.
        metrics: Means of all metrics.
        train: Mean of the primary metric on the training rows; None for an outside system.
        unseen: The same on rows that were not trained on.
        unseen_rows: Which rows these are.
        gap: ``train - unseen``: large where a model has learnt its rows by heart.
        gain: Mean difference to a separate model per attribute with the same seeds and folds; None
            where that is not in the comparison, and for separate models.
        gain_standard_error: Of the gain.
        p_against_best: Adjusted p-value of the difference to the best; None for the best itself,
            and for what has not all its runs.
        is_best: Whether its mean is the highest.
        is_tied: Whether it cannot be told from the best.
    """

    strategy: str
    source: str
    sources: tuple[str, ...] = ()
    outside: bool = False
    runs: int
    planned: int
    mean: float
    standard_error: float | None
    metrics: dict[str, float]
    train: float | None = None
    unseen: float | None = None
    unseen_rows: str = ""
    gap: float | None = None
    gain: float | None = None
    gain_standard_error: float | None = None
    p_against_best: float | None = None
    is_best: bool = False
    is_tied: bool = False


class CurvePoint(Record):
    """One strategy on one attribute with one number of training rows.

    Attributes:
        strategy: Its name.
        examples: Training rows; of folds the mean, rounded.
        runs: Finished runs.
        mean: Mean of the primary metric.
        standard_error: Of the mean; None for a single seed, or a single fold.
    """

    strategy: str
    examples: int
    runs: int
    mean: float
    standard_error: float | None


class AttributeComparison(Record):
    """What was found for one attribute.

    Attributes:
        metric: Primary metric.
        num_train: Training rows at the largest size; of folds the mean, rounded.
        num_test: Test rows; of folds the mean, rounded.
        untested: Classes that no test row has.
        data_notes: Which rows were left out or read otherwise, which classes no test row has.
        strategies: In the order in which they were named, outside systems last; those without a
            finished run are absent.
        best: Name of the best; None before anything has all its runs.
        curve: Means by number of training rows; empty where there is one number only.
    """

    metric: str
    num_train: int
    num_test: int
    untested: tuple[str, ...] = ()
    data_notes: tuple[str, ...] = ()
    strategies: tuple[StrategyResult, ...]
    best: str | None
    curve: tuple[CurvePoint, ...] = ()


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


class ComparisonFailure(Record):
    """Runs of a strategy that failed for the same reason."""

    strategy: str
    attributes: tuple[str, ...]
    runs: int
    reason: str


class Comparison(Record):
    """A comparison, finished or not.

    Attributes:
        format: Version of this record.
        target: Id of the target.
        base_model: The base model.
        pool: Folder of the pool that sources were taken from; empty without any.
        strategies: Names of the strategies.
        outside: Names of the outside systems.
        settings: Settings of each strategy, with all defaults.
        seeds: Runs per strategy, or per strategy and fold.
        folds: How often the target is split; 0 for one fixed split.
        standard_error: Which variance the standard errors hold.
        test: By which test strategies were told apart; empty before the runs are finished.
        planned: Trainings of the plan.
        finished: Trainings that are done.
        failures: Trainings that failed in the last command.
        skipped: Attributes, sources and strategies that were left out.
        attributes: Results by attribute.
        totals: Costs, by strategy.
        models: Ids of the kept models of the best strategy, by attribute.
        keys: Keys of the finished runs in the ledger.
        seconds: Of all finished trainings.
    """

    format: int = COMPARISON_FORMAT
    target: str
    base_model: str
    pool: str
    strategies: tuple[str, ...]
    outside: tuple[str, ...]
    settings: dict[str, dict[str, Any]]
    seeds: int
    folds: int
    standard_error: str
    test: str
    planned: int
    finished: int
    failures: tuple[ComparisonFailure, ...]
    skipped: tuple[Skipped, ...]
    attributes: dict[str, AttributeComparison]
    totals: tuple[StrategyTotals, ...]
    models: dict[str, tuple[str, ...]]
    keys: tuple[str, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return self.model_dump(mode="json")

    def records(self) -> list[dict[str, Any]]:
        """Return one row per attribute, strategy and number of examples."""
        rows = []
        for name, found in self.attributes.items():
            for result in found.strategies:
                row = result.model_dump(mode="json", exclude={"metrics", "sources"})
                rows.append(
                    {"attribute": name, "metric": found.metric, "examples": found.num_train}
                    | row
                    | {f"test_{metric}": value for metric, value in result.metrics.items()}
                )
            rows += [
                {"attribute": name, "metric": found.metric} | point.model_dump(mode="json")
                for point in found.curve
                if point.examples != found.num_train
            ]
        return rows

    def save(self, folder: Path) -> None:
        """Write the record into the comparison's folder, readable by its owner only."""
        write_json(folder / COMPARISON_NAME, self.as_dict(), private=True)

    @classmethod
    def load(cls, folder: Path) -> Comparison:
        """Read what :meth:`save` wrote.

        Raises:
            StorageError: There is no such file, or it is not JSON.
            ValidationError: It is not the record of a comparison.
        """
        path = folder / COMPARISON_NAME
        return parse(
            cls,
            read_json(path),
            where=path,
            refusal=ValidationError,
            expected="a file written by esm compare",
            hint="run the same esm compare command again: it makes the file anew",
        )


def is_comparison(path: Path) -> bool:
    """Whether a path is the folder of a comparison."""
    return (path / COMPARISON_NAME).is_file()
