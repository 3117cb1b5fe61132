"""Run trials, and sum up what they found: ``esm validate`` and ``esm compare``.

Every finished trial is a row of the ledger in the output folder for each of its attributes, beside
its outputs for the test rows, so the same command goes on where a killed one stopped. Whoever runs
the trials, ledger, results and models are written here alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from esm.common.errors import EsmError, ValidationError
from esm.common.storage import folder_lock, sweep
from esm.pool.pool import Pool
from esm.ranking.result import Ranking
from esm.strategies.registry import strategy
from esm.trials.budget import Clock, Unit, arms, fit_plan, format_duration
from esm.trials.costs import Costs, Estimate, check_disk, finished_rows
from esm.trials.encoders import MODELS_NAME, keep_only
from esm.trials.executor import Executor, Serial
from esm.trials.ledger import LEDGER_NAME, Ledger
from esm.trials.models import ModelStore
from esm.trials.open import Opened, open_validation
from esm.trials.outputs import OutputStore
from esm.trials.results import Comparison, Validation
from esm.trials.settings import ValidationConfig
from esm.trials.summary import Trials
from esm.trials.summary_sources import summarise_sources
from esm.trials.summary_strategies import summarise_strategies
from esm.trials.trial import Plan, Trial
from esm.trials.worker import Finished, Worker

_LOGGER = logging.getLogger(__name__)


def validate_ranking(
    ranking: Ranking,
    config: ValidationConfig,
    out: Path,
    *,
    pool: Pool | None = None,
    predictions: Mapping[str, Path] | None = None,
    device: str = "auto",
    strict: bool = False,
    keep_models: bool = False,
    budget: float | None = None,
) -> Validation:
    """Train with the picks of a ranking and with controls, and measure the gain.

    Cost: a fine-tuning per source and source seed that the pool does not keep, then a training
    per arm, attribute, number of examples, seed and fold; see :func:`dry_run`.

    Args:
        ranking: The ranking to prove.
        config: Settings.
        out: As for :func:`run_trials`.
        pool: The pool; None for the one that the ranking names.
        predictions: Files of predicted labels of outside systems, by their names.
        device: Device to compute on.
        strict: Raise for the first arm that fails instead of leaving it out.
        keep_models: As for :func:`run_trials`.
        budget: As for :func:`run_trials`.

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
    opened = open_validation(
        ranking, config, pool=pool, predictions=predictions, device=device, strict=strict
    )
    return cast(
        Validation,
        run_trials(
            opened, out, strict=strict, keep_models=keep_models, budget=budget, started=started
        ),
    )


def compare_strategies(
    opened: Opened,
    out: Path,
    *,
    strict: bool = False,
    keep_models: bool = False,
    budget: float | None = None,
) -> Comparison:
    """Train strategies on the attributes of a target and compare them.

    Cost: a training per strategy, attribute (or for all together), number of examples, seed and
    fold; a fine-tuning per source that the pool does not keep. See :func:`estimate`.

    Args:
        opened: What is to be compared, see :func:`~esm.trials.open.open_comparison`.
        out: As for :func:`run_trials`.
        strict: Raise for the first training that fails instead of leaving it out.
        keep_models: As for :func:`run_trials`.
        budget: As for :func:`run_trials`.

    Raises:
        EsmError: As :func:`run_trials`.
    """
    found = run_trials(opened, out, strict=strict, keep_models=keep_models, budget=budget)
    return cast(Comparison, found)


