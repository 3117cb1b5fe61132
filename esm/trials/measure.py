"""One training of a comparison: the encoder it starts from, its sources, what it found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esm.common.arrays import Array
from esm.metrics.calibration import CalibratedOn, calibration_rows
from esm.metrics.confusion import confusion_matrix
from esm.metrics.predictions import performance
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.pool import PoolEntry
from esm.strategies.joint.protocol import JointModel, Lesson, SourceTask
from esm.strategies.joint.registry import joint_strategy
from esm.tasks.splits.draw import held_out, sample
from esm.tasks.task import Examples, Task
from esm.training.state import State
from esm.trials.compare_models import ModelStore
from esm.trials.compare_plan import Cell
from esm.trials.encoders import MODELS_NAME, TunedModels, source_start, source_task
from esm.trials.ledger import RunKey, RunRow
from esm.trials.open import Opened
from esm.trials.outputs import AttributeCell, CellRecord, CellStore
from esm.trials.plan import source_hash
from esm.trials.validate import library_versions

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder


# All strategies train on the same rows, whatever the seed.
_SAMPLE_SEED = 0

# Held-out rows by which a source in a chain is judged.
_MOST_JUDGED = 500


class Lab:
    """Where trainings are made.

    Args:
        opened: The comparison.
        out: Its folder, in which tuned encoders are kept between trainings.
        models: Where trained models go.
        cells: Where results go.
    """

    def __init__(self, opened: Opened, out: Path, models: ModelStore, cells: CellStore) -> None:
        self._opened = opened
        self._models = models
        self._cells = cells
        self._tuned = (
            None
            if opened.pool is None
            else TunedModels(opened.pool, opened.encoder, out / MODELS_NAME)
        )
        self._entries = {
            entry.id: entry
            for entries in (*opened.choice.by_attribute.values(), opened.choice.together)
            for entry in entries
        }

    def measure(self, cell: Cell) -> list[RunRow]:
        """Train, judge by the test rows, keep result and model; return a row per attribute.

        Raises:
            EsmError: A source cannot be had, or the training failed.
        """
        fold = next(fold for fold in self._opened.targets if fold.fold == cell.fold)
        tasks = {name: fold.attributes[name] for name in cell.attributes}
        lessons = {
            key.attribute: Lesson(
                tasks[key.attribute],
                _training_rows(tasks[key.attribute], key.max_train),
                tasks[key.attribute].test,
            )
            for key in cell.keys
        }
        encoder = self._encoder(cell.keys[0])
        strategy = joint_strategy(cell.strategy)
        sources = [self._source(self._entries[name], cell.keys[0]) for name in cell.sources]
        fitted = strategy.fit(
            encoder, lessons, self._opened.plan.config.transfer, cell.seed, sources
        )
        model = _Remembering(fitted.model)
        outputs = {
            name: np.asarray(model.predict(name, task.test.texts, task.test.pairs))
            for name, task in tasks.items()
        }
        state = fitted.model.trained_state()
        found = {
            name: _judge(name, lessons[name], outputs[name], model) for name in cell.attributes
        }
        record = CellRecord(
            strategy=cell.strategy,
            attributes=found,
            seconds=fitted.seconds,
            trained_parameters=fitted.trained_parameters,
            stored_parameters=fitted.stored_parameters,
            shared_parameters=fitted.shared_parameters,
            total_parameters=fitted.total_parameters,
            stored_bytes=sum(array.nbytes for array in state.values()),
            peak_memory=fitted.peak_memory,
            remarks=(*fitted.remarks, *self._start_remarks(cell.keys[0])),
            report=dict(fitted.report),
        )
        if cell.size == self._opened.plan.largest:
            self._models.keep(
                cell,
                tasks,
                model,
                state,
                encoder,
                self._opened.encoder.config,
                sizes={name: len(lesson.rows) for name, lesson in lessons.items()},
                sample_seed=_SAMPLE_SEED,
                source_licence=self._licence(cell.keys[0]),
                further_licences={
                    name: self._entries[name].record.metadata.license for name in cell.sources
                },
            )
        self._cells.keep(cell, record, outputs)
        return [
            self._row(key, record, lessons[key.attribute], outputs[key.attribute])
            for key in cell.keys
        ]

    def _encoder(self, key: RunKey) -> Encoder:
        if key.source == NO_TRANSFER or self._tuned is None:
            return self._opened.encoder
        return self._tuned.encoder(key)

    def _start_remarks(self, key: RunKey) -> tuple[str, ...]:
        return () if self._tuned is None else self._tuned.remarks(key)

    def _licence(self, key: RunKey) -> str | None:
        return None if self._tuned is None else self._tuned.licence(key)

    def _source(self, entry: PoolEntry, key: RunKey) -> SourceTask:
        """Return a source as strategies take it, fine-tuned as the pool's was."""
        settings = entry.record.fine_tune
        tuned = key.model_copy(
            update={
                "source": entry.id,
                "source_hash": source_hash(entry),
                "source_seed": settings.seed,
                "delta": source_start(entry, retrain=self._opened.plan.config.retrain),
            }
        )

        def lesson() -> Lesson:
            task = source_task(entry)
            rows, unseen = held_out(task, settings.seed)
            rows = sample(rows, task.problem, settings.max_examples, settings.seed)
            unseen = sample(unseen, task.problem, _MOST_JUDGED, settings.seed)
            return Lesson(task, rows, unseen)

        return SourceTask(entry.id, lesson, lambda: self._encoder(tuned))

    def _row(self, key: RunKey, record: CellRecord, lesson: Lesson, outputs: Array) -> RunRow:
        task = lesson.task
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
            seconds=record.seconds / len(record.attributes),
            peak_memory=record.peak_memory,
            remarks=record.remarks,
            config_hash=key.config_hash(),
            versions=library_versions(),
        )


def _training_rows(task: Task, most: int | None) -> Examples:
    size = len(task.train) if most is None else min(most, len(task.train))
    return sample(task.train, task.problem, size, _SAMPLE_SEED)


def _judge(name: str, lesson: Lesson, outputs: Array, model: JointModel) -> AttributeCell:
    """Return metrics on test and training rows, and on rows that neither trained nor chose."""
    task, rows = lesson.task, lesson.rows
    metrics = performance(task, task.test.labels, outputs)
    origin, unseen_rows = calibration_rows(task, len(rows), _SAMPLE_SEED)
    unseen = metrics[task.metric]
    if origin is not CalibratedOn.TEST:
        unseen = _value(name, task, unseen_rows, model)
    return AttributeCell(
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
