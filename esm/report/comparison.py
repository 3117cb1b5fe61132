"""From a comparison to the tables that show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esm.report.numbers import MISSING, duration, megabytes, number, plus_minus, points, size
from esm.report.table import Table, skipped_notes, untested_note
from esm.report.validation import cost_notes, left_out_notes

if TYPE_CHECKING:
    from esm.trials.costs import Estimate
    from esm.trials.lines import StrategyResult, StrategyTotals
    from esm.trials.results import AttributeComparison, AttributeFound, Comparison
    from esm.trials.trial import Plan

_BEST, _TIED = "*", "~"
_NAMES = frozenset({"attribute", "strategy", "source", "attributes", "task"})


def comparison_tables(found: Comparison) -> list[Table]:
    """Return attributes x strategies, details per attribute, costs, and what was measured else."""
    return [
        _overview(found),
        *(_details(name, one) for name, one in found.attributes.items()),
        *(curve_table(name, one) for name, one in found.attributes.items() if one.curve),
        _totals(found),
        *_reports(found.totals),
        Table("", (), (), _notes(found)),
    ]


def _overview(found: Comparison) -> Table:
    columns = list(dict.fromkeys((*found.strategies, *found.outside)))
    rows = []
    for name, one in found.attributes.items():
        by_name = {result.strategy: result for result in one.strategies}
        cells = [_marked(by_name.get(column)) for column in columns]
        rows.append((name, str(one.num_train), one.metric, *cells))
    notes = [
        f"{_BEST} best, {_TIED} cannot be told from the best; mean ± standard error, in points",
        *(
            said
            for name, one in found.attributes.items()
            for said in untested_note(name, one.untested)
        ),
    ]
    return Table(
        f"{found.target}: strategies compared",
        ("attribute", "rows", "metric", *columns),
        rows,
        notes,
        _NAMES | {"metric"},
        frozenset({"rows"}),
    )


def _marked(result: StrategyResult | None) -> str:
    """Return mean and error with the mark of the best behind it, room left where there is none."""
    if result is None:
        return MISSING
    mark = _BEST if result.is_best else _TIED if result.is_tied else " "
    part = "" if result.runs == result.planned else f" ({result.runs}/{result.planned})"
    return f"{plus_minus(result.mean, result.standard_error)}{part} {mark}"


def _details(name: str, one: AttributeComparison) -> Table:
    rows = [
        (
            result.strategy + (" (outside)" if result.outside else ""),
            ", ".join(result.sources) or result.source,
            str(result.runs),
            _marked(result),
            points(result.train),
            points(result.unseen),
            points(result.gap, sign=True),
            plus_minus(result.gain, result.gain_standard_error, sign=True),
            number(result.regret, 1),
            number(result.p_against_best, 4),
        )
        for result in one.strategies
    ]
    origins = dict.fromkeys(result.unseen_rows for result in one.strategies if result.unseen_rows)
    notes = [f"unseen (--wide): {' or '.join(origins)}; gap: train - unseen"] if origins else []
    notes = [*notes, *one.data_notes]
    title = f"{name}: {one.num_train} training rows, {one.num_test} test rows"
    columns = (
        "strategy",
        "source",
        "runs",
        one.metric,
        "train",
        "unseen",
        "gap",
        "gain",
        "regret",
        "p",
    )
    further = frozenset({"runs", "train", "unseen", "gap", "regret"})
    return Table(title, columns, rows, notes, _NAMES, further, keys=2)


def curve_table(name: str, one: AttributeFound) -> Table:
    """Return the means of every strategy, or source, by number of training rows."""
    sizes = sorted({point.examples for point in one.curve})
    points = {(point.source or point.strategy, point.examples): point for point in one.curve}
    rows = []
    for label in dict.fromkeys(label for label, _ in points):
        cells = [points.get((label, count)) for count in sizes]
        rows.append(
            (
                label,
                *(MISSING if p is None else plus_minus(p.mean, p.standard_error) for p in cells),
            )
        )
    what = "source" if any(point.source for point in one.curve) else "strategy"
    title = f"{name}: {one.metric} by training rows"
    return Table(title, (what, *map(str, sizes)), rows, left=_NAMES)


def _totals(found: Comparison) -> Table:
    count = len(found.attributes)
    rows = [
        (
            total.strategy,
            f"{total.trained_parameters:,}",
            points(total.trained_share),
            f"{total.stored_parameters:,}",
            megabytes(total.megabytes_per_attribute),
            duration(total.seconds),
            MISSING if total.peak_memory is None else size(total.peak_memory),
            megabytes(total.next_megabytes),
            duration(total.next_seconds),
        )
        for total in found.totals
    ]
    notes = [
        remark
        for total in found.totals
        for remark in (f"{total.strategy}: {text}" for text in total.remarks)
    ]
    return Table(
        f"what {count} attribute{'s' if count > 1 else ''} cost",
        (
            "strategy",
            "trained",
            "% trained",
            "stored",
            "MB per attribute",
            "training",
            "peak memory",
            "next attribute: MB",
            "next attribute: training",
        ),
        rows,
        notes,
        _NAMES,
        frozenset({"trained", "stored", "next attribute: MB", "next attribute: training"}),
    )


def _reports(totals: Sequence[StrategyTotals]) -> list[Table]:
    """Return what strategies measured of themselves: forgetting, data used, weights of a fusion."""
    tables = []
    for total in totals:
        first = total.reports[0] if total.reports else {}
        if "after_step" in first:
            tables.append(_forgetting(total.strategy, total.reports))
        if "data" in first:
            tables.append(_data(total.strategy, total.reports))
        if "fusion_weights" in first:
            tables.append(_weights(total.strategy, first))
    return tables


def _forgetting(strategy: str, reports: Sequence[Mapping[str, Any]]) -> Table:
    """Return the first run's way through its chain; the rest is in the JSON."""
    first = reports[0]
    order, steps = first["order"], first["after_step"]
    rows = [
        (
            task,
            *(points(step.get(task)) for step in steps),
            points(first["forgetting"].get(task), sign=True),
        )
        for task in order
    ]
    mean = sum(report["mean_forgetting"] for report in reports) / len(reports)
    notes = [
        f"performance of every task after each step, seed {first['seed']}; forgetting: what was"
        f" lost since it was learnt; mean over {len(reports)} runs: {points(mean, sign=True)}"
    ]
    columns = ("task", *(f"after {n}" for n in range(1, len(steps) + 1)), "forgetting")
    return Table(f"{strategy}: what is forgotten", columns, rows, notes, _NAMES)


