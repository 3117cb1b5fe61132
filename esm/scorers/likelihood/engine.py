"""LogME of any number of maps for one target: which computation fits which map.

Maps come in one after the other and are scored in blocks of one kind and rank, so that a pool
need not fit in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch

from esm.common.arrays import Float64
from esm.common.errors import MapError
from esm.maps.compressed import CompressedMap
from esm.maps.forms import DenseMap, EmbeddingSpaceMap, LowRankMap
from esm.maps.stack import LowRankStack
from esm.scorers.likelihood.curves import Curves, curves
from esm.scorers.likelihood.dense import DenseTarget, Reduced, dense_curves
from esm.scorers.likelihood.maximum import Evaluate, Evidences, Interpolant, maximise
from esm.scorers.likelihood.panels import Panels
from esm.scorers.likelihood.projection import project
from esm.scorers.likelihood.rules import NOISE_FLOOR, SMALLEST
from esm.scorers.likelihood.target import TargetSpectrum
from esm.scorers.moments import FeatureMoments, Moments

# Computes the (K,) log evidences of one map from the moments of its embeddings.
Plain = Callable[[FeatureMoments], Float64]
Block = LowRankStack | Sequence[DenseMap]

_LowRank = TypeVar("_LowRank", LowRankMap, CompressedMap)

# Directions of low-rank maps, and dense maps, that are worked on together.
_DIRECTIONS = 4096
_DENSE = 16

# How far beyond the base model's own best strengths those of maps are expected to lie, in log s.
# Further panels are made where they lie elsewhere.
_MARGIN = 1.0

# With no more examples than this, per dimension, or no more dimensions, the evidence can have more
# than one maximum. Of 164 columns of real targets (60 to 600 examples, d = 384) none had.
_FEW = 2
_NARROW = 64
_TINY = 1e-8

# Maps are not divided by a scale below this.
_SMALLEST_SCALE = 1e-4


class Engine:
    """Scores maps for one target; what depends on the target alone is computed once.

    Args:
        moments: Moments of the target's embeddings and labels. Attributes with the same examples
            and weights can be scored together, as columns of one target.
        plain: Scores a map that the fast forms cannot do without losing digits.
        device: Where to compute; None for the CPU.
    """

    def __init__(
        self,
        moments: Moments,
        plain: Plain,
        *,
        device: torch.device | None = None,
    ) -> None:
        self._moments = moments
        self._plain = plain
        self._device = device or torch.device("cpu")

    @cached_property
    def target(self) -> TargetSpectrum:
        """The target, decomposed when it is first needed."""
        return TargetSpectrum.of(self._moments, self._device)

    def evidences(self, maps: Iterable[EmbeddingSpaceMap]) -> Float64:
        """Return (m, K) log evidences per example, nats, of m maps in the order given.

        Raises:
            ShapeError: A map does not fit the target.
        """
        return in_order(maps, self.score, self._moments.cross.shape[1])

    def score(self, maps: Block) -> Float64:
        """Return (m, K) log evidences of maps of one kind and rank; see :func:`in_blocks`.

        Raises:
            ShapeError: A map does not fit the target.
        """
        if not len(self.target.eigenvalues):  # the embeddings do not vary: nothing to divide by
            return np.stack([self._one(maps, number) for number in range(len(maps))])
        found = self._low_rank(maps) if isinstance(maps, LowRankStack) else self._dense(maps)
        values = np.asarray(found.values.cpu().numpy(), dtype=np.float64)
        for number in np.flatnonzero(~found.trusted.cpu().numpy()):
            values[number] = self._one(maps, int(number))
        return values

    def _one(self, maps: Block, number: int) -> Float64:
        one = maps.map(number) if isinstance(maps, LowRankStack) else maps[number]
        return self._plain(self._moments.mapped(one))

    def _low_rank(self, maps: LowRankStack) -> Evidences:
        projected = project(self.target, maps)

        def evaluate(rows: torch.Tensor, nodes: torch.Tensor) -> Curves:
            return curves(self.target, projected.rows(rows), nodes)

        scale = torch.from_numpy(maps.scale.astype(np.float64)).to(self._device)
        return self._maximise(evaluate, scale.abs() >= _SMALLEST_SCALE)

    def _dense(self, maps: Sequence[DenseMap]) -> Evidences:
        reduced = self._dense_target.reduce(maps)
        usable = torch.ones(len(maps), dtype=torch.bool, device=self._device)
        return self._maximise(_evaluate_dense(reduced), usable)

    def _maximise(self, evaluate: Evaluate, usable: torch.Tensor) -> Evidences:
        return self._climb(evaluate, usable, self._panels, self._base.at[0])

    def _climb(
        self, evaluate: Evaluate, usable: torch.Tensor, panels: Panels, start: torch.Tensor
    ) -> Evidences:
        target = self.target
        whole = target.outside + torch.square(target.projections).sum(0)
        whole = (whole + torch.square(target.label_offset)).clamp_min(SMALLEST)
        interpolant = Interpolant(evaluate, panels, usable, whole, target.count)
        return maximise(interpolant, start, self._scan)

    @cached_property
    def _scan(self) -> tuple[float, float] | None:
        """Where further maxima are looked for: with few examples or dimensions there are some.

        From the smallest eigenvalue on; from where the floor of the noise is, where no more than d
        examples can be fitted without any.
        """
        target = self.target
        if target.count > _FEW * target.width and target.width > _NARROW:
            return None
        smallest, largest = float(target.eigenvalues.min()), float(target.eigenvalues.max())
        lowest = math.log(max(smallest, _TINY * largest))
        if target.count <= target.width:
            lowest += math.log(NOISE_FLOOR)
        return lowest - 1, 1.0 if target.width <= _NARROW else 2.0

    @cached_property
    def _dense_target(self) -> DenseTarget:
        return DenseTarget(self.target)

    @cached_property
    def _base(self) -> Evidences:
        """The base model's own maxima."""
        target = self.target
        offset = math.sqrt(target.count) * target.mean
        inside = torch.sqrt(target.eigenvalues) * (offset @ target.basis)
        base = Reduced(
            diagonal=target.eigenvalues.cpu().numpy(),
            beside=np.zeros(max(1, len(target.eigenvalues) - 1)),
            sides=torch.column_stack([target.projections, inside]).cpu().numpy(),
            from_examples=True,
            apart=target.outside.cpu().numpy(),
            offset_square=float(offset @ offset),
            label_offset=target.label_offset.cpu().numpy(),
        )
        middle = torch.log(target.eigenvalues.mean()).expand(target.num_columns)
        panels = Panels.covering(float(middle[0]), float(middle[0]) + 1, len(target.eigenvalues))
        usable = torch.ones(1, dtype=torch.bool, device=self._device)
        return self._climb(_evaluate_dense([base]), usable, panels, middle)

    @cached_property
    def _panels(self) -> Panels:
        """Panels around the base model's own best strengths, and a bit further."""
        at = self._base.at
        low, high = float(at.min()) - _MARGIN, float(at.max()) + _MARGIN
        return Panels.covering(low, high, len(self.target.eigenvalues))


