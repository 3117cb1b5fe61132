"""Small tasks that a tiny encoder can learn: the label hangs on the words."""

from __future__ import annotations

import numpy as np

from esm.tasks.task import LABELLED, Examples, Metric, Problem, SplitName, Task

MOODS = (("good", "great", "love"), ("bad", "awful", "hate"), ("slow", "cold", "old"))
TOPICS = ("film", "food", "service", "team", "home", "vaccine")

TEXT_KINDS = [problem for problem in LABELLED if problem is not Problem.TAGGING]

_METRICS = {Problem.REGRESSION: Metric.SPEARMAN, Problem.TAGGING: Metric.SPAN_F1}
_NAMES = {
    Problem.REGRESSION: (),
    Problem.TAGGING: ("O", "B-topic", "I-topic", "B-mood", "I-mood"),
}


def toy_task(
    problem: Problem = Problem.CLASSIFICATION,
    *,
    pairs: bool = False,
    num_train: int = 48,
    num_test: int = 24,
    num_classes: int = 3,
    seed: int = 0,
) -> Task:
    """Return a task of short texts in which mood words decide the label.

    Of a tagging task, mood words and the topic are spans of a word each.
    """
    rng = np.random.default_rng(seed)
    metric = _METRICS.get(problem, Metric.MACRO_F1)
    names = _NAMES.get(problem, tuple("abc"[:num_classes]))
    return Task(
        id=f"toy-{problem}",
        problem=problem,
        metric=metric,
        label_names=names,
        splits={
            SplitName.TRAIN: _examples(rng, problem, num_train, num_classes, pairs),
            SplitName.TEST: _examples(rng, problem, num_test, num_classes, pairs),
        },
    )


def _examples(rng, problem, n, num_classes, pairs) -> Examples:
    moods = rng.permutation(np.arange(n) % num_classes)
    firsts, seconds = [], []
    for mood in moods:
        first, second = (rng.choice(MOODS[mood]) for _ in range(2))
        filler = " ".join(rng.choice(["very", "really", "the", "of"], size=rng.integers(1, 4)))
        firsts.append(f"the {rng.choice(TOPICS)} was {filler} {first}")
        seconds.append(f"it is {second}")
    return Examples(
        texts=tuple(firsts),
        pairs=tuple(seconds) if pairs else None,
        labels=_tags(firsts)
        if problem is Problem.TAGGING
        else _labels(problem, moods, num_classes),
    )


def _tags(texts):
    """The topic is the second word, the mood the last one."""
    rows = [text.split() for text in texts]
    tags = np.full((len(rows), max(map(len, rows))), -1)
    for row, words in enumerate(rows):
        tags[row, : len(words)] = 0
        tags[row, 1], tags[row, len(words) - 1] = 1, 3
    return tags


def _labels(problem, moods, num_classes):
    match problem:
        case Problem.CLASSIFICATION | Problem.ORDINAL:
            return moods.astype(np.int64)
        case Problem.REGRESSION:
            return 1000.0 + 100.0 * moods
        case Problem.MULTILABEL:  # label k: the mood is another one
            return (moods[:, None] != np.arange(num_classes)).astype(np.float64)