def _data(strategy: str, reports: Sequence[Mapping[str, Any]]) -> Table:
    data = [report["data"] for report in reports]
    used = sum(one["used_share"] for one in data) / len(data)
    rows = [
        (task, points(sum(one["by_task"][task] for one in data) / len(data)))
        for task in data[0]["by_task"]
    ]
    notes = [
        f"{points(used)} % of the {data[0]['annotations']} annotations were used for"
        f" updates at least once; {data[0]['updates']} of {data[0]['candidates']} candidates"
    ]
    return Table(f"{strategy}: data used", ("task", "% of the updates"), rows, notes, _NAMES)


def _weights(strategy: str, report: Mapping[str, Any]) -> Table:
    adapters = report["adapters"]
    rows = [
        (task, *(points(weight) for weight in weights.values()))
        for task, weights in report["fusion_weights"].items()
    ]
    return Table(
        f"{strategy}: what is taken from which adapter, in percent",
        ("attribute", *adapters),
        rows,
        left=_NAMES,
    )


def _notes(found: Comparison) -> list[str]:
    notes = [
        f"{found.finished} of {found.planned} trainings finished, {found.seeds} seeds;"
        f" {duration(found.seconds)} of training",
        f"± standard error {found.standard_error}",
        "gain: over a separate model per attribute with the same seeds, where that is in the table;"
        " regret: what is lost by taking it and not the best, in percent",
    ]
    if found.test:
        notes.append(f"p: {found.test}")
    notes += [
        f"{failure.strategy} on {', '.join(failure.attributes)}: {failure.runs} failed:"
        f" {failure.reason}"
        for failure in found.failures
    ]
    return [*notes, *left_out_notes(found.left_out), *skipped_notes(found.skipped)]


def comparison_plan_tables(plan: Plan, cost: Estimate) -> list[Table]:
    """Return what would be run, by strategy, and how long it would take."""
    rows = []
    for name in plan.strategies:
        trials = [one for one in plan.trials if one.strategy == name]
        starts = dict.fromkeys(", ".join(one.sources) or one.source for one in trials)
        rows.append(
            (
                name,
                "; ".join(starts),
                str(len(trials)),
                duration(cost.by_strategy[name]),
            )
        )
    notes = [
        f"{cost.done} trainings are done, {cost.pending} to be made; {cost.fine_tunings} sources to"
        " fine-tune first",
        *cost_notes(cost),
        *left_out_notes(plan.left_out),
        *skipped_notes(plan.skipped),
    ]
    return [
        Table(
            f"{plan.target}: {len(plan.attributes)} attributes",
            ("strategy", "source", "trainings", "time left"),
            rows,
            notes,
            _NAMES,
        )
    ]
