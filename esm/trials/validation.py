"""What a validation found: performance per arm, gain over no transfer, realised regret."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from esm.common.errors import StorageError, ValidationError
from esm.common.records import Record, parse
from esm.common.storage import read_json, write_json
from esm.metrics.confusion import ClassResult, class_results
from esm.metrics.rankings import DEFAULT_KS, NO_TRANSFER, measures
from esm.pool.pool import Skipped
from esm.ranking.result import AttributeRanking, Ranking
from esm.trials.ledger import Confusion, RunRow
from esm.trials.plan import LeftOut, Plan, Run
from esm.trials.settings import Arm
from esm.trials.standard_errors import (
    FoldAndSeed,
    OutOfFold,
    error_sentence,
    mean_and_error,
    out_of_fold,
    paired_gains,
)

RESULT_NAME = "validation.json"
RESULT_FORMAT = 2


class ArmResult(Record):
    """One source on one attribute.

    Attributes:
        arm: Why it was run.
        source: Id of the source task, or ``none``.
        rank: Its place in the ranking, or in the aggregate where that chose the picks; None for
            ``none``.
        predicted_gain: The ranking's prediction, nats per example; None for ``none``.
        runs: Finished runs.
        mean: Mean of the primary metric on the test rows.
        standard_error: Of the mean; None for a single seed, or a single fold.
        gain: Mean difference to ``none`` with the same seed and fold, in units of the metric; None
            without such runs, and for ``none`` itself.
        gain_standard_error: Of the gain.
        metrics: Means of all metrics.
        classes: Precision, recall and F1 of every class; empty for regression.
        confusion: Test rows by true and predicted class, summed over the runs, as
            :func:`~esm.metrics.confusion.confusion_matrix` counts them; None for regression.
        trained_share: Share of the model's weights that were trained on the attribute.
        seconds: Mean seconds per run, without the fine-tuning of the source.
        trained_parameters: How many weights these are; None in results of earlier versions.
        stored_parameters: Numbers kept of a model beside the encoder that it started from.
        peak_memory: Bytes in use at most while training, over all runs; None where the system does
            not tell.
        remarks: What has to be known of the training to judge it.
    """

    arm: Arm
    source: str
    rank: int | None
    predicted_gain: float | None
    runs: int
    mean: float
    standard_error: float | None
    gain: float | None
    gain_standard_error: float | None
    metrics: dict[str, float]
    classes: tuple[ClassResult, ...] = ()
    confusion: Confusion | None = None
    trained_share: float
    seconds: float
    trained_parameters: int | None = None
    stored_parameters: int | None = None
    peak_memory: int | None = None
    remarks: tuple[str, ...] = ()


class AttributeResult(Record):
    """What was found for one attribute.

    Attributes:
        metric: Primary metric.
        label_names: The classes, in the order of the confusion matrices; empty for regression.
        num_train: Training rows used; of folds the mean, rounded.
        num_test: Test rows; of folds the mean, rounded.
        untested: Classes that no test row has.
        data_notes: Which rows were left out or read otherwise, which classes no test row has.
        arms: Results in the order of execution; an arm without a finished run is absent.
        measured: Sources with all their runs, over which regret is taken.
        regret: Realised ``regret@k`` of the ranking over these sources, percent, for each k
            smaller than their number: a larger one is 0 by definition.
        out_of_fold: Gain of the choice by ranking on rows unseen by it; None for a fixed split,
            and before every fold has its runs.
    """

    metric: str
    label_names: tuple[str, ...] = ()
    num_train: int
    num_test: int
    untested: tuple[str, ...] = ()
    data_notes: tuple[str, ...] = ()
    arms: tuple[ArmResult, ...]
    measured: tuple[str, ...]
    regret: dict[str, float | None]
    out_of_fold: OutOfFold | None = None


class Failure(Record):
    """Runs of one arm that failed for the same reason."""

    attribute: str
    arm: Arm
    source: str
    runs: int
    reason: str


class Validation(Record):
    """A validation, finished or not.

    Attributes:
        format: Version of this record.
        target: Id of the target.
        pool: Folder of the pool that the sources were taken from.
        base_model: Its base model.
        strategy: Name of the strategy.
        settings: Its settings, with all defaults.
        seeds: Runs per arm, or per arm and fold.
        folds: How often the target is split, over all repetitions; 0 for one fixed split.
        source_seeds: Training seeds of the intermediate stage.
        max_train: Most training rows used per attribute; None for all.
        standard_error: Which variance the standard errors hold.
        planned: Runs of the plan.
        finished: Runs that are in the ledger.
        failures: Runs that failed in the last command, by arm.
        skipped: Attributes and sources of the ranking that were left out.
        left_out: What was not run for want of time in the last command.
        aggregate: Whether the picks are those of the ranking over all attributes.
        attributes: Results by attribute.
        winners: Source with the highest mean, by attribute, ``none`` where no source is better;
            only arms with all their runs count.
        seconds: Of all finished runs, without the fine-tuning of sources.
        source_seconds: Of fine-tuning the sources of these runs, once per training seed, as long
            as it took for the pool.
        keys: Keys of the finished runs in the ledger.
    """

    format: int = RESULT_FORMAT
    target: str
    pool: str
    base_model: str
    strategy: str
    settings: dict[str, Any]
    seeds: int
    folds: int = 0
    source_seeds: int
    max_train: int | None
    standard_error: str
    planned: int
    finished: int
    failures: tuple[Failure, ...]
    skipped: tuple[Skipped, ...]
    left_out: tuple[LeftOut, ...] = ()
    aggregate: bool = False
    attributes: dict[str, AttributeResult]
    winners: dict[str, str]
    seconds: float
    source_seconds: float = 0.0  # absent in results of earlier versions
    keys: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return self.model_dump(mode="json")

    def save(self, folder: Path) -> None:
        """Write the record into the validation's folder, readable by its owner only."""
        write_json(folder / RESULT_NAME, self.as_dict(), private=True)

    @classmethod
    def load(cls, folder: Path) -> Validation:
        """Read what :meth:`save` wrote.

        Raises:
            StorageError: There is none, or it is not JSON.
            ValidationError: It is not the record of a validation.
        """
        path = folder / RESULT_NAME
        if not path.is_file():
            raise StorageError(
                f"no result of a run in {folder}",
                expected="a folder that esm validate or esm compare wrote with --out",
                hint="check the path; where the run was stopped, the same command goes on with it",
            )
        return parse(
            cls,
            read_json(path),
            where=path,
            refusal=ValidationError,
            expected="a file written by esm validate",
            hint="run the same esm validate command again: it makes the file anew",
        )


