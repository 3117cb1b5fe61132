"""Prove a ranking: train with its picks and with controls, and measure what they gain.

Per arm, the base model with the source's delta, or fine-tuned on the source task (once for all
attributes), is trained on the attribute's training rows and judged on its test rows. Every
finished run is a row of the ledger in the output folder, so the same command goes on where a
killed one stopped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import (
    EncoderError,
    FitError,
    HubError,
    MapError,
    PoolError,
    ShapeError,
    TaskError,
    ValidationError,
)
from esm.common.runtime import note
from esm.common.storage import folder_lock, sweep
from esm.metrics.confusion import confusion_matrix
from esm.metrics.predictions import performance
from esm.pool.base_model import base_config, load_base
from esm.pool.pool import Pool
from esm.ranking.result import Ranking
from esm.strategies.registry import strategy
from esm.tasks.load import load_targets
from esm.tasks.splits.draw import sample
from esm.tasks.task import Examples, Target, Task
from esm.trials.budget import Clock, arms, fit_plan, format_duration
from esm.trials.costs import Costs, Estimate, check_disk
from esm.trials.encoders import MODELS_NAME, TunedModels, keep_only
from esm.trials.journal import Book
from esm.trials.ledger import LEDGER_NAME, Ledger, RunRow
from esm.trials.models import TrainedStore
from esm.trials.plan import Plan, Run, plan_validation, used_rows
from esm.trials.settings import ValidationConfig
from esm.trials.validation import RESULT_NAME, Validation

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

    Cost: a fine-tuning per source and source seed of which the pool keeps neither a delta nor the
    tuned encoder, then a training run per arm, attribute, seed and fold; see :func:`dry_run`.

    Args:
        ranking: The ranking to prove.
        config: Settings.
        out: Folder for the ledger (``ledger.sqlite``), the result (``validation.json``) and
            what the winners need to label new texts: what was trained on the target
            (``trained/``) and the tuned encoders it started from (``models/``).
        pool: The pool; None for the one that the ranking names.
        device: Device to compute on.
        strict: Raise for the first arm that fails instead of leaving it out.
        keep_models: Keep the models of all arms; without it, a command that has something to run
            keeps those of the winner of each attribute and removes all others, those of earlier
            commands included.
        budget: Seconds for this command; None for as long as it takes. What does not fit by the
            estimate is left out (see :mod:`esm.trials.budget`), and no arm is begun when the time
            is over.

    Raises:
        ValidationError: The ranking does not fit the target or the pool any more, or every run
            failed.
        EncoderError: The base model cannot be loaded, or the strategy cannot train it.
        PoolError: The base model is not the one the pool was built with.
        BusyError: Another process is writing to the folder.
        StorageError: The folder cannot be written, finished runs being kept; or the disk has no
            room for the models.
    """
    started = time.monotonic()
    pool = pool or Pool.open(Path(ranking.pool))
    targets = load_targets(ranking.target_spec)
    plan = plan_validation(ranking, pool, targets, config, strict=strict)
    models = out / MODELS_NAME
    with folder_lock(out), Ledger(out / LEDGER_NAME) as ledger:
        sweep(out)
        sweep(models)
        store = TrainedStore(out)
        sweep(store.folder)
        costs = Costs(plan, pool, out)
        if budget is not None:
            plan = fit_plan(plan, costs, budget)
            if plan.left_out:
                note(
                    f"{len(plan.left_out)} arms do not fit into the budget of"
                    f" {format_duration(budget)}"
                )
        book = Book(plan, ranking, ledger, out, store, keep_models=keep_models)
        something_to_do = bool(book.pending or book.missing())
        if something_to_do:
            base = load_base(pool, device, model=ranking.base)
            strategy(config.strategy).check(base.model.config)
            vocabulary = getattr(base.model.config, "vocab_size", None)
            cost = costs.estimate(plan.runs, vocabulary=vocabulary, keep_models=keep_models)
            check_disk(cost, out)
            clock = Clock(started, budget, costs)
            lab = _Lab(targets, TunedModels(pool, base, models), store, config)
            _run_all(book, lab, clock, strict=strict)
            for run in book.missing():
                _run_one(run, book, lab, strict=strict)
        result = book.close()
        if something_to_do and not keep_models:
            winning = book.winning()
            store.remove_all_but(winning)
            keep_only(models, winning)
    return result


