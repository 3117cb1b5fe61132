"""From finished trainings to the result of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from esm.metrics.predictions import performance
from esm.metrics.rankings import NO_TRANSFER
from esm.strategies.joint.registry import joint_strategy
from esm.tasks.faults.labels import data_notes, untested_classes
from esm.tasks.task import Target
from esm.trials.compare_plan import Cell, ComparisonPlan
from esm.trials.comparison import (
    AttributeComparison,
    Comparison,
    ComparisonFailure,
    CurvePoint,
    StrategyResult,
    StrategyTotals,
)
from esm.trials.ledger import RunRow
from esm.trials.outputs import CellRecord, CellStore
from esm.trials.outside import Outside
from esm.trials.significance import LEVEL, RESAMPLES, Judged, all_pairs, resampled_values
from esm.trials.standard_errors import mean_and_error

_TEST = (
    f"paired bootstrap of test rows and seeds, {RESAMPLES:,} resamples; Holm over all pairs of"
    f" strategies of an attribute at {LEVEL:g}"
)
_SEEDS_FIXED = "over seeds ({varies}); rows and sources are the same for all"
_FOLDS = (
    "over {folds} folds, each averaged over its seeds ({varies}), with the variance of the folds"
    " times 1/{folds} + test rows per training row, because folds share training rows (Nadeau and"
    " Bengio 2003)"
)


@dataclass(frozen=True)
class Summing:
    """What a result is made of.

    Attributes:
        plan: The plan.
        targets: The target, in all its folds.
        outside: Predictions of outside systems.
        base_model: Name of the base model.
        pool: Folder of the pool; empty without one.
        store: Results of the trainings.
    """

    plan: ComparisonPlan
    targets: Sequence[Target]
    outside: Sequence[Outside]
    base_model: str
    pool: str
    store: CellStore

    def result(
        self,
        rows: Mapping[str, RunRow],
        failed: Sequence[tuple[Cell, str]] = (),
        *,
        tested: bool = False,
    ) -> Comparison:
        """Sum up.

        Args:
            rows: Finished runs by key; others than the plan's are ignored.
            failed: Trainings that failed, with the reason.
            tested: Whether to tell strategies apart, which takes a while.
        """
        plan = self.plan
        done = {
            cell.id: self.store.record(cell)
            for cell in plan.trainings
            if all(key in rows for key in cell.rows.values())
        }
        attributes = {
            name: self._attribute(name, rows, done, tested=tested) for name in plan.attributes
        }
        own = {name: _best(found.strategies, own=True) for name, found in attributes.items()}
        kept = {
            name: tuple(cell.id for cell in self._cells(best.strategy, name))
            for name, best in own.items()
            if best is not None
        }
        varies = "; ".join(
            dict.fromkeys(joint_strategy(name).seed_varies for name in plan.strategies)
        )
        return Comparison(
            target=plan.target,
            base_model=self.base_model,
            pool=self.pool,
            strategies=plan.strategies,
            outside=tuple(one.name for one in self.outside),
            settings={
                name: dict(next(c for c in plan.cells if c.strategy == name).keys[0].transfer)
                for name in plan.strategies
            },
            seeds=plan.config.seeds,
            folds=plan.folds,
            standard_error=(_FOLDS if plan.folds else _SEEDS_FIXED).format(
                varies=varies, folds=plan.folds
            ),
            test=_TEST if tested else "",
            planned=len(plan.trainings),
            finished=len(done),
            failures=_by_strategy(failed),
            skipped=(*plan.skipped, *(skip for one in self.outside for skip in one.skipped)),
            attributes=attributes,
            totals=tuple(
                totals
                for name in plan.strategies
                if (totals := self._totals(name, done)) is not None
            ),
            models=kept,
            keys=tuple(
                key for cell in plan.trainings if cell.id in done for key in cell.rows.values()
            ),
            seconds=sum(record.seconds for record in done.values()),
        )

    def _cells(
        self, strategy: str | None, attribute: str, size: int | str | None = "largest"
    ) -> list[Cell]:
        wanted = self.plan.largest if size == "largest" else size
        return [
            cell
            for cell in self.plan.cells
            if cell.strategy == strategy and cell.size == wanted and attribute in cell.attributes
        ]

    # ------------------------------------------------------------------------------ attributes

    def _attribute(
        self,
        name: str,
        rows: Mapping[str, RunRow],
        done: Mapping[str, CellRecord],
        *,
        tested: bool,
    ) -> AttributeComparison:
        plan = self.plan
        found = {
            strategy: _rows_of(self._cells(strategy, name), name, rows)
            for strategy in plan.strategies
        }
        results = [
            self._strategy(strategy, name, mine, found, done)
            for strategy, mine in found.items()
            if mine
        ]
        results += [self._outside(one, name) for one in self.outside if name in one.outputs]
        complete = [one for one in results if one.runs == one.planned]
        best = _best(results)
        apart = self._apart(name, complete) if tested and len(complete) > 1 else {}
        return AttributeComparison(
            metric=self.targets[0].attributes[name].metric,
            num_train=plan.rows_used(name, plan.largest),
            num_test=plan.num_test[name],
            untested=untested_classes(self.targets)[name],
            data_notes=data_notes(self.targets)[name],
            strategies=tuple(_marked(one, best, apart) for one in results),
            best=None if best is None else best.strategy,
            curve=self._curve(name, rows),
        )

    def _strategy(
        self,
        strategy: str,
        name: str,
        mine: Sequence[RunRow],
        found: Mapping[str, Sequence[RunRow]],
        done: Mapping[str, CellRecord],
    ) -> StrategyResult:
        cells = self._cells(strategy, name)
        overlap = self.plan.test_to_train[name]
        mean, error = mean_and_error([(row, row.value) for row in mine], overlap)
        judged = [done[cell.id].attributes[name] for cell in cells if cell.id in done]
        separate = joint_strategy(strategy).separate
        gain, gain_error = None, None
        if separate != strategy:
            without = {(row.fold, row.seed): row.value for row in found.get(separate, ())}
            gained = [
                (row, row.value - without[row.fold, row.seed])
                for row in mine
                if (row.fold, row.seed) in without
            ]
            if gained:
                gain, gain_error = mean_and_error(gained, overlap)
        train = float(np.mean([one.train for one in judged]))
        unseen = float(np.mean([one.unseen for one in judged]))
        return StrategyResult(
            strategy=strategy,
            source=mine[0].source,
            sources=cells[0].sources,
            runs=len(mine),
            planned=len(cells),
            mean=mean,
            standard_error=error,
            metrics={
                metric: float(np.mean([row.metrics[metric] for row in mine]))
                for metric in mine[0].metrics
            },
            train=train,
            unseen=unseen,
            unseen_rows=judged[0].unseen_rows,
            gap=train - unseen,
            gain=gain,
            gain_standard_error=gain_error,
        )

    def _outside(self, one: Outside, name: str) -> StrategyResult:
        metrics = []
        for fold in self.targets:
            task = fold.attributes[name]
            metrics.append(performance(task, task.test.labels, one.outputs[name][fold.fold]))
        metric = self.targets[0].attributes[name].metric
        return StrategyResult(
            strategy=one.name,
            source=NO_TRANSFER,
            outside=True,
            runs=1,
            planned=1,
            mean=float(np.mean([found[metric] for found in metrics])),
            standard_error=None,
            metrics={key: float(np.mean([found[key] for found in metrics])) for key in metrics[0]},
        )

    def _apart(self, name: str, complete: Sequence[StrategyResult]) -> dict[frozenset[str], float]:
        columns = {}
        outside = {one.name: one for one in self.outside}
        for one in complete:
            if one.outside:
                outputs = outside[one.strategy].outputs[name]
                columns[one.strategy] = Judged({(fold, None): o for fold, o in outputs.items()})
            else:
                cells = self._cells(one.strategy, name)
                columns[one.strategy] = Judged(
                    {(cell.fold, cell.seed): self.store.outputs(cell, name) for cell in cells}
                )
        tasks = {fold.fold: fold.attributes[name] for fold in self.targets}
        return all_pairs(resampled_values(tasks, columns))

    def _curve(self, name: str, rows: Mapping[str, RunRow]) -> tuple[CurvePoint, ...]:
        sizes = self.plan.config.sizes
        if len(sizes) < 2:
            return ()
        points = []
        for strategy in self.plan.strategies:
            for size in sizes:
                mine = _rows_of(self._cells(strategy, name, size), name, rows)
                if mine:
                    mean, error = mean_and_error(
                        [(row, row.value) for row in mine], self.plan.test_to_train[name]
                    )
                    points.append(
                        CurvePoint(
                            strategy=strategy,
                            examples=self.plan.rows_used(name, size),
                            runs=len(mine),
                            mean=mean,
                            standard_error=error,
                        )
                    )
        return tuple(points)

    # ---------------------------------------------------------------------------------- totals

    def _totals(self, strategy: str, done: Mapping[str, CellRecord]) -> StrategyTotals | None:
        cells = [
            cell
            for cell in self.plan.cells
            if cell.strategy == strategy and cell.size == self.plan.largest and cell.id in done
        ]
        if not cells:
            return None
        groups: dict[tuple[int | None, int], list[Cell]] = {}
        for cell in cells:
            groups.setdefault((cell.fold, cell.seed), []).append(cell)
        covered = len({name for cell in cells for name in cell.attributes})
        whole = [g for g in groups.values() if sum(len(c.attributes) for c in g) == covered]
        how = joint_strategy(strategy)
        costs = [_cost([done[cell.id] for cell in group], covered) for group in whole]
        records = [done[cell.id] for cell in cells]
        mean = _Cost.mean(costs)
        peaks = [one.peak_memory for one in records if one.peak_memory is not None]
        next_seconds = mean.seconds / covered
        if how.together and how.retrains:
            next_seconds = mean.seconds * (covered + 1) / covered
        return StrategyTotals(
            strategy=strategy,
            together=how.together,
            trained_parameters=round(mean.trained),
            stored_parameters=round(mean.stored),
            trained_share=mean.trained / mean.total,
            seconds=mean.seconds,
            megabytes=mean.bytes / 1e6,
            megabytes_per_attribute=mean.bytes / 1e6 / covered,
            next_megabytes=mean.next_bytes / 1e6,
            next_seconds=next_seconds,
            peak_memory=max(peaks, default=None),
            remarks=tuple(dict.fromkeys(remark for one in records for remark in one.remarks)),
            reports=tuple(
                {"seed": cell.seed, "fold": cell.fold, "attributes": list(cell.attributes)}
                | done[cell.id].report
                for cell in cells
                if done[cell.id].report
            ),
        )


@dataclass(frozen=True)
class _Cost:
    """What one run of a strategy takes for all attributes."""

    trained: float
    stored: float
    total: float
    bytes: float
    next_bytes: float
    seconds: float

    @classmethod
    def mean(cls, costs: Sequence[_Cost]) -> _Cost:
        return cls(
            *(
                float(np.mean([getattr(cost, name) for cost in costs]))
                for name in ("trained", "stored", "total", "bytes", "next_bytes", "seconds")
            )
        )


def _cost(records: Sequence[CellRecord], covered: int) -> _Cost:
    """Add up trainings for one or several attributes; what they share is stored once."""
    own = [one.stored_parameters - one.shared_parameters for one in records]
    stored = max(one.shared_parameters for one in records) + sum(own)
    width = records[0].stored_bytes / max(records[0].stored_parameters, 1)
    return _Cost(
        trained=sum(one.trained_parameters for one in records),
        stored=stored,
        total=sum(one.total_parameters for one in records),
        bytes=width * stored,
        next_bytes=width * sum(own) / covered,
        seconds=sum(one.seconds for one in records),
    )


def _rows_of(cells: Sequence[Cell], name: str, rows: Mapping[str, RunRow]) -> list[RunRow]:
    keys = [cell.rows[name] for cell in cells]
    return [rows[key] for key in keys if key in rows]


def _best(results: Sequence[StrategyResult], *, own: bool = False) -> StrategyResult | None:
    """Return the first with the highest mean of those that have all their runs."""
    complete = [one for one in results if one.runs == one.planned and not (own and one.outside)]
    return max(complete, key=lambda one: one.mean, default=None)


def _marked(
    one: StrategyResult, best: StrategyResult | None, apart: Mapping[frozenset[str], float]
) -> StrategyResult:
    if best is None or one.runs != one.planned:
        return one
    if one.strategy == best.strategy:
        return one.model_copy(update={"is_best": True})
    p = apart.get(frozenset({one.strategy, best.strategy}))
    tied = p is not None and p >= LEVEL
    return one.model_copy(update={"p_against_best": p, "is_tied": tied})


def _by_strategy(failed: Sequence[tuple[Cell, str]]) -> tuple[ComparisonFailure, ...]:
    together: dict[tuple[str, tuple[str, ...], str], int] = {}
    for cell, reason in failed:
        key = (cell.strategy, cell.attributes, reason)
        together[key] = together.get(key, 0) + 1
    return tuple(
        ComparisonFailure(strategy=strategy, attributes=attributes, runs=runs, reason=reason)
        for (strategy, attributes, reason), runs in together.items()
    )
