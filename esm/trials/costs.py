"""What a validation will cost in time and disk, from what was measured so far."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from esm.common.errors import StorageError
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.pool import Pool, PoolEntry, SourceRecord
from esm.strategies.joint.registry import joint_strategy
from esm.strategies.protocol import PASSES_PER_STEP, Effort, encoder_size
from esm.strategies.registry import strategy
from esm.trials.compare_plan import Cell, ComparisonPlan
from esm.trials.encoders import MODELS_NAME, model_folder, pool_model
from esm.trials.ledger import LEDGER_NAME, Ledger, RunKey, RunRow
from esm.trials.outputs import CellStore
from esm.trials.plan import Plan, Run

DEFAULT_SECONDS_PER_TEXT = 0.01
"""For one forward pass, where nothing was measured: six layers, 384 wide, on two cores."""

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
        bytes: Most disk that is taken at a time: by the tuned encoders that are to be made, and by
            what is trained on the target.
        kept_bytes: How much of it stays taken when all is done.
        free_bytes: Free disk where the folder is.
        basis: What the time of a run, and the size of an encoder, were estimated from.
    """

    done: int
    pending: int
    fine_tunings: int
    seconds: float
    bytes: int
    kept_bytes: int
    free_bytes: int
    basis: str

    @property
    def missing_bytes(self) -> int:
        """Disk that is wanting."""
        return max(0, self.bytes - self.free_bytes)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)


class Costs:
    """What the runs of a plan cost, given what is in its folder already.

    Fine-tuning a source takes as long as it took for the pool. The time of a run goes by its
    forward passes; what one takes per text comes from the ledger's runs of the same strategy,
    else from the pool's fine-tunings, else it is :data:`DEFAULT_SECONDS_PER_TEXT`.

    Args:
        plan: The plan.
        pool: The pool it was made for.
        out: Folder of the validation; need not exist.

    Attributes:
        basis: What the time of a run is estimated from.
    """

    def __init__(self, plan: Plan, pool: Pool, out: Path) -> None:
        rows = _recorded(out)
        sources = sorted({run.source for run in plan.runs if run.source != NO_TRANSFER})
        self._plan = plan
        self._pool = pool
        self._out = out
        self._entries = {source: pool.entry(source) for source in sources}
        self._finished = {row.key for row in rows}
        effort = self._effort(plan.runs[0].key)
        self._seconds_per_text, self.basis = _rate(plan, rows, self._entries.values(), effort)

    def _effort(self, key: RunKey, vocabulary: int = _USUAL_VOCABULARY) -> Effort:
        base = self._pool.manifest.base
        return strategy(key.strategy).effort(key.transfer, base, vocabulary)

    def pending(self, runs: Iterable[Run]) -> list[Run]:
        """Return the runs that are not finished."""
        return [run for run in runs if run.key.content_hash() not in self._finished]

    def models(self, runs: Iterable[Run]) -> dict[Path, PoolEntry]:
        """Return the tuned encoders that unfinished runs need and that are to be trained."""
        needed = {
            model_folder(self._out / MODELS_NAME, run.key): run.key for run in self.pending(runs)
        }
        return {
            folder: self._entries[key.source]
            for folder, key in needed.items()
            if key.source != NO_TRANSFER
            and key.delta is None
            and pool_model(self._entries[key.source], key.source_seed) is None
            and not folder.is_dir()
        }

    def seconds(self, runs: Iterable[Run], made: Container[Path] = ()) -> float:
        """Return how long runs take, with the sources that they are tuned on.

        Args:
            runs: The runs; finished ones take no time.
            made: Of :meth:`models`, those that other runs have had made by then.
        """
        pending = self.pending(runs)
        passes = sum(
            _passes(
                self._effort(run.key),
                self._plan.num_train[run.attribute],
                self._plan.num_test[run.attribute],
            )
            for run in pending
        )
        return self._seconds_per_text * passes + sum(
            _tuning_seconds(entry.record, self._seconds_per_text)
            for folder, entry in self.models(pending).items()
            if folder not in made
        )

    def estimate(
        self, runs: Sequence[Run], *, vocabulary: int | None = None, keep_models: bool = False
    ) -> Estimate:
        """Estimate what runs still cost, all together.

        Args:
            runs: The runs.
            vocabulary: How many tokens the base model knows; None takes BERT's number, and says so.
            keep_models: Whether all models stay when all is done, not only those of the winners.
        """
        pending = self.pending(runs)
        to_tune = self.models(pending)
        basis = self.basis
        if vocabulary is None and to_tune:
            basis += f"; disk for a guessed vocabulary of {_USUAL_VOCABULARY:,} tokens"
        base = self._pool.manifest.base
        size = vocabulary or _USUAL_VOCABULARY
        model = _BYTES_PER_WEIGHT * encoder_size(base, size)
        stored = self._effort(pending[0].key, size).stored if pending else 0
        each = _BYTES_PER_WEIGHT * stored
        arms = Counter((run.attribute, run.source) for run in pending)
        # Of each attribute the arm that is ahead stays, with its encoder for every source seed.
        longest = {name: max(n for (a, _), n in arms.items() if a == name) for name, _ in arms}
        ahead = sum(longest.values())
        tuned = min(len(to_tune), len(longest) * self._plan.config.source_seeds)
        being_trained = max(longest.values(), default=0)
        return Estimate(
            done=len(runs) - len(pending),
            pending=len(pending),
            fine_tunings=len(to_tune),
            seconds=self.seconds(pending),
            bytes=len(to_tune) * model
            + each * (len(pending) if keep_models else min(ahead + being_trained, len(pending))),
            kept_bytes=len(to_tune) * model + len(pending) * each
            if keep_models
            else tuned * model + ahead * each,
            free_bytes=_free_bytes(self._out),
            basis=basis,
        )