def summarise(
    plan: Plan,
    ranking: Ranking,
    rows: Mapping[str, RunRow],
    failed: Sequence[tuple[Run, str]] = (),
) -> Validation:
    """Sum up the finished runs of a plan.

    Args:
        plan: The plan.
        ranking: The ranking it proves.
        rows: Finished runs by key; others than the plan's are ignored.
        failed: Runs that failed, with the reason.
    """
    config = plan.config
    finished = [key for run in plan.runs if (key := run.key.content_hash()) in rows]
    attributes = {name: _attribute(name, plan, ranking, rows) for name in plan.num_train}
    return Validation(
        target=plan.target,
        pool=plan.pool,
        base_model=plan.base_model,
        strategy=config.strategy,
        settings=dict(plan.runs[0].key.transfer),
        seeds=config.seeds,
        folds=plan.folds,
        source_seeds=config.source_seeds,
        max_train=config.max_train,
        standard_error=error_sentence(plan),
        planned=len(plan.runs),
        finished=len(finished),
        failures=_by_arm(failed),
        skipped=plan.skipped,
        left_out=plan.left_out,
        aggregate=bool(ranking.aggregate),
        attributes=attributes,
        winners=_winners(plan, attributes),
        seconds=sum(rows[key].seconds for key in finished),
        source_seconds=_source_seconds(plan, finished),
        keys=tuple(finished),
    )


def _winners(plan: Plan, attributes: Mapping[str, AttributeResult]) -> dict[str, str]:
    """Return the best complete arm of each attribute; of equals ``none``, then the first run."""
    planned = Counter((run.attribute, run.source) for run in plan.runs)
    winners = {}
    for name, found in attributes.items():
        complete = [arm for arm in found.arms if arm.runs == planned[name, arm.source]]
        if complete:
            best = max(complete, key=lambda arm: (arm.mean, arm.source == NO_TRANSFER))
            winners[name] = best.source
    return winners


