"""Prove a ranking: train with its picks and with controls, and measure what they gain.

Per arm, the base model is fine-tuned on the source task (once for all attributes), then trained
on the attribute's training rows and judged on its test rows. Every finished run is a row of the
ledger in the output folder, so the same command goes on where a killed one stopped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from esm.base import base_config, load_base
from esm.errors import (
    EncoderError,
    EsmError,
    FitError,
    HubError,
    MapError,
    PoolError,
    ShapeError,
    TaskError,
    ValidationError,
)
from esm.estimate import Estimate, estimate
from esm.intermediate import MODELS_NAME, TunedModels, keep_only
from esm.ledger import LEDGER_NAME, Ledger, RunKey, RunRow
from esm.metrics import performance
from esm.outcome import RESULT_NAME, Validation, summarise
from esm.plan import Plan, Run, ValidationConfig, plan_validation, used_rows
from esm.pool import Pool
from esm.ranking import Ranking
from esm.runtime import note
from esm.storage import folder_lock, sweep
from esm.tasks.read import load_target
from esm.tasks.split import sample
from esm.tasks.task import Examples, Target, Task
from esm.trained import TrainedStore
from esm.transfer.registry import strategy

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedConfig

# What may be wrong with one arm. A full disk or another process in the folder ends the run.
_ARM_ERRORS = (
    EncoderError,
    FitError,
    HubError,
    MapError,
    PoolError,
    ShapeError,
    TaskError,
    ValidationError,
)

# All arms train on the same rows, whatever their seed.
_SAMPLE_SEED = 0


def validate_ranking(
    ranking: Ranking,
    config: ValidationConfig,
    out: Path,
    *,
    pool: Pool | None = None,
    device: str = "auto",
    strict: bool = False,
    keep_models: bool = False,
) -> Validation:
    """Train with the picks of a ranking and with controls, and measure the gain.

    Cost: a fine-tuning per source and source seed that the pool does not keep, then a training
    run per arm, attribute and seed; see :func:`dry_run`.

    Args:
        ranking: The ranking to prove.
        config: Settings.
        out: Folder for the ledger (``ledger.sqlite``), the result (``validation.json``) and,
            what the winners need to label new texts: what was trained on the target
            (``trained/``) and the tuned encoders it started from (``models/``).
        pool: The pool; None for the one that the ranking names.
        device: Device to compute on.
        strict: Raise for the first arm that fails instead of leaving it out.
        keep_models: Keep the models of all arms; without it, a command that has something to run
            keeps those of the winner of each attribute and removes all others, those of earlier
            commands included.

    Raises:
        ValidationError: The ranking does not fit the target or the pool any more, or every run
            failed.
        EncoderError: The base model cannot be loaded, or the strategy cannot train it.
        PoolError: The base model is not the one the pool was built with.
        BusyError: Another process is writing to the folder.
        StorageError: The folder cannot be written; finished runs are kept.
    """
    pool = pool or Pool.open(Path(ranking.pool))
    target = load_target(ranking.target_spec)
    plan = plan_validation(ranking, pool, target, config, strict=strict)
    models = out / MODELS_NAME
    with folder_lock(out), Ledger(out / LEDGER_NAME) as ledger:
        sweep(out)
        sweep(models)
        store = TrainedStore(out)
        sweep(store.folder)
        book = _Book(plan, ranking, ledger, out, store, keep_models=keep_models)
        something_to_do = bool(book.pending or book.missing())
        if something_to_do:
            base = load_base(pool, device)
            strategy(config.strategy).check(base.model.config)
            lab = _Lab(target, TunedModels(pool, base, models), store, config)
            _run_all(book.pending, book, lab, strict=strict)
            _run_all(book.missing(), book, lab, strict=strict)
        result = book.close()
        if something_to_do and not keep_models:
            winning = book.winning()
            store.remove_all_but(winning)
            keep_only(models, winning)
    return result


@dataclass(frozen=True)
class _Lab:
    """What runs are made from, and where their models go."""

    target: Target
    tuned: TunedModels
    store: TrainedStore
    config: ValidationConfig


def _run_all(runs: Sequence[Run], book: _Book, lab: _Lab, *, strict: bool) -> None:
    for run in runs:
        try:
            row = _measure(run, lab.target.attributes[run.attribute], lab)
        except _ARM_ERRORS as error:
            if strict:
                raise
            book.fail(run, error)
        else:
            book.finish(row)


def dry_run(
    ranking: Ranking, config: ValidationConfig, out: Path, *, pool: Pool | None = None
) -> tuple[Plan, Estimate]:
    """Return what :func:`validate_ranking` would do and cost; nothing is written.

    Raises:
        ValidationError: As :func:`validate_ranking`.
        EncoderError: The strategy cannot train the base model.
    """
    pool = pool or Pool.open(Path(ranking.pool))
    plan = plan_validation(ranking, pool, load_target(ranking.target_spec), config)
    architecture = _architecture(pool)
    if architecture is not None:
        strategy(config.strategy).check(architecture)
    vocabulary = getattr(architecture, "vocab_size", None)
    return plan, estimate(plan, pool, out, vocabulary=vocabulary)


def _architecture(pool: Pool) -> PreTrainedConfig | None:
    """Return the base model's configuration; None where it cannot be read, for instance offline."""
    from esm.backbone import read_config

    base = base_config(pool)
    try:
        return read_config(base.model, base.revision)
    except EncoderError as error:
        note(f"the base model is not looked at: {error}")
        return None


