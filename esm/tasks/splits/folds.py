"""A target in folds: every row is a test row once per repetition."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from esm.common.errors import TaskError
from esm.tasks.identity import row_keys
from esm.tasks.task import SplitName, Target, Task

_LOGGER = logging.getLogger(__name__)


def fold_targets(
    whole: Target, draws: Sequence[Mapping[str, int]], folds: int, *, strict: bool
) -> tuple[Target, ...]:
    """Return a target per fold: its rows are the test rows, all others the training rows.

    Labels and classes are those of the whole, so that all folds have the same; a class may be
    absent from the training rows of a fold that holds all of it.

    Args:
        whole: The target with all rows as training rows.
        draws: For each repetition, the fold of each text by its key.
        folds: Folds per repetition.
        strict: Raise for an attribute that a fold has no use for instead of leaving it out.

    Raises:
        TaskError: An attribute cannot be judged in every fold, and ``strict`` or it is the last.
    """
    by_attribute: dict[str, list[Task]] = {}
    skipped = dict(whole.skipped)
    for name, task in whole.attributes.items():
        try:
            by_attribute[name] = _fold_tasks(task, draws, folds)
        except TaskError as error:
            if strict or len(whole.attributes) == 1:
                raise
            skipped[name] = str(error)
            _LOGGER.warning(f"{whole.id}: attribute {name} is left out: {error}")
    if not by_attribute:
        name, reason = next(iter(skipped.items()))
        raise TaskError(f"no attribute of {whole.id} has enough rows for folds; {name}: {reason}")
    return tuple(
        dataclasses.replace(
            whole,
            attributes={name: tasks[fold] for name, tasks in by_attribute.items()},
            skipped=skipped,
            fold=fold,
        )
        for fold in range(folds * len(draws))
    )


def _fold_tasks(task: Task, draws: Sequence[Mapping[str, int]], folds: int) -> list[Task]:
    rows = task.train
    keys = row_keys(rows.texts, rows.pairs)
    tasks = []
    for draw in draws:
        part = np.array([draw[key] for key in keys])
        for fold in range(folds):
            train, test = np.flatnonzero(part != fold), np.flatnonzero(part == fold)
            if len(test) == 0 or len(np.unique(rows.labels[train], axis=0)) < 2:
                lack = "no labelled row" if len(test) == 0 else "all rows of all labels but one"
                raise TaskError(
                    f"{len(rows)} rows of {task.id} are too few for {folds} folds: one has {lack}",
                    expected="labels in every fold, and two different ones outside it",
                    hint="fewer --folds, coarser classes, or leave the attribute out",
                )
            splits = {SplitName.TRAIN: rows.take(train), SplitName.TEST: rows.take(test)}
            tasks.append(dataclasses.replace(task, splits=splits))
    return tasks
