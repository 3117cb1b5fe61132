"""How well predictions fit the labels: every metric by name, each defined once.

Classes are the ones that occur in the labels. scikit-learn otherwise adds classes that were only
predicted, each with an F1 of zero, and a macro average over them answers another question.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Array
from esm.common.errors import ShapeError, TaskError
from esm.tasks.tagging import NO_WORD, is_iob2, spans
from esm.tasks.task import Problem, Task


def performance(task: Task, labels: Array, outputs: Array) -> dict[str, float]:
    """Return every metric of the task's problem; the task's own metric is always among them.

    Classification has ``macro_f1``, ``accuracy`` and ``matthews``; regression ``spearman`` and
    ``mae`` (in the label's unit); multi-label ``macro_f1`` and ``accuracy`` (all labels of an
    example right); tagging ``span_f1`` where its tags mark spans (F1 of all spans together, in
    which a span counts whose type, beginning and end are right), and ``accuracy`` and ``macro_f1``
    of words. Ordinal has, for outputs rounded to classes, ``macro_f1``, ``accuracy``,
    ``kappa`` (Cohen's, with quadratic weights) and ``mae`` (in ranks), and ``spearman`` for the
    outputs as they are. All but ``mae`` are fractions, higher is better.

    Args:
        task: Says which problem it is and what the outputs mean.
        labels: (n,) int64 classes, (n,) float64 values, (n, c) zeros and ones, or (n, w) tags.
        outputs: (n, c) raw outputs of a model, (n, w, c) of a tagging one, see
            :func:`predicted_labels`.

    Raises:
        ShapeError: There are no rows, shapes do not fit, or an output is not a finite number.
        TaskError: The task's metric is not defined for its problem.

    Example:
        >>> from esm.tasks.task import Examples, Metric, SplitName
        >>> rows = Examples(("a", "b"), None, np.array([0, 1]))
        >>> task = Task(
        ...     "t", Problem.CLASSIFICATION, Metric.ACCURACY, ("no", "yes"), {SplitName.TRAIN: rows}
        ... )
        >>> performance(task, rows.labels, np.array([[2.0, 1.0], [3.0, 1.0]]))["accuracy"]
        0.5
    """
    if task.problem is Problem.TAGGING:
        labels = _without_padding(labels, outputs)
    _check(task, labels, outputs)
    match task.problem:
        case Problem.CLASSIFICATION:
            metrics = _classification(labels, predicted_labels(task, outputs))
        case Problem.ORDINAL:
            metrics = _ordinal(task, labels, outputs)
        case Problem.REGRESSION:
            metrics = _regression(labels, outputs[:, 0])
        case Problem.MULTILABEL:
            metrics = _multilabel(labels, predicted_labels(task, outputs))
        case Problem.TAGGING:
            metrics = _tagging(task, labels, predicted_labels(task, outputs))
        case Problem.CORPUS:
            raise _no_labels(task)
    if task.metric not in metrics:
        raise TaskError(
            f"task {task.id} is a {task.problem} task with the metric {task.metric}",
            expected=" or ".join(metrics),
            hint="correct the metric in its task.json",
        )
    return metrics


def predicted_labels(task: Task, outputs: Array) -> Array:
    """Return what outputs say, in the form of the task's labels.

    Args:
        task: Says which problem it is.
        outputs: (n, c) logits, of which the highest wins, or in a multi-label task those above 0;
            (n, 1) ranks of an ordinal task, which are rounded to the nearest class, halves up;
            (n, 1) values of a regression; (n, w, c) logits of words.

    Returns:
        (n,) int64 classes, (n, c) int64 zeros and ones, (n,) values, or (n, w) int64 tags.
    """
    match task.problem:
        case Problem.CLASSIFICATION | Problem.TAGGING:
            predicted: Array = outputs.argmax(axis=-1)
        case Problem.ORDINAL:
            nearest = np.floor(outputs[:, 0] + 0.5)
            predicted = np.clip(nearest, 0, len(task.label_names) - 1).astype(np.int64)
        case Problem.MULTILABEL:
            predicted = (outputs > 0).astype(np.int64)
        case Problem.REGRESSION:
            predicted = outputs[:, 0]
        case Problem.CORPUS:
            raise _no_labels(task)
    return predicted


def _no_labels(task: Task) -> TaskError:
    return TaskError(f"{task.id} is a corpus: it has no labels", expected="a task with labels")


def _check(task: Task, labels: Array, outputs: Array) -> None:
    wanted: tuple[int, ...] = (len(labels), task.num_outputs)
    of_labels = wanted if task.problem is Problem.MULTILABEL else wanted[:1]
    if task.problem is Problem.TAGGING:
        of_labels = (len(labels), *outputs.shape[1:2])
        wanted = (*of_labels, task.num_outputs)
    if len(labels) == 0:
        raise ShapeError(f"task {task.id} has no rows to evaluate", expected="at least one")
    if outputs.shape != wanted or labels.shape != of_labels:
        raise ShapeError(
            f"labels {labels.shape} and outputs {outputs.shape} of task {task.id}",
            expected=f"one row per example and outputs {wanted}",
        )
    if not np.isfinite(outputs).all():
        raise ShapeError(
            f"{(~np.isfinite(outputs)).sum()} outputs for task {task.id} are not finite",
            expected="finite numbers",
        )


def _classification(labels: Array, predicted: Array) -> dict[str, float]:
    return {**_hits(labels, predicted), "matthews": _matthews(labels, predicted)}


def _hits(labels: Array, predicted: Array) -> dict[str, float]:
    """Return what takes classes as mere names."""
    from sklearn.metrics import accuracy_score, f1_score

    occurring = np.unique(labels)
    f1 = f1_score(labels, predicted, labels=occurring, average="macro", zero_division=0.0)
    return {"macro_f1": float(f1), "accuracy": float(accuracy_score(labels, predicted))}


def _ordinal(task: Task, labels: Array, outputs: Array) -> dict[str, float]:
    predicted = predicted_labels(task, outputs)
    return {
        **_hits(labels, predicted),
        "spearman": _spearman(labels, outputs[:, 0]),
        "kappa": _kappa(labels, predicted, len(task.label_names)),
        "mae": float(np.abs(labels - predicted).mean()),
    }


def _kappa(labels: Array, predicted: Array, num_classes: int) -> float:
    """Return Cohen's kappa with quadratic weights; 0 where both are one class, undefined.

    All classes are named, because only then are two classes with an absent one between them two
    ranks apart.
    """
    from sklearn.metrics import cohen_kappa_score

    if np.ptp(np.concatenate([labels, predicted])) == 0:
        return 0.0
    classes = np.arange(num_classes)
    return float(cohen_kappa_score(labels, predicted, labels=classes, weights="quadratic"))


def _matthews(labels: Array, predicted: Array) -> float:
    """Return Matthews' correlation; 0 where one side is constant and it is undefined."""
    from sklearn.metrics import matthews_corrcoef

    if np.ptp(labels) == 0 or np.ptp(predicted) == 0:
        return 0.0
    return float(matthews_corrcoef(labels, predicted))


def _regression(labels: Array, predicted: Array) -> dict[str, float]:
    return {
        "spearman": _spearman(labels, predicted),
        "mae": float(np.abs(labels - predicted).mean()),
    }


def _spearman(labels: Array, predicted: Array) -> float:
    """Return the rank correlation; 0 where one side is constant and it is undefined."""
    from scipy.stats import spearmanr

    if np.ptp(labels) == 0 or np.ptp(predicted) == 0:
        return 0.0
    return float(spearmanr(labels, predicted).statistic)


def _multilabel(labels: Array, predicted: Array) -> dict[str, float]:
    from sklearn.metrics import f1_score

    truth = (labels > 0.5).astype(np.int64)
    occurring = np.flatnonzero(truth.any(axis=0))
    f1 = (
        f1_score(truth, predicted, labels=occurring, average="macro", zero_division=0.0)
        if occurring.size
        else 0.0
    )
    return {
        "macro_f1": float(f1),
        "accuracy": float((truth == predicted).all(axis=1).mean()),
    }


# ---------------------------------------------------------------------------------- tags of words


def _without_padding(labels: Array, outputs: Array) -> Array:
    """Return labels as wide as the outputs: of rows taken from others, the longest may be gone."""
    width = outputs.shape[1] if outputs.ndim == 3 else labels.shape[1]
    fits = labels.ndim == 2 and (labels[:, width:] == NO_WORD).all()
    return labels[:, :width] if fits else labels


def _tagging(task: Task, labels: Array, predicted: Array) -> dict[str, float]:
    words = labels != NO_WORD
    metrics = _hits(labels[words], predicted[words])
    if is_iob2(task.label_names):
        right, found, true = span_counts(task.label_names, labels, predicted).sum(axis=0)
        metrics["span_f1"] = float(2 * right / max(found + true, 1))
    return metrics


def span_counts(names: Sequence[str], labels: Array, predicted: Array) -> npt.NDArray[np.int64]:
    """Return how many spans of each text are found rightly, are predicted, and are there.

    Args:
        names: Names of the c tags.
        labels: (n, w) tags.
        predicted: (n, w) predicted tags; behind the last word they do not count.

    Returns:
        (n, 3) counts.
    """
    counts = np.zeros((len(labels), 3), dtype=np.int64)
    for row, (of_row, guessed) in enumerate(zip(labels, predicted, strict=True)):
        words = of_row != NO_WORD
        true = spans([names[code] for code in of_row[words]])
        found = spans([names[code] for code in guessed[words]])
        counts[row] = len(true & found), len(found), len(true)
    return counts
