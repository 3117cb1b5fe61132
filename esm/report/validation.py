"""The table of what a validation would run, and what it leaves out for want of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from esm.report.table import Table, duration, size, skipped_notes

if TYPE_CHECKING:
    from esm.trials.costs import Estimate
    from esm.trials.plan import LeftOut, Plan


def plan_tables(plan: Plan, cost: Estimate) -> list[Table]:
    """Return what a validation would run, and what it would cost."""
    counted: dict[tuple[str, str, str], int] = {}
    for run in plan.runs:
        arm = (run.attribute, run.arm, run.source)
        counted[arm] = counted.get(arm, 0) + 1
    rows = [
        (attribute, arm, source, str(runs), str(plan.num_train[attribute]))
        for (attribute, arm, source), runs in counted.items()
    ]
    notes = [
        f"{len(plan.runs)} runs, {cost.done} of them done; {cost.fine_tunings} sources to fine-tune"
        " first",
        f"about {duration(cost.seconds)} and {size(cost.bytes)} of disk, from {cost.basis}",
        f"{size(cost.kept_bytes)} of disk stay taken; {size(cost.free_bytes)} are free",
    ]
    if cost.missing_bytes:
        notes.append(f"the disk is too full: {size(cost.missing_bytes)} are missing")
    notes += [*left_out_notes(plan.left_out), *skipped_notes(plan.skipped)]
    columns = ("attribute", "arm", "source", "runs", "training rows")
    return [Table(f"plan for {plan.target}", columns, rows, notes, frozenset(columns[:3]))]


def left_out_notes(left_out: Sequence[LeftOut]) -> list[str]:
    """Name the arms for which the time does not suffice, and what they would take."""
    if not left_out:
        return []
    seconds = sum(arm.seconds for arm in left_out)
    return [
        f"{len(left_out)} arms left out for want of time, about {duration(seconds)} more:",
        *(
            f"  {arm.attribute}, {arm.arm} {arm.source}: {arm.runs} runs, about"
            f" {duration(arm.seconds)}; {arm.reason}"
            for arm in left_out
        ),
    ]
