"""What is done for one trial: start encoder, sources, training, judgement.

A worker writes nothing but tuned encoders; what it finds goes back to who asked, who alone writes
ledger, results and models. Trials, :class:`Shared` and :class:`Finished` can be pickled, so that
workers may be other processes or machines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esm.common.arrays import Array
from esm.encoder.settings import EncoderConfig
from esm.metrics.calibration import CalibratedOn, calibration_rows
from esm.metrics.confusion import confusion_matrix
from esm.metrics.predictions import performance
from esm.pool.pool import Pool, PoolEntry
from esm.strategies.protocol import JointModel, Lesson, SourceTask
from esm.strategies.registry import strategy
from esm.strategies.settings import TransferConfig
from esm.tasks.splits.draw import held_out, sample
from esm.tasks.task import Examples, Target, Task
from esm.training.state import State
from esm.trials.encoders import TunedModels, source_task, tuned_key
from esm.trials.ledger import RunKey, RunRow
from esm.trials.models import TrainedModel
from esm.trials.outputs import AttributeOutcome, TrialRecord
from esm.trials.trial import Trial

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder


# All trials train on the same rows, whatever the seed.
_SAMPLE_SEED = 0

# Held-out rows by which a source in a chain is judged.
_MOST_JUDGED = 500


@dataclass(frozen=True)
class Shared:
    """What all trials of a plan have in common.

    Attributes:
        targets: The target, in all its folds.
        transfer: Settings of strategies.
        base: How the base model is loaded.
        device: Where to compute.
        pool: Folder of the pool; None where no source is used.
        models: Folder for the tuned encoders that the pool does not keep.
        largest: The size at which trials are compared: models of others are not kept.
        retrain: Whether further sources are fine-tuned again instead of starting from deltas.
    """

    targets: tuple[Target, ...]
    transfer: TransferConfig
    base: EncoderConfig
    device: str
    pool: Path | None
    models: Path
    largest: int | None
    retrain: bool = False


@dataclass(frozen=True)
class Finished:
    """What a trial found.

    Attributes:
        rows: For the ledger, one per attribute.
        record: What the training found and cost.
        outputs: (n, c) for the test rows, by attribute.
        model: The model; None where it is not to be kept.
    """

    rows: tuple[RunRow, ...]
    record: TrialRecord
    outputs: dict[str, Array]
    model: TrainedModel | None


class Worker:
    """Runs trials, one after another; the start encoder used last stays in memory.

    Args:
        shared: What the trials have in common.
        encoder: The base model, where it is loaded already.
        pool: The pool, where it is open already.
    """

    def __init__(
        self, shared: Shared, encoder: Encoder | None = None, pool: Pool | None = None
    ) -> None:
        self._shared = shared
        self._given = encoder, pool

    @cached_property
    def _tuned(self) -> TunedModels:
        from esm.encoder.encoder import Encoder

        shared = self._shared
        encoder, pool = self._given
        if encoder is None:
            encoder = Encoder.load(shared.base, shared.device)
        if pool is None and shared.pool is not None:
            pool = Pool.open(shared.pool)
        return TunedModels(pool, encoder, shared.models)

    def run(self, trial: Trial) -> Finished:
        """Train, and judge by the test rows.

        Raises:
            EsmError: A source cannot be had, or the training failed.
        """
        fold = next(fold for fold in self._shared.targets if fold.fold == trial.fold)
        tasks = {name: fold.attributes[name] for name in trial.attributes}
        lessons = {
            key.attribute: Lesson(task, _training_rows(task, key.max_train), task.test)
            for key in trial.keys
            for task in (tasks[key.attribute],)
        }
        encoder = self._tuned.encoder(trial.key)
        entries = [self._tuned.entry(name) for name in trial.sources]
        sources = [self._source(entry, trial.key) for entry in entries]
        started = time.monotonic()
        fitted = strategy(trial.strategy).fit(
            encoder, lessons, self._shared.transfer, trial.seed, sources
        )
        model = _Remembering(fitted.model)
        outputs = {
            name: model.predict(name, task.test.texts, task.test.pairs)
            for name, task in tasks.items()
        }
        seconds = (time.monotonic() - started) / len(tasks)
        found = {name: _judge(name, lessons[name], outputs[name], model) for name in tasks}
        kept = None
        if trial.size == self._shared.largest:
            kept = TrainedModel.of(
                trial,
                tasks,
                model,
                encoder,
                self._tuned.base.with_chunks(trial.key.max_chunks).config,
                sizes={name: len(lesson.rows) for name, lesson in lessons.items()},
                sample_seed=_SAMPLE_SEED,
                source_licence=self._tuned.licence(trial.key),
                further_licences={one.id: one.record.metadata.license for one in entries},
            )
        state = model.trained_state() if kept is None else kept.state
        record = TrialRecord(
            strategy=trial.strategy,
            attributes=found,
            seconds=fitted.seconds,
            trained_parameters=fitted.trained_parameters,
            stored_parameters=fitted.stored_parameters,
            shared_parameters=fitted.shared_parameters,
            total_parameters=fitted.total_parameters,
            stored_bytes=sum(array.nbytes for array in state.values()),
            peak_memory=fitted.peak_memory,
            remarks=(*fitted.remarks, *self._tuned.remarks(trial.key)),
            report=dict(fitted.report),
        )
        rows = tuple(
            _row(key, record, tasks[key.attribute], outputs[key.attribute], seconds)
            for key in trial.keys
        )
        return Finished(rows, record, outputs, kept)

    def _source(self, entry: PoolEntry, key: RunKey) -> SourceTask:
        """Return a source as strategies take it, fine-tuned as the pool's was."""
        settings = entry.record.fine_tune

        def lesson() -> Lesson:
            task = source_task(entry)
            rows, unseen = held_out(task, settings.seed)
            rows = sample(rows, task.problem, settings.max_examples, settings.seed)
            unseen = sample(unseen, task.problem, _MOST_JUDGED, settings.seed)
            return Lesson(task, rows, unseen)

        start = tuned_key(key, entry, retrain=self._shared.retrain)
        return SourceTask(entry.id, lesson, lambda: self._tuned.encoder(start))


