"""The target side of a score: one attribute of the user's data in one fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from esm.common.errors import ShapeError
from esm.pool.vectors import fisher_diagonal, hashed_words, mean_embedding
from esm.scorers.moments import Moments, label_columns
from esm.tasks.task import Examples, Task

_Made = TypeVar("_Made")


class TextEmbeddings(Protocol):
    """The N texts of a target as the base model embeds them; made when first asked for."""

    @property
    def base(self) -> npt.NDArray[np.float32]:
        """(N, d) base embeddings."""

    @property
    def lifted(self) -> npt.NDArray[np.float32] | None:
        """(N, p) lifted features; None where no map reads them."""


@dataclass(frozen=True, eq=False)
class TargetAttribute:
    """One attribute of the target in one fold: the rows by which sources are scored.

    Attributes:
        task: The attribute; its metric and its kind of labels.
        examples: The n rows that are used, their texts and labels: training rows only.
        rows: (n,) int64, where each of them stands among the N texts that were embedded.
        texts: Embeddings of those N texts.
        weights: (n,) weights of the examples under class balance; None weighs all the same.
    """

    task: Task
    examples: Examples
    rows: npt.NDArray[np.int64]
    texts: TextEmbeddings
    weights: npt.NDArray[np.float64] | None = None
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.rows.shape != (len(self.examples),):
            raise ShapeError(
                f"{len(self.rows)} rows for {len(self.examples)} examples", expected="as many"
            )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> npt.NDArray[Any]:
        """Labels of the rows, in the form of :class:`~esm.tasks.task.Examples`."""
        return self.examples.labels

    @property
    def base(self) -> npt.NDArray[np.float32]:
        """(n, d) base embeddings of the rows."""
        return self.texts.base[self.rows]

    @property
    def lifted(self) -> npt.NDArray[np.float32] | None:
        """(n, p) lifted features of the rows; None where no map reads them."""
        lifted = self.texts.lifted
        return None if lifted is None else lifted[self.rows]

    @cached_property
    def columns(self) -> npt.NDArray[np.float64]:
        """(n, K) label columns, see :func:`~esm.scorers.moments.label_columns`.

        Raises:
            TaskError: Labels are all the same.
        """
        return label_columns(self.task.problem, self.labels, self.task.num_outputs)

    @cached_property
    def mean(self) -> npt.NDArray[np.float32]:
        """(d,) mean base embedding, see :mod:`esm.pool.vectors`."""
        return mean_embedding(self.base)

    @cached_property
    def fisher(self) -> npt.NDArray[np.float32]:
        """(d,) diagonal Fisher information, see :mod:`esm.pool.vectors`."""
        return fisher_diagonal(self.task.problem, self.labels, self.base)

    @cached_property
    def words(self) -> npt.NDArray[np.uint32]:
        """Hashed words of the rows, see :mod:`esm.pool.vectors`; takes no embedding."""
        return hashed_words(self.examples)

    @cached_property
    def moments(self) -> Moments:
        """Moments of the rows, made when they are first asked for: O(n (d + p)²)."""
        return Moments.of(self.base, self.lifted, self.columns, self.weights)

    def once(self, key: str, make: Callable[[], _Made]) -> _Made:
        """Return what a scorer derives from the target alone, made for the first source only."""
        if key not in self._made:
            self._made[key] = make()
        return cast(_Made, self._made[key])