def run_trials(
    opened: Opened,
    out: Path,
    *,
    strict: bool = False,
    keep_models: bool = False,
    budget: float | None = None,
    executor: Executor | None = None,
    started: float | None = None,
) -> Validation | Comparison:
    """Run the trials of a plan that are not done, and sum up all of them.

    Args:
        opened: What is to be run.
        out: Folder for the ledger (``ledger.sqlite``), the result (``validation.json`` or
            ``comparison.json``), what each training found (``cells/``) and what the best need to
            label new texts: what was trained on the target (``trained/``) and the tuned encoders it
            started from (``models/``).
        strict: Raise for the first trial that fails instead of leaving it out.
        keep_models: Keep all models; without it, a command that has something to run keeps those
            of the best of each attribute and removes all others, those of earlier commands
            included.
        budget: Seconds for this command; None for as long as it takes. What does not fit by the
            estimate is left out (see :mod:`esm.trials.budget`), and no arm is begun when the time
            is over.
        executor: Runs the trials; None for this process.
        started: When the command began, by ``time.monotonic``; None for now.

    Raises:
        ValidationError: Every trial failed, or the budget is too short for any.
        EncoderError: The base model cannot be loaded, or a strategy cannot train it.
        BusyError: Another process is writing to the folder.
        StorageError: The folder cannot be written, finished runs being kept; or the disk has no
            room for the models.
    """
    started = time.monotonic() if started is None else started
    with folder_lock(out), Ledger(out / LEDGER_NAME) as ledger:
        for folder in (out, out / MODELS_NAME, ModelStore(out).folder, OutputStore(out).folder):
            sweep(folder)
        plan, costs = _fitted(opened.plan, out, budget)
        if len(plan.left_out) > len(opened.plan.left_out):
            kinds = len(plan.left_out)
            _LOGGER.warning(
                f"{kinds} arms do not fit into the budget of {format_duration(budget or 0)}"
            )
        run = _Run(opened, plan, ledger, out, strict=strict, keep_models=keep_models)
        waiting = costs.pending(plan.trials)
        worked = bool(waiting or run.missing())
        if worked:
            architecture = opened.encoder.model.config
            for name in plan.strategies:
                strategy(name).check(architecture)
            vocabulary = getattr(architecture, "vocab_size", None)
            check_disk(
                costs.estimate(plan.trials, vocabulary=vocabulary, keep_models=keep_models), out
            )
            if executor is None:
                executor = Serial(Worker(opened.shared(out), opened.encoder, opened.pool))
            clock = Clock(started, budget, costs)
            units: list[Unit] = [(one,) for one in waiting] if budget is None else arms(waiting)
            run.take_all(executor, run.as_time_allows(units, clock))
            run.take_all(executor, iter(run.missing()))
        return run.close(tidy=worked)


def estimate(
    opened: Opened, out: Path, *, keep_models: bool = False, budget: float | None = None
) -> tuple[Plan, Estimate]:
    """Return what :func:`run_trials` would do and cost; nothing is written.

    Raises:
        ValidationError: The budget is too short for any trial.
    """
    plan, costs = _fitted(opened.plan, out, budget)
    vocabulary = getattr(opened.architecture(), "vocab_size", None)
    return plan, costs.estimate(plan.trials, vocabulary=vocabulary, keep_models=keep_models)


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
    opened = open_validation(ranking, config, pool=pool)
    architecture = opened.architecture()
    if architecture is not None:
        strategy(config.strategy).check(architecture)
    return estimate(opened, out, keep_models=keep_models, budget=budget)


def _fitted(plan: Plan, out: Path, budget: float | None) -> tuple[Plan, Costs]:
    costs = Costs(plan, out)
    return (plan if budget is None else fit_plan(plan, costs, budget)), costs


