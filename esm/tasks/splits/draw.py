"""Splits and samples: stratified, by seed, identical texts on one side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import TaskError
from esm.tasks.identity import row_keys
from esm.tasks.labels.problem import distinct
from esm.tasks.raw import Values, is_missing, is_number
from esm.tasks.tagging import tags_of
from esm.tasks.task import Examples, Problem, SplitName, Target, Task

Rows = npt.NDArray[np.int64]
Membership = npt.NDArray[np.bool_]

HELD_OUT_SHARE = 0.1
MOST_HELD_OUT = 1000

_MOST_STRATA_OF_NUMBERS = 20
_BINS = 5


def joined_keys(keys: Sequence[str], groups: Values) -> list[str]:
    """Return a key per row that is the same for all rows that have to stay together.

    These are rows of the same text or of the same group, directly or through other rows: a text
    that two authors posted joins all that the two have posted.

    Args:
        keys: n keys of the texts, see :func:`~esm.tasks.identity.row_keys`.
        groups: n values; a row without one belongs to its text alone.
    """
    parents: dict[str, str] = {}

    def root(node: str) -> str:
        parents.setdefault(node, node)
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for key, group in zip(keys, groups, strict=True):
        if not is_missing(group):
            first, second = sorted((root(f"text {key}"), root(f"group {str(group).strip()}")))
            parents[second] = first
    return [root(f"text {key}") for key in keys]


def strata(values: Values) -> Membership:
    """Return which rows have which label: what a split has to keep in proportion.

    Args:
        values: n raw labels of one attribute: classes, lists of them, numbers, or nulls.

    Returns:
        (n, s): a column per class; of numbers with more than 20 distinct values, per fifth.
    """
    rows = [row for row, value in enumerate(values) if not is_missing(value)]
    filled = [values[row] for row in rows]
    different = distinct(filled)
    if len(different) > _MOST_STRATA_OF_NUMBERS and all(map(is_number, filled)):
        numbers = np.array(filled, dtype=np.float64)
        edges = np.quantile(numbers, np.linspace(0, 1, _BINS + 1))
        bins = np.searchsorted(edges[1:-1], numbers)
        used, column_of = np.unique(bins, return_inverse=True)
        membership = np.zeros((len(values), len(used)), dtype=np.bool_)
        membership[rows, column_of] = True
        return membership
    index = {name: column for column, name in enumerate(sorted(different))}
    places: list[tuple[int, int]] = []
    columns: dict[tuple[type, Any], list[int]] = {}
    for row, value in zip(rows, filled, strict=True):
        # With the type, because True equals 1; lists cannot be looked up.
        key = (type(value), str(value) if isinstance(value, list) else value)
        if key not in columns:
            columns[key] = [index[name] for name in distinct([value])]
        places += [(row, column) for column in columns[key]]
    membership = np.zeros((len(values), len(index)), dtype=np.bool_)
    membership[tuple(np.array(places, dtype=np.int64).reshape(-1, 2).T)] = True
    return membership


def split_rows(
    keys: Sequence[str], membership: Membership, share: float, seed: int
) -> tuple[Rows, Rows]:
    """Split rows in two by iterative stratification: the rarest label is dealt out first.

    Rows with the same key are dealt as one, so that no text lies on both sides.

    Args:
        keys: n keys of the rows, see :func:`~esm.tasks.identity.row_keys`.
        membership: (n, s) labels of all attributes side by side, see :func:`strata`.
        share: Share of the rows that the second part gets, in (0, 1).
        seed: Decides the order of dealing and ties.

    Returns:
        Positions of the first and of the second part, ascending. The second may be empty where
        there are only a few rows.

    Source:
        Sechidis, Tsoumakas and Vlahavas 2011, On the Stratification of Multi-Label Data,
        algorithm 1, for two parts; dealing groups of identical texts is ours.
    """
    part = deal_rows(keys, membership, (1.0 - share, share), seed)
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1)


def deal_rows(
    keys: Sequence[str],
    membership: Membership,
    shares: Sequence[float],
    seed: int | Sequence[int],
) -> Rows:
    """Deal rows to parts by iterative stratification: the rarest label is dealt out first.

    Args:
        keys: n keys; rows with the same one go to the same part.
        membership: (n, s), see :func:`strata`.
        shares: Share of the rows that each of the k parts gets; they add up to 1.
        seed: Decides the order of dealing and ties.

    Returns:
        (n,) the part of each row, from 0 to k - 1. With few rows, or few keys, parts stay empty.

    Source:
        As :func:`split_rows`.
    """
    _, group = np.unique(np.asarray(keys), return_inverse=True)
    sizes = np.bincount(group)
    counts = np.zeros((len(sizes), membership.shape[1]), dtype=np.int64)
    np.add.at(counts, group, membership.astype(np.int64))
    return _deal(counts, sizes, np.asarray(shares), np.random.default_rng(seed))[group]


def _deal(
    counts: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    shares: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> Rows:
    """Return the part of each of the g groups; counts is (g, s) rows per label."""
    wanted = shares[:, None] * counts.sum(axis=0)  # (k, s) rows that each part still lacks
    room = shares * sizes.sum()
    undealt = counts.sum(axis=0)
    is_open = np.ones(len(sizes), dtype=np.bool_)
    part_of = np.zeros(len(sizes), dtype=np.int64)

    def deal(groups: Rows, need: npt.NDArray[np.float64]) -> None:
        """Give each group to the part that needs it most; `need` is a view and goes along."""
        order = rng.permutation(groups)
        for member in order[np.argsort(-sizes[order], kind="stable")]:
            part = max(range(len(shares)), key=lambda k: (need[k], room[k]))
            part_of[member] = part
            wanted[part] -= counts[member]
            room[part] -= sizes[member]
        is_open[groups] = False

    while undealt.any():
        rarest = int(np.argmin(np.where(undealt > 0, undealt, np.inf)))
        groups = np.flatnonzero(is_open & (counts[:, rarest] > 0))
        deal(groups, wanted[:, rarest])
        undealt = undealt - counts[groups].sum(axis=0)
    deal(np.flatnonzero(is_open), room)
    return part_of


def cross_folds(examples: Examples, problem: Problem, folds: int, seed: int) -> Rows:
    """Return the fold of every row for a cross-validation: stratified, equal texts in one fold.

    Args:
        examples: n rows.
        problem: What their labels are.
        folds: k; with fewer distinct texts, some folds stay empty.
        seed: Decides the order of dealing and ties.

    Returns:
        (n,) numbers from 0 to k - 1.
    """
    keys = row_keys(examples.texts, examples.pairs)
    membership = strata(_labels_of(examples, problem))
    return deal_rows(keys, membership, (1 / folds,) * folds, seed)


# ------------------------------------------------------------------- held-out rows and samples


def held_out(task: Task, seed: int) -> tuple[Examples, Examples]:
    """Return training rows and rows to judge by, without a look at the test rows.

    The second are the validation rows where the task has them, else a stratified tenth of the
    training rows, at most 1,000, which are then no longer among the first.

    Raises:
        TaskError: There are fewer than two distinct training texts to divide.
    """
    if SplitName.VALIDATION in task.splits:
        return task.train, task.splits[SplitName.VALIDATION]
    train = task.train
    keys = row_keys(train.texts, train.pairs)
    if len(set(keys)) < 2:
        raise TaskError(
            f"task {task.id} has {len(set(keys))} distinct training text",
            expected="at least two, to train on one part and judge by the other",
        )
    share = min(HELD_OUT_SHARE, MOST_HELD_OUT / len(train))
    first, second = split_rows(keys, strata(_labels_of(train, task.problem)), share, seed)
    if len(second) == 0:
        one = keys[int(np.random.default_rng(seed).integers(len(keys)))]
        chosen = np.array([key == one for key in keys])
        first, second = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    return train.take(first), train.take(second)


def _labels_of(examples: Examples, problem: Problem) -> Values:
    """Return labels in the form of raw values, for :func:`strata`."""
    if problem is Problem.MULTILABEL:
        return [[f"label {code}" for code in np.flatnonzero(row)] for row in examples.labels]
    if problem is Problem.TAGGING:
        return [[f"tag {code}" for code in set(tags_of(row))] for row in examples.labels]
    if problem is not Problem.REGRESSION:
        return [f"class {code}" for code in examples.labels]
    return [float(value) for value in examples.labels]


def sample(examples: Examples, problem: Problem, size: int, seed: int) -> Examples:
    """Draw rows without replacement, in proportion to classes, in the order of the data.

    See :func:`sample_rows`, which says which rows.
    """
    rows = sample_rows(examples, problem, size, seed)
    return examples if len(rows) == len(examples) else examples.take(rows)


def sample_rows(examples: Examples, problem: Problem, size: int, seed: int) -> Rows:
    """Return the positions, ascending, of a sample in proportion to classes.

    Every class (every label of a multi-label task, every tag) that occurs keeps at least one row
    where ``size`` allows it. Amounts are drawn in proportion to their fifths.

    Args:
        examples: n rows.
        problem: What their labels are.
        size: Rows wanted; all are returned where there are no more.
        seed: Decides which rows.

    Raises:
        TaskError: ``size`` is less than 1.
    """
    if size < 1:
        raise TaskError(f"a sample of {size} rows", expected="at least 1")
    if size >= len(examples):
        return np.arange(len(examples))
    rng = np.random.default_rng(seed)
    membership = strata(_labels_of(examples, problem))
    if problem in (Problem.MULTILABEL, Problem.TAGGING):
        chosen = _cover_and_fill(membership, size, rng)
    else:
        chosen = _draw_quotas(membership.argmax(axis=1), size, rng)
    return np.sort(chosen)


def sample_together(target: Target, size: int, seed: int) -> dict[str, Examples]:
    """Draw texts once for all attributes of a target, stratified over all their labels.

    Args:
        target: The target; only its training rows are drawn from.
        size: Distinct texts wanted, up to rounding and to one more for each class that would be
            lost; all are taken where there are no more.
        seed: Decides which.

    Returns:
        The rows of each attribute whose texts were drawn, in the order of the data. An attribute
        that is not annotated on all texts has fewer.
    """
    rows = {name: task.train for name, task in target.attributes.items()}
    keys = {name: row_keys(train.texts, train.pairs) for name, train in rows.items()}
    place = {key: i for i, key in enumerate(sorted({key for one in keys.values() for key in one}))}
    if len(place) <= size:
        return rows
    columns = []
    for name, task in target.attributes.items():
        own = strata(_labels_of(rows[name], task.problem))
        membership = np.zeros((len(place), own.shape[1]), dtype=np.bool_)
        np.logical_or.at(membership, [place[key] for key in keys[name]], own)
        columns.append(membership)
    labels = np.hstack(columns)
    _, drawn = split_rows(list(place), labels, size / len(place), seed)
    chosen = np.zeros(len(place), dtype=np.bool_)
    chosen[drawn] = True
    for column in labels.T:  # a class of two rows may have lost both
        if column.any() and not column[chosen].any():
            chosen[np.flatnonzero(column)[0]] = True
    return {
        name: train.take([row for row, key in enumerate(keys[name]) if chosen[place[key]]])
        for name, train in rows.items()
    }


def strata_of(examples: Examples, problem: Problem) -> Membership:
    """Return which rows have which label, see :func:`strata`; last, which have none."""
    membership = strata(_labels_of(examples, problem))
    return np.hstack([membership, ~membership.any(axis=1, keepdims=True)])


def draw_by_class(memberships: Sequence[Membership], size: int, seed: int) -> Rows:
    """Return rows in an order of which every beginning holds the classes as equally as it can.

    Attributes take turns; each takes a row of the class of which the fewest were taken so far,
    the first of equals. A row counts for all attributes.

    Args:
        memberships: Of each attribute (n, s) labels; a row with none of them is not annotated.
        size: Most rows.
        seed: Decides which rows of a class come first.

    Returns:
        Distinct positions, not ascending.

    Example:
        >>> labels = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 0]], dtype=bool)
        >>> sorted(draw_by_class([labels], 2, seed=0).tolist())[1]
        3
    """
    count = len(memberships[0])
    order = np.random.default_rng(seed).permutation(count)
    waiting = [[list(order[column[order]]) for column in labels.T] for labels in memberships]
    taken = [np.zeros(labels.shape[1], dtype=np.int64) for labels in memberships]
    is_chosen = np.zeros(count, dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < size:
        before = len(chosen)
        for attribute, queues in enumerate(waiting):
            for place in np.argsort(taken[attribute], kind="stable"):
                queue = queues[place]
                while queue and is_chosen[queue[0]]:
                    queue.pop(0)
                if queue:
                    row = int(queue.pop(0))
                    is_chosen[row] = True
                    chosen.append(row)
                    for counts, labels in zip(taken, memberships, strict=True):
                        counts += labels[row]
                    break
            if len(chosen) == size:
                break
        if len(chosen) == before:
            break
    return np.array(chosen, dtype=np.int64)


def _draw_quotas(stratum: Rows, size: int, rng: np.random.Generator) -> Rows:
    labels, counts = np.unique(stratum, return_counts=True)
    quotas = _quotas(counts, size)
    order = rng.permutation(len(stratum))
    drawn = [
        order[stratum[order] == label][:quota] for label, quota in zip(labels, quotas, strict=True)
    ]
    return np.concatenate(drawn)


def _quotas(counts: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Return how many rows of each class to draw: largest remainders, at least one each."""
    exact = size * counts / counts.sum()
    fewest = 1 if size >= len(counts) else 0
    quotas: npt.NDArray[np.int64] = np.maximum(np.floor(exact).astype(np.int64), fewest)
    while quotas.sum() < size:
        quotas[np.argmax(exact - quotas)] += 1
    while quotas.sum() > size:
        quotas[np.argmax(np.where(quotas > fewest, quotas - exact, -np.inf))] -= 1
    return quotas


def _cover_and_fill(membership: Membership, size: int, rng: np.random.Generator) -> Rows:
    """Draw a row for each label not yet covered, the rarest first, then any other rows."""
    order = rng.permutation(len(membership))
    chosen: list[int] = []
    for label in np.argsort(membership.sum(axis=0), kind="stable"):
        if len(chosen) < size and not membership[chosen, label].any():
            chosen.append(int(order[np.argmax(membership[order, label])]))
    others = order[~np.isin(order, chosen)]
    return np.concatenate([np.array(chosen, dtype=np.int64), others[: size - len(chosen)]])
