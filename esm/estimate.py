"""What a validation will cost in time and disk, from what was measured so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from esm.intermediate import model_folder, pool_model
from esm.ledger import LEDGER_NAME, Ledger, RunKey, RunRow
from esm.measures import NO_TRANSFER
from esm.plan import Plan, Run
from esm.pool import Pool, PoolEntry
from esm.settings import BaseIdentity
from esm.storage import hash_file

# Seconds for one text in one forward pass, where nothing was measured: measured with the packaged
# encoder (six layers, 384 wide) on two cores.
DEFAULT_SECONDS_PER_TEXT = 0.01

# One step of training costs about as much as three forward passes.
_PASSES_PER_STEP = 3
_BYTES_PER_WEIGHT = 4
_USUAL_VOCABULARY = 30_522


@dataclass(frozen=True)
class Estimate:
    """What is left to do of a plan.

    Attributes:
        done: Runs that the ledger holds already.
        pending: Runs to be made.
        fine_tunings: Times a source has to be fine-tuned first.
        seconds: Time for all of it.
        bytes: Disk for the tuned encoders; freed at the end unless they are kept.
        basis: What the time was estimated from.
    """

    done: int
    pending: int
    fine_tunings: int
    seconds: float
    bytes: int
    basis: str

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)


def estimate(plan: Plan, pool: Pool, out: Path) -> Estimate:
    """Estimate the cost of what a plan still has to do in its folder; writes nothing.

    The time for one text and forward pass comes from the ledger's runs of the same strategy, else
    from the pool's fine-tunings, else it is :data:`DEFAULT_SECONDS_PER_TEXT`.

    Args:
        plan: The plan.
        pool: The pool it was made for.
        out: Folder of the validation; need not exist.
    """
    rows = _recorded(out)
    finished = {row.key for row in rows}
    pending = [run for run in plan.runs if run.key.content_hash() not in finished]
    sources = {run.source for run in plan.runs if run.source != NO_TRANSFER}
    entries = {source: pool.entry(source) for source in sorted(sources)}
    to_tune = _to_tune(pending, entries, out / MODELS_NAME)
    seconds_per_text, basis = _rate(plan, rows, list(entries.values()))
    passes = sum(
        _passes(run.key, plan.num_train[run.attribute], plan.num_test[run.attribute])
        for run in pending
    )
    passes += sum(_fine_tuning_passes(entry) for entry in to_tune)
    return Estimate(
        done=len(plan.runs) - len(pending),
        pending=len(pending),
        fine_tunings=len(to_tune),
        seconds=seconds_per_text * passes,
        bytes=len(to_tune) * _model_bytes(pool.manifest.base),
        basis=basis,
    )
