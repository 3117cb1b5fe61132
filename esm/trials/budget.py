"""Fit a plan into the time there is: the picks before the controls, the controls before the rest.

An arm is a source (or none) on an attribute with all its sizes, seeds and folds; it is run whole
or not at all. The order is that of the least regret to be feared from stopping early:

1. attribute by attribute, no transfer together with the best pick, which is worth nothing without
   it;
2. the further picks, the second of every attribute before the third of any;
3. sources asked for by name, random sources, and the rest, in rounds likewise.

Of a comparison, an arm is a strategy on all attributes with all seeds and folds: in the order in
which they were named at the largest size, then at smaller ones.

An arm that does not fit is left out, and a cheaper one after it may still fit. An attribute of
which no transfer and the first pick do not fit is left out whole. Trials that are finished cost
nothing, so the same command with the same budget goes further each time.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from esm.common.errors import SettingError, ValidationError
from esm.trials.costs import Costs
from esm.trials.settings import Arm
from esm.trials.trial import LeftOut, Plan, Trial

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")

_STAGES = {Arm.NONE: 0, Arm.PICK: 1, Arm.NAMED: 2, Arm.RANDOM: 3, Arm.ALL: 4}

Unit = tuple[Trial, ...]
"""Trials that are made together or not at all."""


def seconds_of(text: str) -> float:
    """Read a duration such as ``2h``, ``90m``, ``45s`` or ``1h30m``.

    Raises:
        SettingError: It is none, or it is no time at all.

    Example:
        >>> seconds_of("1h30m")
        5400.0
    """
    found = _DURATION.fullmatch(text.replace(" ", "").lower())
    hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (0, 0, 0)
    total = 3600.0 * hours + 60.0 * minutes + seconds
    if total <= 0:
        raise SettingError(f"budget {text!r}", expected="a duration such as 2h, 90m, 45s or 1h30m")
    return total


def format_duration(seconds: float) -> str:
    """Write a duration, rounded up to seconds, as :func:`seconds_of` reads it.

    Example:
        >>> format_duration(5400)
        '1h30m'
    """
    whole = math.ceil(seconds)
    parts = {"h": whole // 3600, "m": whole % 3600 // 60, "s": whole % 60}
    return "".join(f"{count}{unit}" for unit, count in parts.items() if count) or "0s"


def arms(trials: Iterable[Trial]) -> list[Unit]:
    """Return the trials of each arm, in the order in which the arms first come."""
    together: dict[object, list[Trial]] = {}
    for one in trials:
        # Without an arm: a strategy at one size.
        kind = (one.strategy, one.size) if one.arm is None else (one.attribute, one.source)
        together.setdefault(kind, []).append(one)
    return [tuple(arm) for arm in together.values()]


def fit_plan(plan: Plan, costs: Costs, seconds: float) -> Plan:
    """Return what of a plan fits into a time, in the order in which it is to be run.

    Args:
        plan: The whole plan.
        costs: What its runs cost.
        seconds: The time.

    Raises:
        ValidationError: Not even one attribute's first pick fits.
    """
    openings, further = _units(plan)
    reason = f"does not fit into the budget of {format_duration(seconds)}"
    chosen: list[Trial] = []
    omitted: list[Unit] = []
    made: set[Path] = set()
    spent = 0.0
    opened: set[str] = set()
    for place, unit in enumerate([*openings, *further]):
        own = {name for one in unit for name in one.attributes}
        cost = costs.seconds(unit, made)
        if spent + cost <= seconds and (place < len(openings) or own & opened):
            chosen += unit
            made |= costs.models(unit).keys()
            spent += cost
            opened |= own
        else:
            omitted += arms(unit)
    if not opened:
        raise _too_short(openings, costs, seconds)
    return leave_out(replace(plan, trials=(*chosen, *_flat(omitted))), omitted, costs, reason)


def leave_out(plan: Plan, omitted: Sequence[Unit], costs: Costs, reason: str) -> Plan:
    """Return a plan without the unfinished runs of some arms, which it then names.

    Args:
        plan: The plan.
        omitted: The arms.
        costs: What the runs cost; each arm is charged with what the ones before it do not share.
        reason: Why they are left out.
    """
    pending = [unit for arm in omitted if (unit := tuple(costs.pending(arm)))]
    gone = {one.id for one in _flat(pending)}
    trials = [one for one in plan.trials if one.id not in gone]
    named: list[LeftOut] = []
    made = set(costs.models(trials))
    for arm in pending:
        named.append(
            LeftOut(
                attribute=", ".join(dict.fromkeys(one.attribute for one in arm)),
                arm=arm[0].arm,
                source=arm[0].source,
                strategy=arm[0].strategy,
                runs=len(arm),
                seconds=costs.seconds(arm, made),
                reason=reason,
            )
        )
        made |= costs.models(arm).keys()
    attributes = {name for one in trials for name in one.attributes}
    return replace(
        plan,
        trials=tuple(trials),
        num_train={name: n for name, n in plan.num_train.items() if name in attributes},
        num_test={name: n for name, n in plan.num_test.items() if name in attributes},
        left_out=(*plan.left_out, *named),
    )


@dataclass(frozen=True)
class Clock:
    """Says when the time is over, and what is then left out.

    Attributes:
        started: When it began to run, by ``time.monotonic``.
        budget: Seconds; None for as long as it takes.
        costs: What runs cost.
    """

    started: float
    budget: float | None
    costs: Costs

    def is_over(self) -> bool:
        """Whether no further arm may begin."""
        return self.budget is not None and time.monotonic() - self.started >= self.budget

    def rest(self, plan: Plan, waiting: Sequence[Unit]) -> Plan:
        """Return the plan without the arms that wait, which it names."""
        reason = f"the budget of {format_duration(self.budget or 0)} was used up before"
        return leave_out(plan, waiting, self.costs, reason)


def _units(plan: Plan) -> tuple[list[Unit], list[Unit]]:
    """Return the opening of every attribute, and all further arms in rounds."""
    if plan.is_comparison:
        first, *rest = arms(plan.trials)
        return [first], rest
    by_attribute: dict[str, list[Unit]] = {}
    for arm in arms(plan.trials):
        by_attribute.setdefault(arm[0].attribute, []).append(arm)
    openings: list[Unit] = []
    rounds: list[tuple[int, int, Unit]] = []
    for own in by_attribute.values():
        # No transfer and the first pick; where one of them is missing, the other.
        end = 1 + next((i for i, arm in enumerate(own) if arm[0].arm is not Arm.NONE), 0)
        openings.append(tuple(_flat(own[:end])))
        rounds += [(_STAGES[arm[0].arm or Arm.ALL], i, arm) for i, arm in enumerate(own[end:])]
    return openings, [arm for *_, arm in sorted(rounds, key=lambda item: item[:2])]


def _too_short(openings: Iterable[Unit], costs: Costs, seconds: float) -> ValidationError:
    """Return the error that names the cheapest start."""
    least, unit = min(
        ((costs.seconds(unit), unit) for unit in openings), key=lambda priced: priced[0]
    )
    kinds = " and ".join(
        dict.fromkeys(one.source if one.arm is not None else one.strategy for one in unit)
    )
    return ValidationError(
        f"the budget of {format_duration(seconds)} is too short for any attribute",
        expected=f"at least {format_duration(least)}, for {kinds} on {unit[0].attribute}"
        f" ({len(unit)} runs)",
        hint="fewer --seeds or --epochs, --max-train, or --strategy features",
    )


def _flat(units: Iterable[Unit]) -> list[Trial]:
    return [one for unit in units for one in unit]
