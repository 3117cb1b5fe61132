"""What a target is, in numbers: rows, classes and balance, lengths, duplicates, overlap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from esm.tasks.languages import Language, detect
from esm.tasks.tagging import present
from esm.tasks.task import Examples, Problem, SplitName, Target, Task


def describe(target: Target) -> dict[str, Any]:
    """Return a summary ready for JSON, with no text of the data in it.

    Returns:
        ``id``; ``language`` (see :class:`esm.tasks.languages.Language`); ``skipped`` (reason by
        attribute); ``split`` (the fields of :class:`~esm.tasks.task.SplitOrigin`, null where they
        are not known); ``attributes``: by name ``id``, ``problem``, ``metric``, ``metadata``,
        ``is_pair``, ``label_names``, ``dropped`` (rows left out, by reason), ``rare`` (classes
        merged or left out: name, training rows, into what), ``spellings`` (labels read as a class
        that is written in another way), ``unknown`` (rows whose label no training row has, by split
        and label), ``unanswered`` (rows whose label stands for no answer, by label),
        ``shared_train_test`` (distinct texts on both sides, null without test rows) and
        ``splits``: by name ``rows``, ``words`` (per row, both texts of a pair together),
        ``duplicates`` (rows whose text came before), and ``labels``: rows and share of each
        class (of a tag, the texts that have it), or minimum, median and maximum of the amounts.
    """
    language = target_language(target)
    return {
        "id": target.id,
        "language": asdict(language) | {"contradicted": language.contradicted},
        "attributes": {name: _task(task) for name, task in target.attributes.items()},
        "skipped": dict(target.skipped),
        "split": None if target.origin is None else asdict(target.origin),
    }


def target_language(target: Target) -> Language:
    """Return the language of a target's training texts, as declared or as detected."""
    tasks = list(target.attributes.values())
    texts = dict.fromkeys(text for task in tasks for text in task.train.texts)
    return detect(tuple(texts), tasks[0].metadata.language)


def _task(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "problem": task.problem.value,
        "metric": task.metric.value,
        "metadata": asdict(task.metadata),
        "is_pair": task.is_pair,
        "label_names": list(task.label_names),
        "splits": {
            name.value: _split(task.splits[name], task) for name in SplitName if name in task.splits
        },
        "shared_train_test": _shared(task),
        "dropped": dict(task.dropped),
        "rare": [asdict(rare) for rare in task.rare],
        "spellings": [asdict(spelling) for spelling in task.spellings],
        "unknown": {split.value: dict(counts) for split, counts in task.unknown.items()},
        "unanswered": dict(task.unanswered),
        "agreement": None if task.agreement is None else asdict(task.agreement),
    }


def _split(examples: Examples, task: Task) -> dict[str, Any]:
    rows = _rows(examples)
    return {
        "rows": len(rows),
        "labels": _labels(examples, task),
        "words": _spread([sum(len(text.split()) for text in row) for row in rows]),
        "duplicates": len(rows) - len(set(rows)),
    }


def _labels(examples: Examples, task: Task) -> dict[str, Any]:
    if task.problem is Problem.REGRESSION:
        return _spread(examples.labels)
    if task.problem is Problem.TAGGING:
        counts = present(examples.labels, len(task.label_names)).sum(axis=0)
    elif task.problem is Problem.MULTILABEL:
        counts = examples.labels.sum(axis=0)
    else:
        counts = np.bincount(examples.labels, minlength=len(task.label_names))
    return {
        name: {"rows": int(count), "share": float(count) / len(examples)}
        for name, count in zip(task.label_names, counts, strict=True)
    }


def _spread(values: Iterable[float]) -> dict[str, float]:
    numbers = np.asarray(list(values), dtype=np.float64)
    return {
        "min": float(numbers.min()),
        "median": float(np.median(numbers)),
        "max": float(numbers.max()),
    }


def _shared(task: Task) -> int | None:
    if SplitName.TEST not in task.splits:
        return None
    return len(set(_rows(task.train)) & set(_rows(task.test)))


def _rows(examples: Examples) -> list[tuple[str, ...]]:
    """Return each row's texts: one, or the two of a pair."""
    if examples.pairs is None:
        return [(text,) for text in examples.texts]
    return list(zip(examples.texts, examples.pairs, strict=True))
