"""Targets and sources as scorers see them, made of arrays, without a pool or an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esm.maps.forms import MapForm
from esm.pool.pool import PoolEntry, SourceRecord
from esm.scorers.base import Evidence, Head, Source, TargetAttribute
from esm.tasks.task import Examples, Metric, Problem, SplitName, Task, TaskMetadata
from esm.training.class_weights import balance_weights
from esm.training.settings import FineTuneConfig

_METRICS = {
    Problem.CLASSIFICATION: Metric.MACRO_F1,
    Problem.ORDINAL: Metric.KAPPA,
    Problem.REGRESSION: Metric.SPEARMAN,
    Problem.MULTILABEL: Metric.MACRO_F1,
}


@dataclass(frozen=True)
class Texts:
    """Embeddings of the target's texts."""

    base: np.ndarray
    lifted: np.ndarray | None = None


def target_of(
    labels: np.ndarray,
    base: np.ndarray | None = None,
    *,
    lifted: np.ndarray | None = None,
    problem: Problem = Problem.CLASSIFICATION,
    balanced: bool = False,
    texts: tuple[str, ...] | None = None,
    name: str = "posts/harmful",
) -> TargetAttribute:
    """Return a target whose rows have these labels and embeddings."""
    rows = Examples(texts or tuple(f"text {i}" for i in range(len(labels))), None, labels)
    if problem is Problem.REGRESSION:
        names: tuple[str, ...] = ()
    else:
        count = labels.shape[1] if problem is Problem.MULTILABEL else int(labels.max()) + 1
        names = tuple(f"class {i}" for i in range(count))
    task = Task(name, problem, _METRICS[problem], names, {SplitName.TRAIN: rows})
    return TargetAttribute(
        task=task,
        examples=rows,
        rows=np.arange(len(labels)),
        texts=Texts(np.zeros((len(labels), 1), np.float32) if base is None else base, lifted),
        weights=balance_weights(labels) if balanced else None,
    )


def source_of(record, *, map=None, tuned=None, head=None, vectors=None) -> Source:
    """Return a source of which these parts are at hand; any other is read and not found."""
    source = Source(PoolEntry(record, Path("nowhere"), None), MapForm.ANCHORED, lambda _: tuned)
    given = {"map": map, "tuned": tuned, "head": head, "vectors": vectors}
    source.__dict__.update({name: part for name, part in given.items() if part is not None})
    return source


def evidence_of(target, record=None, **parts) -> Evidence:
    """Return a target and a source; the base model untouched where no record is given."""
    return Evidence(target, None if record is None else source_of(record, **parts))


def head_of(weight, bias) -> Head:
    """Return a source head."""
    return Head(np.asarray(weight, np.float64), np.asarray(bias, np.float64))


def record_of(
    name: str = "cat", problem: Problem = Problem.CLASSIFICATION, *, rows: int | None = 60
) -> SourceRecord:
    """Return the record of a source that nobody trained."""
    return SourceRecord(
        id=name,
        config_hash="c",
        task=None,
        task_hash=None,
        problem=problem,
        metric=_METRICS[problem],
        label_names=("no", "yes"),
        metadata=TaskMetadata(),
        is_pair=False,
        num_train=rows,
        num_used=None if rows is None else min(rows, 24),
        fine_tune=FineTuneConfig(),
        quality={},
        maps={},
        seconds={},
    )
