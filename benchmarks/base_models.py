"""Which base model: a linear model on the frozen embeddings of each, in repeated folds.

All rows of a task are used, training and test together. Every base is judged on the same folds,
so differences are paired; standard errors take into account that folds share training rows
(Nadeau and Bengio 2003, "Inference for the Generalization Error")::

    .venv/bin/python -m benchmarks.base_models TASK offline multilingual multilingual= --out F.json

A base may be followed by ``=PREFIX``. Seconds are those of embedding, with one thread unless
``OMP_NUM_THREADS`` says otherwise; nothing is read from the cache.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.model_selection import RepeatedStratifiedKFold

from benchmarks.measure import Clock, machine
from esm.common.arrays import Array
from esm.common.storage import write_json
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.metrics.predictions import performance
from esm.strategies.linear import STANDARDISED, fit_linear
from esm.tasks.load import load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Task


def main() -> None:
    """Print a row per base, and its difference to the first one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("bases", nargs="+")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--balanced", action="store_true", help="all classes weigh the same")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    task = load_task(TaskSpec(location=options.task))
    texts = [*task.train.texts, *task.test.texts]
    labels = np.concatenate([task.train.labels, task.test.labels])
    splitter = RepeatedStratifiedKFold(
        n_splits=options.folds, n_repeats=options.repeats, random_state=0
    )
    folds = list(splitter.split(texts, labels))
    rows = []
    for base in options.bases:
        name, given, prefix = base.partition("=")
        encoder = Encoder.load(EncoderConfig(model=name, prefix=prefix if given else None), "cpu")
        encoder.embed(texts[:8])
        with Clock() as clock:
            embedded = encoder.embed(texts).last.astype(np.float64)
        values = [
            _value(task, embedded, labels, train, test, balanced=options.balanced)
            for train, test in folds
        ]
        row = {
            "base": name,
            "prefix": encoder.reader.prefix,
            "metric": task.metric,
            "folds": values,
            "parameters": sum(weight.numel() for weight in encoder.model.parameters()),
            "seconds": clock.seconds(),
        }
        rows.append(row)
        mean, error = _mean(np.array(values), options.folds)
        gain, spread = _mean(np.array(values) - rows[0]["folds"], options.folds)
        print(
            f"{name:20} {encoder.reader.prefix!r:12} {task.metric} {100 * mean:5.1f} ±"
            f" {100 * error:.1f}, to the first {100 * gain:+5.1f} ± {100 * spread:.1f};"
            f" {clock.cpu:.1f} CPU seconds, {clock.wall:.1f} of the clock",
            flush=True,
        )
    if options.out:
        write_json(
            options.out,
            {
                "task": task.id,
                "rows": len(texts),
                "balanced": options.balanced,
                "machine": machine(),
                "bases": rows,
            },
        )


def _value(
    task: Task, embedded: Array, labels: Array, train: Array, test: Array, *, balanced: bool
) -> float:
    """Return the metric of a linear model fitted on the training rows, on the test rows."""
    mean, scale = embedded[train].mean(axis=0), embedded[train].std(axis=0)
    scale[scale == 0] = 1.0
    weight, bias = fit_linear(
        task, (embedded[train] - mean) / scale, labels[train], 0, STANDARDISED, balanced=balanced
    )
    outputs = (embedded[test] - mean) / scale @ weight + bias
    return float(performance(task, labels[test], outputs)[task.metric])


def _mean(values: Array, folds: int) -> tuple[float, float]:
    """Return the mean over folds and its corrected standard error."""
    factor = 1 / len(values) + 1 / (folds - 1)
    return float(values.mean()), float(np.sqrt(factor * values.var(ddof=1)))


if __name__ == "__main__":
    main()