def _source_seconds(plan: Plan, finished: Collection[str]) -> float:
    tuned = {
        (run.source, run.key.source_seed)
        for run in plan.runs
        if run.source != NO_TRANSFER and run.key.content_hash() in finished
    }
    return math.fsum(plan.source_seconds[source] for source, _ in tuned)


def _by_arm(failed: Sequence[tuple[Run, str]]) -> tuple[Failure, ...]:
    together: dict[tuple[str, Arm, str, str], int] = {}
    for run, reason in failed:
        arm = (run.attribute, run.arm, run.source, reason)
        together[arm] = together.get(arm, 0) + 1
    return tuple(
        Failure(attribute=attribute, arm=arm, source=source, runs=runs, reason=reason)
        for (attribute, arm, source, reason), runs in together.items()
    )


def _attribute(
    name: str, plan: Plan, ranking: Ranking, rows: Mapping[str, RunRow]
) -> AttributeResult:
    ranked, places = ranking.attributes[name], ranking.places(name)
    runs: dict[str, list[Run]] = {}
    for run in plan.runs:
        if run.attribute == name:
            runs.setdefault(run.source, []).append(run)
    results = {
        source: [row for run in planned if (row := rows.get(run.key.content_hash()))]
        for source, planned in runs.items()
    }
    without = {(row.fold, row.seed): row.value for row in results.get(NO_TRANSFER, [])}
    overlap = plan.test_to_train.get(name, 0.0)
    arms = [
        _arm(runs[source][0].arm, ranked, places, found, without, overlap, plan.label_names[name])
        for source, found in results.items()
        if found
    ]
    measured = {
        arm.source: arm.mean
        for arm in arms
        if arm.source != NO_TRANSFER and arm.runs == len(runs[arm.source])
    }
    return AttributeResult(
        metric=ranked.metric,
        label_names=plan.label_names[name],
        num_train=plan.num_train[name],
        num_test=plan.num_test[name],
        untested=plan.untested.get(name, ()),
        data_notes=plan.data_notes.get(name, ()),
        arms=tuple(arms),
        measured=tuple(sorted(measured)),
        regret=_regret(places, measured),
        out_of_fold=out_of_fold(
            ranked.by_fold, {source: results[source] for source in measured}, without, overlap
        ),
    )


def _arm(
    arm: Arm,
    ranked: AttributeRanking,
    places: Mapping[str, int],
    rows: list[RunRow],
    without: Mapping[FoldAndSeed, float],
    overlap: float,
    names: Sequence[str],
) -> ArmResult:
    line = next((line for line in ranked.ranking if line.source == rows[0].source), None)
    mean, standard_error = mean_and_error([(row, row.value) for row in rows], overlap)
    gain, gain_error = None, None
    paired = paired_gains(rows, without)
    if arm is not Arm.NONE and paired:
        gain, gain_error = mean_and_error(paired, overlap)
    counted = [row.confusion for row in rows if row.confusion is not None]
    return ArmResult(
        arm=arm,
        source=rows[0].source,
        rank=places.get(rows[0].source),
        predicted_gain=None if line is None else line.gain,
        runs=len(rows),
        mean=mean,
        standard_error=standard_error,
        gain=gain,
        gain_standard_error=gain_error,
        metrics={
            name: float(np.mean([row.metrics[name] for row in rows])) for name in rows[0].metrics
        },
        classes=class_results(counted, names) if counted else (),
        confusion=np.sum(counted, axis=0).tolist() if counted else None,
        trained_share=rows[0].trained_parameters / rows[0].total_parameters,
        seconds=float(np.mean([row.seconds for row in rows])),
        trained_parameters=rows[0].trained_parameters,
        stored_parameters=rows[0].stored_parameters,
        peak_memory=max((row.peak_memory for row in rows if row.peak_memory), default=None),
        remarks=tuple(dict.fromkeys(remark for row in rows for remark in row.remarks)),
    )


def _regret(places: Mapping[str, int], measured: Mapping[str, float]) -> dict[str, float | None]:
    cutoffs = [k for k in DEFAULT_KS if k < len(measured)]
    if not cutoffs:
        return {}
    scores = {source: -place for source, place in places.items() if source in measured}
    judged = measures(scores, measured, cutoffs)
    return {f"regret@{k}": judged[f"regret@{k}"] for k in cutoffs}