def check_disk(cost: Estimate, out: Path) -> None:
    """Refuse to start what would fill the disk.

    Raises:
        StorageError: The tuned encoders need more than is free.
    """
    if cost.missing_bytes:
        raise StorageError(
            f"the models of {cost.pending} runs and the encoders tuned on {cost.fine_tunings}"
            f" sources need about {_megabytes(cost.bytes)} in {out}, where"
            f" {_megabytes(cost.free_bytes)} are free",
            expected=f"another {_megabytes(cost.missing_bytes)}",
            hint="--out on another disk, or fewer sources (--top, --controls)",
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _free_bytes(out: Path) -> int:
    """Return the free disk where a folder is or will be."""
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(there).free


def _recorded(out: Path) -> list[RunRow]:
    if not (out / LEDGER_NAME).is_file():
        return []
    with Ledger(out / LEDGER_NAME) as ledger:
        return ledger.rows()


def _tuning_seconds(record: SourceRecord, seconds_per_text: float) -> float:
    """Return the seconds that fine-tuning took; for a fetched map those that it would take."""
    if record.published is None:
        return record.seconds.get("fine_tune", 0.0)
    rows = record.num_used or record.fine_tune.max_examples
    return PASSES_PER_STEP * record.fine_tune.num_epochs * rows * seconds_per_text


def _rate(
    plan: Plan, rows: Iterable[RunRow], entries: Iterable[PoolEntry], effort: Effort
) -> tuple[float, str]:
    """Return seconds per text and forward pass, and where the number comes from."""
    config = plan.config
    same = [row for row in rows if row.strategy == config.strategy]
    passes = sum(_passes(effort, row.num_train, row.num_test) for row in same)
    if passes:
        measured = sum(row.seconds for row in same) / passes
        return measured, f"{len(same)} finished {config.strategy} runs of this folder"
    records = [entry.record for entry in entries if entry.record.published is None]
    seconds = sum(record.seconds.get("fine_tune", 0.0) for record in records)
    if seconds > 0:
        steps = sum((record.num_used or 0) * record.fine_tune.num_epochs for record in records)
        return (
            seconds / (PASSES_PER_STEP * steps),
            f"the fine-tuning of {len(records)} sources of the pool",
        )
    return DEFAULT_SECONDS_PER_TEXT, f"a guess of {DEFAULT_SECONDS_PER_TEXT} s per text and pass"


def _passes(effort: Effort, num_train: int, num_test: int) -> float:
    """Return how many texts go forward in a run, with a training step counted as three."""
    return effort.passes * num_train + num_test


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
