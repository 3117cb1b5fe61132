"""From finished trials to a validation: performance per arm, gain over no transfer, regret."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from esm.metrics.rankings import DEFAULT_KS, NO_TRANSFER, measures
from esm.ranking.result import Ranking
from esm.trials.lines import ArmResult, Failure
from esm.trials.results import AttributeResult, Validation
from esm.trials.settings import Arm, ValidationConfig
from esm.trials.standard_errors import error_sentence, out_of_fold
from esm.trials.summary import Trials
from esm.trials.trial import Plan, Trial


def summarise_sources(trials: Trials, ranking: Ranking) -> Validation:
    """Sum up the finished trials of a validation.

    Args:
        trials: The trials.
        ranking: The ranking that they prove.
    """
    plan = trials.plan
    config = plan.config
    assert isinstance(config, ValidationConfig)
    finished = [trial for trial in plan.trials if trials.is_done(trial)]
    attributes = {name: _attribute(name, trials, ranking) for name in plan.attributes}
    winners = _winners(plan, attributes)
    return Validation(
        **trials.common(error_sentence(plan), "sources"),
        strategy=config.strategy,
        settings=dict(plan.trials[0].key.transfer),
        source_seeds=config.source_seeds,
        max_train=config.max_train,
        failures=_by_arm(trials.failed),
        aggregate=bool(ranking.aggregate),
        attributes=attributes,
        winners=winners,
        models={
            name: tuple(one.id for one in _largest(plan, name) if one.source == source)
            for name, source in winners.items()
        },
        seconds=sum(trials.rows[key].seconds for one in finished for key in one.rows.values()),
        source_seconds=_source_seconds(plan, finished),
    )


def _largest(plan: Plan, attribute: str) -> list[Trial]:
    return [one for one in plan.of_size(plan.largest) if one.attribute == attribute]


def _winners(plan: Plan, attributes: Mapping[str, AttributeResult]) -> dict[str, str]:
    """Return the best complete arm of each attribute; of equals ``none``, then the first run."""
    winners = {}
    for name, found in attributes.items():
        planned = Counter(one.source for one in _largest(plan, name))
        complete = [
            arm for arm in found.arms if not arm.outside and arm.runs == planned[arm.source]
        ]
        if complete:
            best = max(complete, key=lambda arm: (arm.mean, arm.source == NO_TRANSFER))
            winners[name] = best.source
    return winners


def _source_seconds(plan: Plan, finished: Sequence[Trial]) -> float:
    tuned = {(one.source, one.key.source_seed) for one in finished if one.source != NO_TRANSFER}
    return math.fsum(plan.source_seconds[source] for source, _ in tuned)


def _by_arm(failed: Sequence[tuple[Trial, str]]) -> tuple[Failure, ...]:
    counted = Counter((one.attribute, one.arm, one.source, reason) for one, reason in failed)
    return tuple(
        Failure(attribute=attribute, arm=arm or Arm.NONE, source=source, runs=runs, reason=reason)
        for (attribute, arm, source, reason), runs in counted.items()
    )


def _attribute(name: str, trials: Trials, ranking: Ranking) -> AttributeResult:
    plan = trials.plan
    ranked, places = ranking.attributes[name], ranking.places(name)
    lines = {line.source: line for line in ranked.ranking}
    planned: dict[str, list[Trial]] = {}
    for one in _largest(plan, name):
        planned.setdefault(one.source, []).append(one)
    results = {source: trials.rows_of(own, name) for source, own in planned.items()}
    without = {(row.fold, row.seed): row.value for row in results.get(NO_TRANSFER, [])}
    overlap = plan.test_to_train.get(name, 0.0)
    arms = [
        ArmResult(
            **trials.line(planned[source], name, {} if source == NO_TRANSFER else without),
            arm=planned[source][0].arm or Arm.NAMED,
            rank=places.get(source),
            predicted_gain=lines[source].gain if source in lines else None,
            trained_share=rows[0].trained_parameters / rows[0].total_parameters,
            seconds=float(np.mean([row.seconds for row in rows])),
            trained_parameters=rows[0].trained_parameters,
            stored_parameters=rows[0].stored_parameters,
            peak_memory=max((row.peak_memory for row in rows if row.peak_memory), default=None),
            remarks=tuple(dict.fromkeys(remark for row in rows for remark in row.remarks)),
        )
        for source, rows in results.items()
        if rows
    ]
    complete = [arm for arm in arms if arm.runs == len(planned[arm.source])]
    outside = [
        ArmResult(
            **trials.outside_line(one, name),
            source=one.name,
            arm=None,
            rank=None,
            predicted_gain=None,
            trained_share=0.0,
            seconds=0.0,
        )
        for one in trials.outside
        if name in one.outputs
    ]
    measured = {arm.source: arm.mean for arm in complete if arm.source != NO_TRANSFER}
    return AttributeResult(
        metric=ranked.metric,
        label_names=plan.label_names[name],
        num_train=plan.num_train[name],
        num_test=plan.num_test[name],
        untested=plan.untested.get(name, ()),
        data_notes=plan.data_notes.get(name, ()),
        arms=trials.marked([*arms, *outside], [*complete, *outside], planned, name),
        measured=tuple(sorted(measured)),
        regret=_regret(places, measured),
        out_of_fold=out_of_fold(
            ranked.by_fold, {source: results[source] for source in measured}, without, overlap
        ),
        curve=tuple(
            point
            for source in planned
            for point in trials.curve(
                {
                    size: [
                        one
                        for one in plan.of_size(size)
                        if (one.attribute, one.source) == (name, source)
                    ]
                    for size in plan.config.sizes
                },
                name,
                source,
            )
        ),
    )


def _regret(places: Mapping[str, int], measured: Mapping[str, float]) -> dict[str, float | None]:
    cutoffs = [k for k in DEFAULT_KS if k < len(measured)]
    if not cutoffs:
        return {}
    scores = {source: -place for source, place in places.items() if source in measured}
    judged = measures(scores, measured, cutoffs)
    return {f"regret@{k}": judged[f"regret@{k}"] for k in cutoffs}
