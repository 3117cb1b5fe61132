"""Texts without labels as a source task: a model learns to guess the tokens that are hidden.

Any data can be read so: a ``.txt`` file is one text a line, of everything else the text column is
taken and no other. It has to be said, by ``kind = "corpus"`` (``--kind corpus``) or, in a task
folder, by ``"task_type": "corpus"``: a forgotten label column would otherwise pass for a corpus.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from esm.common.errors import TaskError
from esm.tasks.guess.columns import choose_texts
from esm.tasks.identity import row_keys
from esm.tasks.raw import RawData, num_rows
from esm.tasks.spec import SplitMethod, TaskSpec
from esm.tasks.splits.rows import EMPTY_TEXT, filled_rows
from esm.tasks.task import Examples, Metric, Problem, Task

_FEWEST_TEXTS = 2


def is_corpus(raw: RawData, spec: TaskSpec) -> bool:
    """Whether data are to be read as texts without labels."""
    return spec.kind == Problem.CORPUS or (raw.is_corpus and spec.kind == "auto")


def refuse_corpus(raw: RawData) -> TaskError:
    """Return the refusal of a corpus where labels are needed."""
    return TaskError(
        f"{raw.id} is a corpus: texts without labels, of which nothing can be predicted",
        expected="a target with an attribute",
        hint="esm train makes a source of a corpus; leave out --kind corpus where there are labels",
    )


def corpus_task(raw: RawData, spec: TaskSpec) -> Task:
    """Return a corpus as a source task.

    Splits that come with the data stay; else all rows are training rows, of which those to judge
    by are drawn when it is trained on (:func:`~esm.tasks.splits.draw.held_out`).

    Raises:
        TaskError: The specification speaks of labels or of a split, no column holds texts, or
            fewer than two texts differ.
    """
    for said in _of_labels(spec):
        raise TaskError(
            f"{said} of the corpus {raw.id}",
            expected="texts alone, which have neither labels nor a split",
            hint="leave it out, or leave out the kind corpus",
        )
    columns = tuple(name for name in choose_texts(raw, spec) if name is not None)
    splits, empty = {}, 0
    for split, table in raw.splits.items():
        kept, texts, pairs = filled_rows(raw, split, columns)
        empty += num_rows(table) - len(kept)
        if kept:
            splits[split] = Examples(texts, pairs, np.zeros(len(kept), dtype=np.int64))
    task = Task(
        id=raw.id,
        problem=Problem.CORPUS,
        metric=Metric.LOG_LIKELIHOOD,
        label_names=(),
        splits=splits,
        metadata=raw.metadata,
        dropped={EMPTY_TEXT: empty} if empty else {},
        text_columns=columns,
    )
    different = len(set(row_keys(task.train.texts, task.train.pairs)))
    if different < _FEWEST_TEXTS:
        raise TaskError(
            f"the corpus {raw.id} has {different} different text in {len(task.train)} training"
            " rows",
            expected="at least two, to train on some and judge by others; better hundreds",
        )
    return task


def _of_labels(spec: TaskSpec) -> Iterator[str]:
    """Yield what a specification says that makes no sense of a corpus."""
    if spec.attributes:
        yield f"attribute {', '.join(spec.attributes)}"
    if spec.columns:
        yield f"the reading of column {', '.join(spec.columns)}"
    if spec.attribute_column is not None or spec.value_column is not None:
        yield "a column of attributes or values"
    if spec.test is not None:
        yield "a file of test rows"
    if spec.split.method is not SplitMethod.AUTO:
        yield f"the split {spec.split.method}"