@dataclass(frozen=True)
class _Lab:
    """What runs are made from, and where their models go."""

    targets: Sequence[Target]
    tuned: TunedModels
    store: TrainedStore
    config: ValidationConfig


def _run_all(book: Book, lab: _Lab, clock: Clock, *, strict: bool) -> None:
    waiting = arms(book.pending)
    while waiting:
        if clock.is_over():
            book.stop(clock, waiting)
            return
        for run in waiting.pop(0):
            _run_one(run, book, lab, strict=strict)


def _run_one(run: Run, book: Book, lab: _Lab, *, strict: bool) -> None:
    task = lab.targets[run.key.fold or 0].attributes[run.attribute]
    try:
        row = _measure(run, task, lab)
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
    architecture = _architecture(pool, ranking.base)
    if architecture is not None:
        strategy(config.strategy).check(architecture)
    vocabulary = getattr(architecture, "vocab_size", None)
    costs = Costs(plan, pool, out)
    if budget is not None:
        plan = fit_plan(plan, costs, budget)
    return plan, costs.estimate(plan.runs, vocabulary=vocabulary, keep_models=keep_models)


def _architecture(pool: Pool, model: str | None) -> PreTrainedConfig | None:
    """Return the base model's configuration; None where it cannot be read, for instance offline."""
    from esm.encoder.load import read_config

    base = base_config(pool, model)
    try:
        return read_config(base.model, base.revision)
    except EncoderError as error:
        note(f"the base model is not looked at: {error}")
        return None


def is_run(path: Path) -> bool:
    """Whether a path is the folder of a validation."""
    return (path / LEDGER_NAME).is_file()


def results_table(path: Path) -> pd.DataFrame | Path:
    """Return results that :func:`~esm.metrics.evaluate.evaluate_rankings` reads.

    Args:
        path: The folder of a validation, of which the runs of the last command are taken; or a
            table, which is returned as it is.
    """
    if not is_run(path):
        return path
    keys = Validation.load(path).keys if (path / RESULT_NAME).is_file() else None
    with Ledger(path / LEDGER_NAME) as ledger:
        return ledger.to_truth(keys)


def _measure(run: Run, task: Task, lab: _Lab) -> RunRow:
    """Train on an attribute from the run's encoder, judge by its test rows, keep the model."""
    config = lab.config
    encoder = lab.tuned.encoder(run.key)
    rows = _training_rows(task, config)
    started = time.monotonic()
    transferred = strategy(config.strategy).fit(encoder, task, rows, config.transfer, run.key.seed)
    outputs = transferred.model.predict(task.test.texts, task.test.pairs)
    metrics = performance(task, task.test.labels, outputs)
    confusion = confusion_matrix(task, task.test.labels, outputs)
    seconds = time.monotonic() - started
    lab.store.keep(
        run.key,
        task,
        transferred.model,
        encoder,
        lab.tuned.base.with_chunks(run.key.max_chunks).config,
        size=len(rows),
        seed=_SAMPLE_SEED,
        source_licence=lab.tuned.licence(run.key),
    )
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
        stored_parameters=transferred.stored_parameters,
        num_train=len(rows),
        num_test=len(task.test),
        seconds=seconds,
        peak_memory=transferred.peak_memory,
        remarks=(*transferred.remarks, *lab.tuned.remarks(run.key)),
        config_hash=run.key.config_hash(),
        versions=library_versions(),
    )


def _training_rows(task: Task, config: ValidationConfig) -> Examples:
    return sample(task.train, task.problem, used_rows(len(task.train), config), _SAMPLE_SEED)


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of what a result depends on, by name."""
    from importlib.metadata import version

    libraries = {name: version(name) for name in ("esm-transfer", "torch", "transformers")}
    return libraries | {"python": sys.version.split()[0]}
