"""What a plan will cost in time and disk, from what was measured so far."""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from esm.common.errors import StorageError
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.pool import PoolEntry, SourceRecord
from esm.strategies.protocol import PASSES_PER_STEP, encoder_size
from esm.strategies.registry import strategy
from esm.trials.encoders import MODELS_NAME, model_folder, pool_model, tuned_key
from esm.trials.ledger import LEDGER_NAME, Ledger, RunKey, RunRow
from esm.trials.outputs import OutputStore
from esm.trials.trial import Group, Plan, Trial

DEFAULT_SECONDS_PER_TEXT = 0.01
"""For one forward pass, where nothing was measured: six layers, 384 wide, on two cores."""

_BYTES_PER_WEIGHT = 4
_USUAL_VOCABULARY = 30_522


@dataclass(frozen=True)
class Estimate:
    """What is left to do of a plan.

    Attributes:
        done: Trials that are finished.
        pending: Trials to be made.
        fine_tunings: How often a source has to be fine-tuned first.
        seconds: Time for all of it.
        bytes: Most disk that is taken at a time: by the tuned encoders that are to be made, and by
            what is trained on the target.
        kept_bytes: How much of it stays taken when all is done.
        free_bytes: Free disk where the folder is.
        basis: What the time of a trial, and the size of an encoder, were estimated from.
        by_strategy: Seconds by strategy, without the fine-tuning of sources.
    """

    done: int
    pending: int
    fine_tunings: int
    seconds: float
    bytes: int
    kept_bytes: int
    free_bytes: int
    basis: str
    by_strategy: dict[str, float] = field(default_factory=dict)

    @property
    def missing_bytes(self) -> int:
        """Disk that is wanting."""
        return max(0, self.bytes - self.free_bytes)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)


def finished_rows(plan: Plan, ledger: Ledger, outputs: OutputStore) -> dict[str, RunRow]:
    """Return the rows of the trials that are finished, by key.

    A comparison needs the outputs too; a validation of an earlier version has none.
    """
    rows: dict[str, RunRow] = {}
    for trial in plan.trials:
        found = [ledger.get(key) for key in trial.rows.values()]
        if not plan.is_comparison or outputs.has(trial):
            rows |= {row.key: row for row in found if row is not None}
    return rows