def is_run(path: Path) -> bool:
    """Whether a path is the folder of a validation."""
    return (path / LEDGER_NAME).is_file()


def results_table(path: Path) -> pd.DataFrame | Path:
    """Return results that :func:`~esm.evaluate.evaluate_rankings` reads.

    Args:
        path: The folder of a validation, of which the runs of the last command are taken; or a
            table, which is returned as it is.
    """
    if not is_run(path):
        return path
    keys = Validation.load(path).keys if (path / RESULT_NAME).is_file() else None
    with Ledger(path / LEDGER_NAME) as ledger:
        return ledger.to_truth(keys)


class _Book:
    """What is done and what failed so far; the result on disk follows every run."""

    def __init__(
        self,
        plan: Plan,
        ranking: Ranking,
        ledger: Ledger,
        out: Path,
        store: TrainedStore,
        *,
        keep_models: bool,
    ) -> None:
        self._store = store
        self._keep_models = keep_models
        self._plan = plan
        self._ranking = ranking
        self._ledger = ledger
        self._out = out
        recorded = [ledger.get(run.key.content_hash()) for run in plan.runs]
        self._rows = {row.key: row for row in recorded if row is not None}
        self._failed: list[tuple[Run, str]] = []
        self.pending = [run for run in plan.runs if run.key.content_hash() not in self._rows]
        if self._rows:
            note(f"{len(self._rows)} of {len(plan.runs)} runs are in {ledger.path} already")
        self._result = self._save()

    def winning(self) -> list[RunKey]:
        """Return the runs of the arms that are ahead."""
        winners = self._result.winners
        return [run.key for run in self._plan.runs if winners.get(run.attribute) == run.source]

    def missing(self) -> list[Run]:
        """Return the finished runs of the arms that are ahead whose models are not there."""
        lost = {key.content_hash() for key in self.winning() if not self._store.has(key)}
        return [run for run in self._plan.runs if run.key.content_hash() in lost]

    def finish(self, row: RunRow) -> None:
        """Put a finished run into the ledger and the result."""
        self._ledger.record(row)
        self._rows.setdefault(row.key, row)  # a model that was lost leaves its row as it was
        self._note(f"{row.attribute} after {row.source}, seed {row.seed}: {row.value:.3f}")
        self._save()
        if not self._keep_models:
            self._remove_losers(row.attribute)

    def _remove_losers(self, attribute: str) -> None:
        """Remove the models of complete arms that are behind, so that few lie on disk at once."""
        winning = {key.content_hash() for key in self.winning()}
        runs = [run for run in self._plan.runs if run.attribute == attribute]
        incomplete = {run.source for run in runs if run.key.content_hash() not in self._rows}
        for run in runs:
            if run.source not in incomplete and run.key.content_hash() not in winning:
                self._store.remove(run.key)

    def fail(self, run: Run, error: EsmError) -> None:
        """Remember that a run failed."""
        self._failed.append((run, str(error)))
        self._note(f"{run.attribute} after {run.source}, seed {run.key.seed} failed: {error}")
        self._save()

    def close(self) -> Validation:
        """Return the result.

        Raises:
            ValidationError: Not a single run was finished.
        """
        if not self._rows:
            raise ValidationError(
                f"all {len(self._failed)} runs failed; the first: {self._failed[0][1]}",
                expected="at least one run that can be finished",
            )
        return self._save()

    def _note(self, message: str) -> None:
        done = len(self._rows) + len(self._failed)
        note(f"[{done}/{len(self._plan.runs)}] {message}")

    def _save(self) -> Validation:
        self._result = summarise(self._plan, self._ranking, self._rows, self._failed)
        self._result.save(self._out)
        return self._result


def _measure(run: Run, task: Task, lab: _Lab) -> RunRow:
    """Train on an attribute from the run's encoder, judge by its test rows, keep the model."""
    config = lab.config
    encoder = lab.tuned.encoder(run.key)
    rows = _training_rows(task, config)
    started = time.monotonic()
    transferred = strategy(config.strategy).fit(encoder, task, rows, config.transfer, run.key.seed)
    outputs = transferred.model.predict(task.test.texts, task.test.pairs)
    metrics = performance(task, task.test.labels, outputs)
    seconds = time.monotonic() - started
    lab.store.keep(
        run.key,
        task,
        transferred.model,
        encoder,
        lab.tuned.base.config,
        size=len(rows),
        seed=_SAMPLE_SEED,
    )
    return RunRow(
        key=run.key.content_hash(),
        target=run.key.target,
        attribute=run.attribute,
        source=run.source,
        strategy=config.strategy,
        seed=run.key.seed,
        source_seed=run.key.source_seed,
        metric=task.metric,
        value=metrics[task.metric],
        metrics=metrics,
        trained_parameters=transferred.trained_parameters,
        total_parameters=transferred.total_parameters,
        num_train=len(rows),
        num_test=len(task.test),
        seconds=seconds,
        config_hash=run.key.config_hash(),
        versions=_versions(),
    )


def _training_rows(task: Task, config: ValidationConfig) -> Examples:
    return sample(task.train, task.problem, used_rows(len(task.train), config), _SAMPLE_SEED)


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import version

    libraries = {name: version(name) for name in ("esm-transfer", "torch", "transformers")}
    return libraries | {"python": sys.version.split()[0]}
