"""From finished trials to a comparison: strategies on attributes, and what each costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from esm.metrics.rankings import NO_TRANSFER
from esm.strategies.registry import strategy
from esm.trials.lines import ComparisonFailure, StrategyResult, StrategyTotals
from esm.trials.outputs import TrialRecord
from esm.trials.results import AttributeComparison, Comparison
from esm.trials.standard_errors import error_sentence
from esm.trials.summary import Trials
from esm.trials.trial import Plan, Trial


def summarise_strategies(trials: Trials) -> Comparison:
    """Sum up the finished trials of a comparison."""
    plan = trials.plan
    done = {one.id: record for one in plan.trials if (record := trials.record(one)) is not None}
    attributes = {name: _attribute(name, trials) for name in plan.attributes}
    found = Comparison(
        **trials.common(error_sentence(plan), "strategies"),
        strategies=plan.strategies,
        settings={
            name: dict(next(one for one in plan.trials if one.strategy == name).key.transfer)
            for name in plan.strategies
        },
        failures=_by_strategy(trials.failed),
        attributes=attributes,
        totals=tuple(
            totals for name in plan.strategies if (totals := _totals(plan, name, done)) is not None
        ),
        seconds=sum(record.seconds for record in done.values()),
    )
    models = {
        name: tuple(one.id for one in _own(plan, best.strategy, name, plan.largest))
        for name in attributes
        if (best := found.best(name)) is not None
    }
    return found.model_copy(update={"models": models})


def _own(plan: Plan, label: str, attribute: str, size: int | None) -> list[Trial]:
    return [
        one for one in plan.of_size(size) if one.strategy == label and attribute in one.attributes
    ]


def _attribute(name: str, trials: Trials) -> AttributeComparison:
    plan = trials.plan
    planned = {one: _own(plan, one, name, plan.largest) for one in plan.strategies}
    planned = {one: own for one, own in planned.items() if own}
    results = [
        _strategy(label, name, planned, trials)
        for label, own in planned.items()
        if trials.rows_of(own, name)
    ]
    results += [
        StrategyResult(
            **trials.outside_line(one, name),
            strategy=one.name,
            source=NO_TRANSFER,
            planned=1,
        )
        for one in trials.outside
        if name in one.outputs
    ]
    complete = [one for one in results if one.runs == one.planned]
    best = max(complete, key=lambda one: one.mean, default=None)
    if best is not None and best.mean > 0:
        lost = {one.strategy: 100 * (best.mean - one.mean) / best.mean for one in complete}
        results = [one.model_copy(update={"regret": lost.get(one.strategy)}) for one in results]
        complete = [one for one in results if one.runs == one.planned]
    return AttributeComparison(
        metric=trials.targets[0].attributes[name].metric,
        label_names=plan.label_names[name],
        num_train=plan.num_train[name],
        num_test=plan.num_test[name],
        untested=plan.untested.get(name, ()),
        data_notes=plan.data_notes.get(name, ()),
        strategies=trials.marked(results, complete, planned, name),
        best=None if best is None else best.strategy,
        curve=tuple(
            point
            for label in plan.strategies
            for point in trials.curve(
                {size: _own(plan, label, name, size) for size in plan.config.sizes}, name
            )
        ),
    )


def _strategy(
    name: str, attribute: str, planned: Mapping[str, Sequence[Trial]], trials: Trials
) -> StrategyResult:
    separate = strategy(name).separate
    rows = trials.rows_of(planned.get(separate, ()), attribute) if separate else []
    without = {(row.fold, row.seed): row.value for row in rows}
    own = planned[name]
    return StrategyResult(
        **trials.line(own, attribute, without),
        strategy=name,
        sources=own[0].sources,
        planned=len(own),
    )


def _by_strategy(failed: Sequence[tuple[Trial, str]]) -> tuple[ComparisonFailure, ...]:
    counted = Counter((one.strategy, one.attributes, reason) for one, reason in failed)
    return tuple(
        ComparisonFailure(strategy=name, attributes=attributes, runs=runs, reason=reason)
        for (name, attributes, reason), runs in counted.items()
    )


# -------------------------------------------------------------------------------------- totals


def _totals(plan: Plan, name: str, done: Mapping[str, TrialRecord]) -> StrategyTotals | None:
    trials = [one for one in plan.of_size(plan.largest) if one.strategy == name and one.id in done]
    if not trials:
        return None
    groups: dict[tuple[int | None, int], list[Trial]] = {}
    for one in trials:
        groups.setdefault((one.fold, one.seed), []).append(one)
    covered = len({name for one in trials for name in one.attributes})
    whole = [g for g in groups.values() if sum(len(one.attributes) for one in g) == covered]
    how = strategy(name)
    mean = _Cost.mean([_cost([done[one.id] for one in group], covered) for group in whole])
    records = [done[one.id] for one in trials]
    peaks = [one.peak_memory for one in records if one.peak_memory is not None]
    next_seconds = mean.seconds / covered
    if how.together and how.retrains:
        next_seconds = mean.seconds * (covered + 1) / covered
    return StrategyTotals(
        strategy=name,
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
            {"seed": one.seed, "fold": one.fold, "attributes": list(one.attributes)}
            | done[one.id].report
            for one in trials
            if done[one.id].report
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


def _cost(records: Sequence[TrialRecord], covered: int) -> _Cost:
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