class Costs:
    """What the trials of a plan cost, given what is in its folder already.

    Fine-tuning a source takes as long as it took for the pool. The time of a trial goes by its
    forward passes, a training step counting as three; what one takes per text comes from the
    finished trials of the folder, else from the pool's fine-tunings, else it is
    :data:`DEFAULT_SECONDS_PER_TEXT`.

    Args:
        plan: The plan.
        out: Folder of the run; need not exist.

    Attributes:
        basis: What the time of a trial is estimated from.
    """

    def __init__(self, plan: Plan, out: Path) -> None:
        self._plan = plan
        self._out = out
        self._rows = _recorded(plan, out)
        self._seconds_per_text, self.basis = self._rate()

    def is_finished(self, trial: Trial) -> bool:
        """Whether a trial has all its rows."""
        return all(key in self._rows for key in trial.rows.values())

    def pending(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the trials that are not finished."""
        return [trial for trial in trials if not self.is_finished(trial)]

    def models(self, trials: Iterable[Trial]) -> dict[Path, PoolEntry]:
        """Return the tuned encoders that unfinished trials need and that are to be made."""
        models = self._out / MODELS_NAME
        needed = {
            model_folder(models, key): key
            for one in self.pending(trials)
            for key in self._starts(one)
        }
        return {
            folder: self._plan.entries[key.source]
            for folder, key in needed.items()
            if key.delta is None
            and pool_model(self._plan.entries[key.source], key.source_seed) is None
            and not folder.is_dir()
        }

    def _starts(self, trial: Trial) -> list[RunKey]:
        """Return keys of the tuned encoders of a trial: of its start, and of further sources."""
        if trial.source != NO_TRANSFER:
            return [trial.key]
        if strategy(trial.strategy).learns_sources:
            return []
        retrain = self._plan.config.retrain
        return [
            tuned_key(trial.key, self._plan.entries[name], retrain=retrain)
            for name in trial.sources
        ]

    def seconds(self, trials: Iterable[Trial], made: Container[Path] = ()) -> float:
        """Return how long trials take, with the sources that they are tuned on.

        Args:
            trials: The trials; finished ones take no time.
            made: Of :meth:`models`, those that other trials have had made by then.
        """
        pending = self.pending(trials)
        return self._seconds_per_text * sum(map(self._passes, pending)) + sum(
            _tuning_seconds(entry.record, self._seconds_per_text)
            for folder, entry in self.models(pending).items()
            if folder not in made
        )

    def estimate(
        self, trials: Sequence[Trial], *, vocabulary: int | None = None, keep_models: bool = False
    ) -> Estimate:
        """Estimate what trials still cost, all together.

        Args:
            trials: The trials.
            vocabulary: How many tokens the base model knows; None takes BERT's number, and says so.
            keep_models: Whether all models stay when all is done, not only those of the winners.
        """
        pending = self.pending(trials)
        to_tune = self.models(pending)
        basis = self.basis
        if vocabulary is None and to_tune:
            basis += f"; disk for a guessed vocabulary of {_USUAL_VOCABULARY:,} tokens"
        size = vocabulary or _USUAL_VOCABULARY
        tuned = _BYTES_PER_WEIGHT * encoder_size(self._plan.base, size)
        most, kept, groups = self._models_bytes(pending, size, keep_models=keep_models)
        needed = len(to_tune)
        if not keep_models:  # of each attribute those from which the one that is ahead starts
            needed = min(needed, groups * getattr(self._plan.config, "source_seeds", 1))
        return Estimate(
            done=len(trials) - len(pending),
            pending=len(pending),
            fine_tunings=len(to_tune),
            seconds=self.seconds(pending),
            by_strategy={
                name: self._seconds_per_text
                * sum(self._passes(one) for one in pending if one.strategy == name)
                for name in self._plan.strategies
            },
            bytes=len(to_tune) * tuned + most,
            kept_bytes=needed * tuned + kept,
            free_bytes=_free_bytes(self._out),
            basis=basis,
        )

    def _models_bytes(
        self, pending: Sequence[Trial], vocabulary: int, *, keep_models: bool
    ) -> tuple[int, int, int]:
        """Return bytes of models at most and in the end, and of how many groups they then are.

        Goes through the trials as they are run: a group stays until all of it is done, and then
        the largest of an attribute may be the one that is ahead.
        """
        stored = {
            one.id: _BYTES_PER_WEIGHT
            * strategy(one.strategy).stored(
                one.key.transfer, len(one.keys), self._plan.base, vocabulary
            )
            for one in pending
            if one.size == self._plan.largest
        }
        waiting: dict[Group, list[str]] = {}
        for one in pending:
            if one.id in stored:
                waiting.setdefault(one.group, []).append(one.id)
        whole = {group: sum(stored[one] for one in ids) for group, ids in waiting.items()}
        if keep_models:
            total = sum(stored.values())
            return total, total, len(whole)
        ahead: dict[tuple[str, ...], int] = {}
        being_made = most = 0
        for one in pending:
            if one.id not in stored:
                continue
            being_made += stored[one.id]
            most = max(most, being_made + sum(ahead.values()))
            group = one.group
            waiting[group].remove(one.id)
            if not waiting[group]:
                being_made -= whole[group]
                ahead[one.attributes] = max(whole[group], ahead.get(one.attributes, 0))
        return most, sum(ahead.values()), len(ahead)

    def _passes(self, trial: Trial) -> float:
        """Return how many texts go forward in a trial: training, and judging all its rows."""
        plan = self._plan
        rows = [plan.rows_used(key.attribute, key.max_train) for key in trial.keys]
        trained = strategy(trial.strategy).passes(
            trial.key.transfer, rows, len(trial.sources), plan.base
        )
        return trained + sum(rows) + sum(plan.num_test[name] for name in trial.attributes)

    def _rate(self) -> tuple[float, str]:
        """Return seconds per text and forward pass, and where the number comes from."""
        done = [trial for trial in self._plan.trials if self.is_finished(trial)]
        passes = sum(map(self._passes, done))
        if passes:
            seconds = sum(self._rows[key].seconds for one in done for key in one.rows.values())
            return seconds / passes, f"{len(done)} finished runs of this folder"
        sources = {name for one in self._plan.trials for name in (one.source, *one.sources)}
        records = [
            entry.record
            for name, entry in self._plan.entries.items()
            if name in sources and entry.record.published is None
        ]
        seconds = sum(record.seconds.get("fine_tune", 0.0) for record in records)
        if seconds > 0:
            steps = sum((record.num_used or 0) * record.fine_tune.num_epochs for record in records)
            return (
                seconds / (PASSES_PER_STEP * steps),
                f"the fine-tuning of {len(records)} sources of the pool",
            )
        guess = DEFAULT_SECONDS_PER_TEXT
        return guess, f"a guess of {guess} s per text and pass"


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
            hint="--out on another disk, or fewer sources or strategies",
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _free_bytes(out: Path) -> int:
    """Return the free disk where a folder is or will be."""
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(there).free


def _recorded(plan: Plan, out: Path) -> dict[str, RunRow]:
    if not (out / LEDGER_NAME).is_file():
        return {}
    with Ledger(out / LEDGER_NAME) as ledger:
        return finished_rows(plan, ledger, OutputStore(out))


def _tuning_seconds(record: SourceRecord, seconds_per_text: float) -> float:
    """Return the seconds that fine-tuning took; for a fetched map those that it would take."""
    if record.published is None:
        return record.seconds.get("fine_tune", 0.0)
    rows = record.num_used or record.fine_tune.max_examples
    return PASSES_PER_STEP * record.fine_tune.num_epochs * rows * seconds_per_text