def in_order(
    maps: Iterable[EmbeddingSpaceMap], score: Callable[[Block], Float64], columns: int
) -> Float64:
    """Return (m, K) scores of m maps in the order given, scored block by block.

    Args:
        maps: The maps.
        score: Scores a block, (b, K).
        columns: K.
    """
    found: dict[int, Float64] = {}
    for numbers, block in in_blocks(maps):
        found.update(zip(numbers, score(block), strict=True))
    rows = [found[number] for number in range(len(found))]
    return np.array(rows).reshape(-1, columns)


def in_blocks(maps: Iterable[EmbeddingSpaceMap]) -> Iterator[tuple[list[int], Block]]:
    """Gather maps of one kind and rank, as they come, with their numbers in the order given.

    Raises:
        MapError: There is no fast form for this kind of map.
    """
    wide: dict[int, tuple[list[int], list[LowRankMap]]] = {}
    compressed: dict[int, tuple[list[int], list[CompressedMap]]] = {}
    dense: tuple[list[int], list[DenseMap]] = ([], [])
    for number, each in enumerate(maps):
        match each:
            case LowRankMap():
                yield from _gathered(wide, number, each)
            case CompressedMap():
                yield from _gathered(compressed, number, each)
            case DenseMap():
                dense[0].append(number)
                dense[1].append(each)
                if len(dense[1]) >= _DENSE:
                    yield dense
                    dense = ([], [])
            case _:
                raise MapError(f"a {type(each).__name__}", expected="a low-rank or a dense map")
    for numbers, block in wide.values():
        yield numbers, LowRankStack.of(block)
    for numbers, narrow in compressed.values():
        yield numbers, LowRankStack.of(narrow)
    if dense[0]:
        yield dense


def _gathered(
    waiting: dict[int, tuple[list[int], list[_LowRank]]], number: int, one: _LowRank
) -> Iterator[tuple[list[int], Block]]:
    """Add a map to those of its rank that wait; yield them when there are enough."""
    numbers, block = waiting.setdefault(one.rank, ([], []))
    numbers.append(number)
    block.append(one)
    if len(block) >= max(1, _DIRECTIONS // one.rank):
        del waiting[one.rank]
        yield numbers, LowRankStack.of(block)


def _evaluate_dense(maps: Sequence[Reduced]) -> Evaluate:
    def evaluate(rows: torch.Tensor, nodes: torch.Tensor) -> Curves:
        return dense_curves([maps[row] for row in rows.tolist()], nodes)

    return evaluate
