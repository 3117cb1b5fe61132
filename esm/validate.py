"""Prove a ranking: train with its picks and with controls, and measure what they gain.

Per arm, the base model is fine-tuned on the source task (once for all attributes), then trained
on the attribute's training rows and judged on its test rows. Every finished run is a row of the
ledger in the output folder, so the same command goes on where a killed one stopped.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from esm.base import base_config, load_base
from esm.budget import Clock, Unit, arms, fit_plan, spelled
from esm.confusion import confusion_matrix
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
from esm.estimate import Costs, Estimate, check_disk
from esm.intermediate import MODELS_NAME, TunedModels
from esm.ledger import LEDGER_NAME, Ledger, RunKey, RunRow
from esm.metrics import performance
from esm.outcome import RESULT_NAME, Validation, summarise
from esm.plan import Plan, Run, ValidationConfig, plan_validation, used_rows
from esm.pool import Pool
from esm.ranking import Ranking
from esm.runtime import note
from esm.storage import folder_lock, sweep
from esm.tasks.read import load_targets
from esm.tasks.split import sample
from esm.tasks.task import Examples, Target, Task
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
    budget: float | None = None,
) -> Validation:
    """Train with the picks of a ranking and with controls, and measure the gain.

    Cost: a fine-tuning per source and source seed that the pool does not keep, then a training
    run per arm, attribute, seed and fold; see :func:`dry_run`.

    Args:
        ranking: The ranking to prove.
        config: Settings.
        out: Folder for the ledger (``ledger.sqlite``), the result (``validation.json``) and,
            during the run, the tuned encoders (``models/``).
        pool: The pool; None for the one that the ranking names.
        device: Device to compute on.
        strict: Raise for the first arm that fails instead of leaving it out.
        keep_models: Keep the tuned encoders when all is done; without it, a command that has
            something to run removes them, those of earlier commands included.
        budget: Seconds for this command; None for as long as it takes. What does not fit by the
            estimate is left out (see :mod:`esm.budget`), and no arm is begun when the time is over.

    Raises:
        ValidationError: The ranking does not fit the target or the pool any more, or every run
            failed.
        EncoderError: The base model cannot be loaded, or the strategy cannot train it.
        PoolError: The base model is not the one the pool was built with.
        BusyError: Another process is writing to the folder.
        StorageError: The folder cannot be written, finished runs being kept; or the disk has no
            room for the tuned encoders.
    """
    started = time.monotonic()
    pool = pool or Pool.open(Path(ranking.pool))
    targets = load_targets(ranking.target_spec)
    plan = plan_validation(ranking, pool, targets, config, strict=strict)
    models = out / MODELS_NAME
    with folder_lock(out), Ledger(out / LEDGER_NAME) as ledger:
        sweep(out)
        sweep(models)
        costs = Costs(plan, pool, out)
        if budget is not None:
            plan = fit_plan(plan, costs, budget)
            if plan.left_out:
                note(f"{len(plan.left_out)} arms do not fit into the budget of {spelled(budget)}")
        book = _Book(plan, ranking, ledger, out)
        if book.pending:
            base = load_base(pool, device)
            strategy(config.strategy).check(base.model.config)
            vocabulary = getattr(base.model.config, "vocab_size", None)
            check_disk(costs.estimate(plan.runs, vocabulary=vocabulary), out)
            clock = Clock(started, budget, costs)
            tuned = TunedModels(pool, base, models)
            _run_all(book, targets, tuned, config, clock, strict=strict)
        result = book.close()
        if book.pending and not keep_models:
            shutil.rmtree(models, ignore_errors=True)
    return result


def _run_all(
    book: _Book,
    targets: Sequence[Target],
    tuned: TunedModels,
    config: ValidationConfig,
    clock: Clock,
    *,
    strict: bool,
) -> None:
    waiting = arms(book.pending)
    while waiting:
        if clock.is_over():
            book.stop(clock, waiting)
            return
        for run in waiting.pop(0):
            task = targets[run.key.fold or 0].attributes[run.attribute]
            try:
                row = _measure(run, task, tuned, config)
            except _ARM_ERRORS as error:
                if strict:
                    raise
                book.fail(run, error)
            else:
                book.finish(row)


def dry_run(
    ranking: Ranking,
    config: ValidationConfig,
    out: Path,
    *,
    pool: Pool | None = None,
    keep_models: bool = False,
    budget: float | None = None,
) -> tuple[Plan, Estimate]:
    """Return what :func:`validate_ranking` would do and cost; nothing is written.

    Raises:
        ValidationError: As :func:`validate_ranking`.
        EncoderError: The strategy cannot train the base model.
    """
    pool = pool or Pool.open(Path(ranking.pool))
    plan = plan_validation(ranking, pool, load_targets(ranking.target_spec), config)
    architecture = _architecture(pool)
    if architecture is not None:
        strategy(config.strategy).check(architecture)
    vocabulary = getattr(architecture, "vocab_size", None)
    costs = Costs(plan, pool, out)
    if budget is not None:
        plan = fit_plan(plan, costs, budget)
    return plan, costs.estimate(plan.runs, vocabulary=vocabulary, keep_models=keep_models)


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

    def __init__(self, plan: Plan, ranking: Ranking, ledger: Ledger, out: Path) -> None:
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
        self._save()

    def finish(self, row: RunRow) -> None:
        """Put a finished run into the ledger and the result."""
        self._ledger.record(row)
        self._rows[row.key] = row
        self._note(f"{_name(row)}: {row.value:.3f}")
        self._save()

    def fail(self, run: Run, error: EsmError) -> None:
        """Remember that a run failed."""
        self._failed.append((run, str(error)))
        self._note(f"{_name(run.key)} failed: {error}")
        self._save()

    def stop(self, clock: Clock, waiting: Sequence[Unit]) -> None:
        """Leave out the arms that wait, for want of time.

        Raises:
            ValidationError: Nothing was run or tried before.
        """
        if not self._rows and not self._failed:
            raise ValidationError(
                f"the budget of {spelled(clock.budget or 0)} was used up before the first run",
                expected="time to load the data and the base model, and for a run",
                hint="a longer --budget",
            )
        self._plan = clock.rest(self._plan, waiting)
        note(f"the time is over; {len(waiting)} arms are left out")
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
        result = summarise(self._plan, self._ranking, self._rows, self._failed)
        result.save(self._out)
        return result


def _name(run: RunKey | RunRow) -> str:
    fold = "" if run.fold is None else f", fold {run.fold}"
    return f"{run.attribute} after {run.source}, seed {run.seed}{fold}"


def _measure(run: Run, task: Task, tuned: TunedModels, config: ValidationConfig) -> RunRow:
    """Train on an attribute from the run's encoder, and judge by its test rows."""
    encoder = tuned.encoder(run.key)
    rows = _training_rows(task, config)
    started = time.monotonic()
    transferred = strategy(config.strategy).fit(encoder, task, rows, config.transfer, run.key.seed)
    outputs = transferred.model.predict(task.test.texts, task.test.pairs)
    metrics = performance(task, task.test.labels, outputs)
    confusion = confusion_matrix(task, task.test.labels, outputs)
    return RunRow(
        key=run.key.content_hash(),
        target=run.key.target,
        attribute=run.attribute,
        source=run.source,
        strategy=config.strategy,
        seed=run.key.seed,
        source_seed=run.key.source_seed,
        fold=run.key.fold,
        metric=task.metric,
        value=metrics[task.metric],
        metrics=metrics,
        confusion=None if confusion is None else confusion.tolist(),
        trained_parameters=transferred.trained_parameters,
        total_parameters=transferred.total_parameters,
        num_train=len(rows),
        num_test=len(task.test),
        seconds=time.monotonic() - started,
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