class _Run:
    """What is done and what failed so far; the result on disk follows every trial."""

    def __init__(
        self,
        opened: Opened,
        plan: Plan,
        ledger: Ledger,
        out: Path,
        *,
        strict: bool,
        keep_models: bool,
    ) -> None:
        self._opened = opened
        self._plan = plan
        self._ledger = ledger
        self._out = out
        self._strict = strict
        self._keep_models = keep_models
        self._models, self._outputs = ModelStore(out), OutputStore(out)
        self._rows = finished_rows(plan, ledger, self._outputs)
        self._failed: list[tuple[Trial, str]] = []
        if done := sum(map(self._is_done, plan.trials)):
            _LOGGER.info(f"{done} of {len(plan.trials)} runs are in {ledger.path} already")
        self._result = self._save()

    def missing(self) -> list[Trial]:
        """Return the finished trials of the best whose models are not there."""
        return [one for one in self._best() if not self._models.has(one)]

    def as_time_allows(self, units: list[Unit], clock: Clock) -> Iterator[Trial]:
        """Return the trials of arms one by one, until the time is over.

        Raises:
            ValidationError: It was over before anything was run or tried.
        """
        waiting = list(units)
        while waiting:
            if clock.is_over():
                self._stop(clock, waiting)
                return
            yield from waiting.pop(0)

    def take_all(self, executor: Executor, trials: Iterator[Trial]) -> None:
        """Have trials run, and keep what they find.

        Raises:
            EsmError: One failed, and that is an error.
        """
        for trial, found in executor.run(trials):
            if isinstance(found, EsmError):
                if self._strict:
                    raise found
                self._failed.append((trial, str(found)))
                _LOGGER.warning(self._placed(f"{_name(trial)} failed: {found}"))
                self._result = self._save()
            else:
                self._finish(trial, found)

    def close(self, *, tidy: bool) -> Validation | Comparison:
        """Tell what can be told apart, and return the result.

        Args:
            tidy: Remove the models that are not the best's, unless all are kept.

        Raises:
            ValidationError: Not a single trial was finished.
        """
        if not self._rows:
            raise ValidationError(
                f"all {len(self._failed)} runs failed; the first: {self._failed[0][1]}",
                expected="at least one run that can be finished",
            )
        _LOGGER.info(f"telling the {'strategies' if self._plan.is_comparison else 'sources'} apart")
        self._result = self._save(tested=True)
        if tidy and not self._keep_models:
            best = self._best()
            self._models.remove_all_but(best)
            keep_only(self._out / MODELS_NAME, [one.key for one in best])
        return self._result

    def _finish(self, trial: Trial, found: Finished) -> None:
        if found.model is not None:
            self._models.keep(trial, found.model)
        self._outputs.keep(trial, found.record, found.outputs)
        for row in found.rows:
            self._ledger.record(row)
            self._rows.setdefault(row.key, row)  # a model that was lost leaves its row as it was
        values = ", ".join(f"{row.value:.3f}" for row in found.rows)
        _LOGGER.info(self._placed(f"{_name(trial)}: {values}"))
        self._result = self._save()
        if not self._keep_models:
            self._remove_losers()

    def _remove_losers(self) -> None:
        """Remove the models of complete groups that are behind, so that few lie on disk at once."""
        largest = self._plan.of_size(self._plan.largest)
        open_groups = {one.group for one in largest if not self._is_done(one)}
        best = {one.id for one in self._best()}
        self._models.remove(
            one for one in largest if one.id not in best and one.group not in open_groups
        )

    def _stop(self, clock: Clock, waiting: Sequence[Unit]) -> None:
        """Leave out the arms that wait, for want of time."""
        if not self._rows and not self._failed:
            raise ValidationError(
                f"the budget of {format_duration(clock.budget or 0)} was used up before the first"
                " run",
                expected="time to load the data and the base model, and for a run",
                hint="a longer --budget",
            )
        self._plan = clock.rest(self._plan, waiting)
        _LOGGER.warning(f"the time is over; {len(waiting)} arms are left out")
        self._result = self._save()

    def _best(self) -> list[Trial]:
        ids = {one for models in self._result.models.values() for one in models}
        return [one for one in self._plan.trials if one.id in ids]

    def _is_done(self, trial: Trial) -> bool:
        return all(key in self._rows for key in trial.rows.values())

    def _placed(self, message: str) -> str:
        done = sum(map(self._is_done, self._plan.trials)) + len(self._failed)
        return f"[{done}/{len(self._plan.trials)}] {message}"

    def _save(self, *, tested: bool = False) -> Validation | Comparison:
        trials = Trials(
            plan=self._plan,
            rows=self._rows,
            failed=self._failed,
            targets=self._opened.targets,
            outside=self._opened.outside,
            store=self._outputs,
            tested=tested,
        )
        ranking = self._opened.ranking
        result: Validation | Comparison
        if self._plan.is_comparison or ranking is None:
            result = summarise_strategies(trials)
        else:
            result = summarise_sources(trials, ranking)
        result.save(self._out)
        return result


def _name(trial: Trial) -> str:
    if trial.arm is None:
        what = f"{trial.strategy} on {trial.attribute}"
    else:
        what = f"{trial.attribute} after {trial.source}"
    fold = "" if trial.fold is None else f", fold {trial.fold}"
    return f"{what}, seed {trial.seed}{fold}"
