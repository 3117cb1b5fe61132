"""What trials found: a validation of sources, or a comparison of strategies, as it is on disk.

Both are a :class:`Result`: results of lines (a source, a strategy) on attributes, and which models
are the best. Who predicts, exports or shows needs to know no more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from esm.common.errors import StorageError, ValidationError
from esm.common.records import Record, parse
from esm.common.storage import read_json, write_json
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.pool import Skipped
from esm.trials.ledger import LEDGER_NAME, Ledger
from esm.trials.lines import (
    ArmResult,
    ComparisonFailure,
    CurvePoint,
    Failure,
    Line,
    StrategyResult,
    StrategyTotals,
)
from esm.trials.standard_errors import OutOfFold
from esm.trials.trial import LeftOut

if TYPE_CHECKING:
    import pandas as pd

RESULT_NAME = "validation.json"
COMPARISON_NAME = "comparison.json"


class AttributeFound(Record, ABC):
    """What was found for one attribute.

    Attributes:
        metric: Primary metric.
        label_names: The classes, in the order of the confusion matrices; empty for regression.
        num_train: Training rows at the largest size; of folds the mean, rounded.
        num_test: Test rows; of folds the mean, rounded.
        untested: Classes that no test row has.
        data_notes: Which rows were left out or read otherwise, which classes no test row has.
        curve: Means by number of training rows; empty where there is one number only.
    """

    metric: str
    label_names: tuple[str, ...] = ()
    num_train: int
    num_test: int
    untested: tuple[str, ...] = ()
    data_notes: tuple[str, ...] = ()
    curve: tuple[CurvePoint, ...] = ()

    @property
    @abstractmethod
    def lines(self) -> tuple[Line, ...]:
        """What was tried, in the order in which it was named; what has no run is absent."""


class AttributeResult(AttributeFound):
    """What a validation found for one attribute; see :class:`AttributeFound`.

    Attributes:
        arms: Results in the order of execution; an arm without a finished run is absent.
        measured: Sources with all their runs, over which regret is taken.
        regret: Realised ``regret@k`` of the ranking over these sources, percent, for each k
            smaller than their number: a larger one is 0 by definition.
        out_of_fold: Gain of the choice by ranking on rows unseen by it; None for a fixed split,
            and before every fold has its runs.
    """

    arms: tuple[ArmResult, ...]
    measured: tuple[str, ...]
    regret: dict[str, float | None]
    out_of_fold: OutOfFold | None = None

    @property
    def lines(self) -> tuple[Line, ...]:
        """The arms."""
        return self.arms


class AttributeComparison(AttributeFound):
    """What a comparison found for one attribute; see :class:`AttributeFound`.

    Attributes:
        strategies: In the order in which they were named, outside systems last; those without a
            finished run are absent.
        best: Name of the best; None before anything has all its runs.
    """

    strategies: tuple[StrategyResult, ...]
    best: str | None

    @property
    def lines(self) -> tuple[Line, ...]:
        """The strategies."""
        return self.strategies


class Result(Record, ABC):
    """What trials found, finished or not.

    Attributes:
        format: Version of this record.
        target: Id of the target.
        pool: Folder of the pool that sources were taken from; empty without any.
        base_model: The base model.
        outside: Names of the outside systems.
        seeds: Runs of each kind, or of each kind and fold.
        folds: How often the target is split, over all repetitions; 0 for one fixed split.
        standard_error: Which variance the standard errors hold.
        test: By which test lines were told apart; empty before all is finished.
        planned: Trials of the plan.
        finished: Trials that are done.
        skipped: Attributes, sources and strategies that were left out.
        left_out: What was not run for want of time in the last command.
        models: Ids of the kept models of the best line, by attribute; empty in validations of
            earlier versions.
        keys: Keys of the finished runs in the ledger.
        seconds: Of all finished trials, without the fine-tuning of sources.
    """

    FILE: ClassVar[str]
    FORMAT: ClassVar[int]
    CHOSEN: ClassVar[str]
    """What a line is called in a sentence about the choice of the best."""

    format: int
    target: str
    pool: str
    base_model: str
    outside: tuple[str, ...] = ()
    seeds: int
    folds: int = 0
    standard_error: str
    test: str = ""
    planned: int
    finished: int
    skipped: tuple[Skipped, ...]
    left_out: tuple[LeftOut, ...] = ()
    models: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    keys: tuple[str, ...]
    seconds: float

    @property
    @abstractmethod
    def found(self) -> Mapping[str, AttributeFound]:
        """What was found, by attribute."""

    @abstractmethod
    def best(self, attribute: str) -> Line | None:
        """Return the line of which the models label new texts; None before there is one."""

    def records(self, folder: Path) -> list[dict[str, Any]]:
        """Return the result as rows for a program.

        Args:
            folder: Where it lies.
        """
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return self.model_dump(mode="json")

    def save(self, folder: Path) -> None:
        """Write the record into the run's folder, readable by its owner only."""
        write_json(folder / self.FILE, self.as_dict(), private=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote, or what an earlier version wrote.

        Raises:
            StorageError: There is none, or it is not JSON.
            ValidationError: It is not such a record, or of a later version.
        """
        path = folder / cls.FILE
        if not path.is_file():
            raise StorageError(
                f"no result of a run in {folder}",
                expected="a folder that esm validate or esm compare wrote with --out",
                hint="check the path; where the run was stopped, the same command goes on with it",
            )
        content = read_json(path)
        found = content.get("format") if isinstance(content, dict) else None
        if isinstance(found, int) and found > cls.FORMAT:
            raise ValidationError(
                f"{path} has format {found}",
                expected=f"format {cls.FORMAT} or an earlier one",
                hint="a later version of esm, or another folder",
            )
        return parse(
            cls,
            content,
            where=path,
            refusal=ValidationError,
            expected="a file written by esm validate or esm compare",
            hint="run the same command again: it makes the file anew",
        )


class Validation(Result):
    """What a validation found; see :class:`Result`.

    Attributes:
        strategy: Name of the strategy.
        settings: Its settings, with all defaults.
        source_seeds: Training seeds of the intermediate stage.
        max_train: Most training rows used per attribute; None for all.
        failures: Trials that failed in the last command, by arm.
        aggregate: Whether the picks are those of the ranking over all attributes.
        attributes: Results by attribute.
        winners: Source with the highest mean, by attribute, ``none`` where no source is better;
            only arms with all their runs count.
        source_seconds: Of fine-tuning the sources of these runs, once per training seed, as long
            as it took for the pool.
    """

    FILE: ClassVar[str] = RESULT_NAME
    FORMAT: ClassVar[int] = 3
    CHOSEN: ClassVar[str] = "arm"

    format: int = FORMAT
    strategy: str
    settings: dict[str, Any]
    source_seeds: int
    max_train: int | None
    failures: tuple[Failure, ...]
    aggregate: bool = False
    attributes: dict[str, AttributeResult]
    winners: dict[str, str]
    source_seconds: float = 0.0

    @property
    def found(self) -> Mapping[str, AttributeResult]:
        """What was found, by attribute."""
        return self.attributes

    def best(self, attribute: str) -> ArmResult | None:
        """Return the winner."""
        winner = self.winners.get(attribute)
        arms = self.attributes[attribute].arms
        return next((one for one in arms if one.source == winner and not one.outside), None)

    def records(self, folder: Path) -> list[dict[str, Any]]:
        """Return one row per run, from the ledger."""
        with Ledger(folder / LEDGER_NAME) as ledger:
            table = ledger.to_truth(self.keys)
        return [dict(zip(table.columns, row, strict=True)) for row in table.to_numpy().tolist()]


class Comparison(Result):
    """What a comparison found; see :class:`Result`.

    Attributes:
        strategies: Names of the strategies.
        settings: Settings of each strategy, with all defaults.
        failures: Trials that failed in the last command.
        attributes: Results by attribute.
        totals: Costs, by strategy.
    """

    FILE: ClassVar[str] = COMPARISON_NAME
    FORMAT: ClassVar[int] = 2
    CHOSEN: ClassVar[str] = "strategy"

    format: int = FORMAT
    strategies: tuple[str, ...]
    settings: dict[str, dict[str, Any]]
    failures: tuple[ComparisonFailure, ...]
    attributes: dict[str, AttributeComparison]
    totals: tuple[StrategyTotals, ...]

    @property
    def found(self) -> Mapping[str, AttributeComparison]:
        """What was found, by attribute."""
        return self.attributes

    def best(self, attribute: str) -> StrategyResult | None:
        """Return the best of our own strategies: of an outside system there is no model."""
        own = [
            one
            for one in self.attributes[attribute].strategies
            if one.runs == one.planned and not one.outside
        ]
        return max(own, key=lambda one: one.mean, default=None)

    def records(self, folder: Path | None = None) -> list[dict[str, Any]]:
        """Return one row per attribute, strategy and number of examples."""
        left_out = {"metrics", "sources", "classes", "confusion"}
        rows = []
        for name, found in self.attributes.items():
            for result in found.strategies:
                row = result.model_dump(mode="json", exclude=left_out)
                rows.append(
                    {"attribute": name, "metric": found.metric, "examples": found.num_train}
                    | row
                    | {f"test_{metric}": value for metric, value in result.metrics.items()}
                )
            rows += [
                {"attribute": name, "metric": found.metric}
                | point.model_dump(mode="json", exclude={"source"})
                for point in found.curve
                if point.examples != found.num_train
            ]
        return rows


def baseline(found: AttributeFound) -> Line | None:
    """Return a validation's line without a source, by which the others are measured."""
    return next((one for one in found.lines if one.label == NO_TRANSFER), None)


def load_result(folder: Path) -> Validation | Comparison:
    """Read what a validation or a comparison found.

    Raises:
        StorageError: There is none, or it is not JSON.
        ValidationError: It is no such record, or of a later version.
    """
    if (folder / COMPARISON_NAME).is_file():
        return Comparison.load(folder)
    return Validation.load(folder)


def is_run(path: Path) -> bool:
    """Whether a path is the folder of a validation or a comparison, finished or not."""
    return any((path / name).is_file() for name in (LEDGER_NAME, RESULT_NAME, COMPARISON_NAME))


def results_table(path: Path) -> pd.DataFrame | Path:
    """Return results that :func:`~esm.metrics.evaluate.evaluate_rankings` reads.

    Args:
        path: The folder of a validation, of which the runs of the last command are taken; or a
            table, which is returned as it is.
    """
    if not is_run(path):
        return path
    keys = Validation.load(path).keys if (path / RESULT_NAME).is_file() else None
    with Ledger(path / LEDGER_NAME) as ledger:
        return ledger.to_truth(keys)
