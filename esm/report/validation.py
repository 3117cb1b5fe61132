"""The table of what a validation would run, and what it leaves out for want of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from esm.metrics.rankings import NO_TRANSFER
from esm.report.numbers import MISSING, duration, number, plus_minus, points, size
from esm.report.splits import fold_notes
from esm.report.table import Table, skipped_notes, untested_note

if TYPE_CHECKING:
    from esm.trials.costs import Estimate
    from esm.trials.lines import ArmResult
    from esm.trials.results import AttributeResult, Validation
    from esm.trials.trial import LeftOut, Plan


def plan_tables(plan: Plan, cost: Estimate) -> list[Table]:
    """Return what a validation would run, and what it would cost."""
    counted = Counter((one.attribute, str(one.arm), one.source) for one in plan.trials)
    rows = [
        (attribute, arm, source, str(runs), str(plan.num_train[attribute]))
        for (attribute, arm, source), runs in counted.items()
    ]
    notes = [
        f"{len(plan.trials)} runs, {cost.done} of them done; {cost.fine_tunings} sources to"
        " fine-tune first",
        *cost_notes(cost),
        *left_out_notes(plan.left_out),
        *skipped_notes(plan.skipped),
    ]
    columns = ("attribute", "arm", "source", "runs", "training rows")
    left = frozenset(columns[:3])
    return [Table(f"plan for {plan.target}", columns, rows, notes, left, keys=3)]


def cost_notes(cost: Estimate) -> list[str]:
    """Say what a plan costs in time and disk."""
    notes = [
        f"about {duration(cost.seconds)} and {size(cost.bytes)} of disk, from {cost.basis}",
        f"{size(cost.kept_bytes)} of disk stay taken; {size(cost.free_bytes)} are free",
    ]
    if cost.missing_bytes:
        notes.append(f"the disk is too full: {size(cost.missing_bytes)} are missing")
    return notes


def left_out_notes(left_out: Sequence[LeftOut]) -> list[str]:
    """Name the arms for which the time does not suffice, and what they would take."""
    if not left_out:
        return []
    seconds = sum(arm.seconds for arm in left_out)
    return [
        f"{len(left_out)} arms left out for want of time, about {duration(seconds)} more:",
        *(
            f"  {arm.attribute}, {f'{arm.arm} {arm.source}' if arm.arm else arm.strategy}:"
            f" {arm.runs} runs, about"
            f" {duration(arm.seconds)}; {arm.reason}"
            for arm in left_out
        ),
    ]


_SECOND_METRICS = frozenset({"accuracy", "kappa", "mae"})
_NAMES = frozenset({"arm", "source"})


def validation_tables(validation: Validation) -> list[Table]:
    """Return one table per attribute: performance of every arm, gain over no transfer, regret."""
    tables = [_validated(validation, name, found) for name, found in validation.attributes.items()]
    notes = [
        f"{validation.finished} of {validation.planned} runs finished, {validation.seeds} per arm;"
        f" strategy {validation.strategy}; {duration(validation.seconds)} of training",
        f"± standard error {validation.standard_error}",
        "predicted: the gain that the ranking predicted, in its own unit; gain: mean difference to"
        " no transfer with the same seed and fold, points of the metric (x 100)",
    ]
    notes += [
        f"{failure.attribute} after {failure.source}: {failure.runs} runs failed: {failure.reason}"
        for failure in validation.failures
    ]
    if validation.test:
        notes.append(f"p, against the best: {validation.test}")
    if validation.aggregate:
        notes.append("rank (--wide): the place over all attributes, by which the picks were chosen")
    notes += [*left_out_notes(validation.left_out), *skipped_notes(validation.skipped)]
    return [*tables, Table("", (), (), notes)]


def _validated(validation: Validation, name: str, found: AttributeResult) -> Table:
    measured = found.arms[0].metrics if found.arms else {}
    others = [metric for metric in measured if metric in _SECOND_METRICS - {found.metric}]
    found_apart = any(arm.p_against_best is not None for arm in found.arms)
    rows = [
        (
            arm.arm or "outside",
            arm.source,
            str(arm.rank or MISSING),
            number(arm.predicted_gain, 4, sign=True),
            str(arm.runs),
            plus_minus(arm.mean, arm.standard_error),
            plus_minus(arm.gain, arm.gain_standard_error, sign=True),
            *(_metric(other, arm.metrics[other]) for other in others),
            *([number(arm.p_against_best, 4)] if found_apart else []),
            MISSING if arm.outside else duration(arm.seconds),
        )
        for arm in found.arms
    ]
    columns = (
        "arm",
        "source",
        "rank",
        "predicted",
        "runs",
        found.metric,
        "gain",
        *others,
        *(["p"] if found_apart else []),
        "time",
    )
    notes = training_notes([arm for arm in found.arms if not arm.outside])
    if found.regret:
        regrets = ", ".join(f"{k} {number(value, 2)} %" for k, value in found.regret.items())
        notes.append(
            f"realised {regrets} over the {len(found.measured)} measured sources:"
            f" {', '.join(found.measured)}"
        )
    notes += [*_winner_note(validation, name), *found.data_notes]
    notes += fold_notes(validation.folds, found.out_of_fold)
    title = (
        f"{validation.target}/{name}: {found.num_train} training rows, {found.num_test} test rows"
    )
    further = frozenset({"rank", "runs", *others, "time"})
    return Table(title, columns, rows, notes, _NAMES, further, keys=2)


def _winner_note(validation: Validation, name: str) -> list[str]:
    """Say which arm won, and whether its gain is more than its error."""
    winner = validation.winners.get(name)
    without = "".join(
        f"; {said}" for said in untested_note("it", validation.attributes[name].untested)
    )
    if winner is None:
        return []
    if winner == NO_TRANSFER:
        return [f"winner: no transfer; no source that was measured does better{without}"]
    (arm,) = (arm for arm in validation.attributes[name].arms if arm.source == winner)
    if arm.gain is None:
        return [f"winner: {winner}{without}"]
    gain = plus_minus(arm.gain, arm.gain_standard_error, sign=True)
    if arm.gain_standard_error is None:
        doubt = "; from one run, whose error is not known (--seeds 3)"
    elif arm.gain > 2 * arm.gain_standard_error:
        doubt = ""
    else:
        doubt = "; that is not more than two standard errors"
    return [f"winner: {winner}, {gain} over no transfer on the same test rows{doubt}{without}"]


def _metric(name: str, value: float) -> str:
    """Format a metric: fractions in points, errors in the label's unit."""
    return number(value) if name == "mae" else points(value)


# Mean and scale of the labels are kept too.
_SCALE = 2


def training_notes(arms: Sequence[ArmResult]) -> list[str]:
    """Return the share and number of weights trained, what is kept, the memory, the remarks."""
    lines = [_trained(arm) for arm in sorted(arms, key=lambda arm: arm.trained_share)]
    kept = [arm.stored_parameters for arm in arms if _differs(arm)]
    lines += [f"{count:,} numbers are kept of a model" for count in kept]
    peaks = [arm.peak_memory for arm in arms if arm.peak_memory is not None]
    if peaks:
        lines.append(f"at most {max(peaks) / 1e6:,.0f} MB of memory in use while training")
    lines += [remark for arm in arms for remark in arm.remarks]
    return list(dict.fromkeys(lines))


def _trained(arm: ArmResult) -> str:
    count = "" if arm.trained_parameters is None else f" ({arm.trained_parameters:,})"
    return f"{points(arm.trained_share)} % of the weights were trained{count}"


def _differs(arm: ArmResult) -> bool:
    """Whether more, or less, is kept than what was trained and the scale of the labels."""
    if arm.stored_parameters is None or arm.trained_parameters is None:
        return False
    return abs(arm.stored_parameters - arm.trained_parameters) > _SCALE
