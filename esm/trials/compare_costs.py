"""What a comparison will cost in time, from what was measured in its folder so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from esm.strategies.joint.registry import joint_strategy
from esm.trials.compare_plan import Cell, ComparisonPlan
from esm.trials.costs import DEFAULT_SECONDS_PER_TEXT
from esm.trials.ledger import LEDGER_NAME, Ledger
from esm.trials.outputs import CellStore


@dataclass(frozen=True)
class ComparisonEffort:
    """What is left to do.

    Attributes:
        done: Trainings that are finished.
        pending: Trainings to be made.
        seconds: Time for them, without the fine-tuning of sources.
        by_strategy: The same by strategy.
        basis: What the time was estimated from.
    """

    done: int
    pending: int
    seconds: float
    by_strategy: dict[str, float]
    basis: str

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)


def estimate(plan: ComparisonPlan, out: Path) -> ComparisonEffort:
    """Estimate what the trainings of a plan still cost.

    Time goes by forward passes, a training step counting as three. What a pass takes per text
    comes from the finished trainings of the folder, else it is a guess.

    Args:
        plan: The plan.
        out: Folder of the comparison; need not exist.
    """
    finished = _finished(plan, out)
    pending = [cell for cell in plan.trainings if cell.id not in finished]
    passes = sum(passes_of(plan, cell) for cell in plan.trainings if cell.id in finished)
    measured = sum(finished.values())
    rate, basis = DEFAULT_SECONDS_PER_TEXT, f"a guess of {DEFAULT_SECONDS_PER_TEXT} s per text"
    if passes and measured:
        rate, basis = measured / passes, f"{len(finished)} finished trainings of this folder"
    by_strategy = {
        name: rate * sum(passes_of(plan, cell) for cell in pending if cell.strategy == name)
        for name in plan.strategies
    }
    return ComparisonEffort(
        done=len(finished),
        pending=len(pending),
        seconds=sum(by_strategy.values()),
        by_strategy=by_strategy,
        basis=basis,
    )


def passes_of(plan: ComparisonPlan, cell: Cell) -> float:
    """Return how many texts go forward in a training, a training step counting as three."""
    rows = [plan.rows_used(key.attribute, key.max_train) for key in cell.keys]
    trained = joint_strategy(cell.strategy).passes(
        cell.keys[0].transfer, rows, len(cell.sources), plan.base
    )
    return trained + sum(plan.num_test[name] for name in cell.attributes) + sum(rows)


def _finished(plan: ComparisonPlan, out: Path) -> dict[str, float]:
    """Return the seconds of the trainings that are done, by id."""
    if not (out / LEDGER_NAME).is_file():
        return {}
    store = CellStore(out)
    with Ledger(out / LEDGER_NAME) as ledger:
        done = [cell for cell in plan.trainings if store.has(cell) and _is_in(ledger, cell)]
    return {cell.id: store.record(cell).seconds for cell in done}


def _is_in(ledger: Ledger, cell: Cell) -> bool:
    return all(ledger.get(key) is not None for key in cell.rows.values())
