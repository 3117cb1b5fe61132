"""What a validation will cost in time and disk, from what was measured so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from esm.intermediate import MODELS_NAME, model_folder, pool_model
from esm.ledger import LEDGER_NAME, Ledger, RunKey, RunRow
from esm.measures import NO_TRANSFER
from esm.plan import Plan, Run
from esm.pool import Pool, PoolEntry, SourceRecord
from esm.settings import BaseIdentity

DEFAULT_SECONDS_PER_TEXT = 0.01
"""For one forward pass, where nothing was measured: six layers, 384 wide, on two cores."""

# A training step costs about as much as three forward passes.
_PASSES_PER_STEP = 3
_BYTES_PER_WEIGHT = 4
_USUAL_VOCABULARY = 30_522


@dataclass(frozen=True)
class Estimate:
    """What is left to do of a plan.

    Attributes:
        done: Runs that the ledger holds already.
        pending: Runs to be made.
        fine_tunings: How often a source has to be fine-tuned first.
        seconds: Time for all of it.
        bytes: Disk for the tuned encoders; freed at the end unless they are kept.
        basis: What the time of a run, and the size of an encoder, were estimated from.
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


def estimate(plan: Plan, pool: Pool, out: Path, *, vocabulary: int | None = None) -> Estimate:
    """Estimate the cost of what a plan still has to do in its folder.

    Fine-tuning a source takes as long as it took for the pool. The time of a run goes by its
    forward passes; what one takes per text comes from the ledger's runs of the same strategy,
    else from the pool's fine-tunings, else it is :data:`DEFAULT_SECONDS_PER_TEXT`.

    Args:
        plan: The plan.
        pool: The pool it was made for.
        out: Folder of the validation; need not exist.
        vocabulary: How many tokens the base model knows; None takes BERT's number, and says so.
    """
    rows = _recorded(out)
    finished = {row.key for row in rows}
    pending = [run for run in plan.runs if run.key.content_hash() not in finished]
    sources = sorted({run.source for run in plan.runs if run.source != NO_TRANSFER})
    entries = {source: pool.entry(source) for source in sources}
    to_tune = _to_tune(pending, entries, out / MODELS_NAME)
    seconds_per_text, basis = _rate(plan, rows, entries.values())
    if vocabulary is None and to_tune:
        basis += f"; disk for a guessed vocabulary of {_USUAL_VOCABULARY:,} tokens"
    passes = sum(
        _passes(run.key, plan.num_train[run.attribute], plan.num_test[run.attribute])
        for run in pending
    )
    tuning = sum(_tuning_seconds(entry.record, seconds_per_text) for entry in to_tune)
    return Estimate(
        done=len(plan.runs) - len(pending),
        pending=len(pending),
        fine_tunings=len(to_tune),
        seconds=seconds_per_text * passes + tuning,
        bytes=len(to_tune) * _model_bytes(pool.manifest.base, vocabulary or _USUAL_VOCABULARY),
        basis=basis,
    )


def _recorded(out: Path) -> list[RunRow]:
    if not (out / LEDGER_NAME).is_file():
        return []
    with Ledger(out / LEDGER_NAME) as ledger:
        return ledger.rows()


def _to_tune(
    pending: Iterable[Run], entries: dict[str, PoolEntry], models: Path
) -> list[PoolEntry]:
    """Return the entry of each tuned encoder that is neither in the pool nor in the folder."""
    needed = {model_folder(models, run.key): run.key for run in pending}
    return [
        entries[key.source]
        for folder, key in needed.items()
        if key.source != NO_TRANSFER
        and pool_model(entries[key.source], key.source_seed) is None
        and not folder.is_dir()
    ]


def _tuning_seconds(record: SourceRecord, seconds_per_text: float) -> float:
    """Return the seconds that fine-tuning took; for a fetched map those that it would take."""
    if record.published is None:
        return record.seconds.get("fine_tune", 0.0)
    rows = record.num_used or record.fine_tune.max_examples
    return _PASSES_PER_STEP * record.fine_tune.num_epochs * rows * seconds_per_text


def _rate(plan: Plan, rows: Iterable[RunRow], entries: Iterable[PoolEntry]) -> tuple[float, str]:
    """Return seconds per text and forward pass, and where the number comes from."""
    config = plan.config
    same = [row for row in rows if row.strategy == config.strategy]
    passes = sum(_passes(plan.runs[0].key, row.num_train, row.num_test) for row in same)
    if passes:
        measured = sum(row.seconds for row in same) / passes
        return measured, f"{len(same)} finished {config.strategy} runs of this folder"
    records = [entry.record for entry in entries if entry.record.published is None]
    seconds = sum(record.seconds.get("fine_tune", 0.0) for record in records)
    if seconds > 0:
        steps = sum((record.num_used or 0) * record.fine_tune.num_epochs for record in records)
        return (
            seconds / (_PASSES_PER_STEP * steps),
            f"the fine-tuning of {len(records)} sources of the pool",
        )
    return DEFAULT_SECONDS_PER_TEXT, f"a guess of {DEFAULT_SECONDS_PER_TEXT} s per text and pass"


def _passes(key: RunKey, num_train: int, num_test: int) -> int:
    """Return how many texts go forward in a run, with a training step counted as three."""
    epochs = key.transfer.get("num_epochs")
    if epochs is None:  # a strategy that only embeds
        return num_train + num_test
    return _PASSES_PER_STEP * int(epochs) * num_train + num_test


def _model_bytes(base: BaseIdentity, vocabulary: int) -> int:
    """Return about how large a tuned encoder is: 12 d² weights per layer, and its vocabulary."""
    weights = 12 * base.num_layers * base.width**2 + vocabulary * base.width
    return _BYTES_PER_WEIGHT * weights