def _row(key: RunKey, record: TrialRecord, task: Task, outputs: Array, seconds: float) -> RunRow:
    confusion = confusion_matrix(task, task.test.labels, outputs)
    found = record.attributes[key.attribute]
    return RunRow(
        key=key.content_hash(),
        target=key.target,
        attribute=key.attribute,
        source=key.source,
        strategy=key.strategy,
        seed=key.seed,
        source_seed=key.source_seed,
        fold=key.fold,
        metric=task.metric,
        value=found.metrics[task.metric],
        metrics=found.metrics,
        confusion=None if confusion is None else confusion.tolist(),
        trained_parameters=record.trained_parameters,
        total_parameters=record.total_parameters,
        stored_parameters=record.stored_parameters,
        num_train=found.num_train,
        num_test=found.num_test,
        seconds=seconds,
        peak_memory=record.peak_memory,
        remarks=record.remarks,
        config_hash=key.config_hash(),
        versions=library_versions(),
    )


def _training_rows(task: Task, most: int | None) -> Examples:
    size = len(task.train) if most is None else min(most, len(task.train))
    return sample(task.train, task.problem, size, _SAMPLE_SEED)


def _judge(name: str, lesson: Lesson, outputs: Array, model: JointModel) -> AttributeOutcome:
    """Return metrics on test and training rows, and on rows that neither trained nor chose."""
    task, rows = lesson.task, lesson.rows
    metrics = performance(task, task.test.labels, outputs)
    origin, unseen_rows = calibration_rows(task, len(rows), _SAMPLE_SEED)
    unseen = metrics[task.metric]
    if origin is not CalibratedOn.TEST:
        unseen = _value(name, task, unseen_rows, model)
    return AttributeOutcome(
        num_train=len(rows),
        num_test=len(task.test),
        metrics=metrics,
        train=_value(name, task, rows, model),
        unseen=unseen,
        unseen_rows=origin.value,
    )


def _value(name: str, task: Task, rows: Examples, model: JointModel) -> float:
    outputs = np.asarray(model.predict(name, rows.texts, rows.pairs))
    return performance(task, rows.labels, outputs)[task.metric]


class _Remembering:
    """A model that does not compute the same outputs twice."""

    def __init__(self, model: JointModel) -> None:
        self._model = model
        self._known: dict[Any, Array] = {}

    def predict(
        self, attribute: str, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> Array:
        key = (attribute, tuple(texts), None if pairs is None else tuple(pairs))
        if key not in self._known:
            self._known[key] = np.asarray(self._model.predict(attribute, texts, pairs))
        return self._known[key]

    def trained_state(self) -> State:
        return self._model.trained_state()


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of what a result depends on, by name."""
    from importlib.metadata import version

    libraries = {name: version(name) for name in ("esm-transfer", "torch", "transformers")}
    return libraries | {"python": sys.version.split()[0]}
