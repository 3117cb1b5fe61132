"""Evidence of low-rank maps to three or four digits, in a third of the time.

At its maximum over the noise precision, the evidence of one label column is a function of the
prior's strength s alone (MacKay, "Bayesian Interpolation", Neural Computation 1992, section 4):

    -1/2 log(P(s) / n) - 1/(2 n) log det(I + S / s) - 1/2 - 1/2 log(2 pi)

with P the penalised residual of :mod:`esm.scorers.likelihood.curves`. Both functions are computed
in float32 at a few nodes that all maps share; the polynomials through them are looked at on a grid.
The fixed point that LogME iterates to is the maximum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch

from esm.common.arrays import Float64
from esm.maps.forms import EmbeddingSpaceMap
from esm.maps.stack import LowRankStack
from esm.scorers.likelihood.curves import Curves, curves
from esm.scorers.likelihood.engine import Block, Engine, in_order
from esm.scorers.likelihood.panels import Panels
from esm.scorers.likelihood.projection import Projected, project

# Points of the grid; error of the polynomials that the number of nodes is chosen for, where a
# single eigenvalue makes up the functions. With hundreds, two digits more are right.
_GRID = 65
_ACCURACY = 1e-3

# Maps by which the interval of log s is chosen, where it is first looked for, and by how much it
# is wider than what these need.
_SAMPLE = 64
_WIDEST = (-10.0, 10.0)
_MARGIN = 0.5
_OUTLIERS = 0.02


class _Nodes(NamedTuple):
    at: torch.Tensor  # (J,), log s
    grid: torch.Tensor  # (G, J), from values at the nodes to values on the grid


class QuickEngine:
    """Estimates evidences for one target.

    The first maps that it is asked for decide where the nodes lie.

    Args:
        engine: Scores exactly what cannot be estimated: maps that are not of low rank, or for
            which float32 does not suffice.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._target = engine.target.rounded()
        self._nodes: _Nodes | None = None

    def evidences(self, maps: Iterable[EmbeddingSpaceMap]) -> Float64:
        """Return estimates of (m, K) log evidences per example, nats, of m maps in this order.

        Raises:
            ShapeError: A map does not fit the target.
        """
        return in_order(maps, self.score, self._target.num_columns)

    def score(self, maps: Block) -> Float64:
        """Return estimates of (m, K) log evidences of maps of one kind and rank.

        Raises:
            ShapeError: A map does not fit the target.
        """
        if not isinstance(maps, LowRankStack) or not len(self._target.eigenvalues):
            return self._engine.score(maps)
        projected = project(self._target, maps)
        if self._nodes is None:
            self._nodes = self._choose(projected.rows(slice(0, _SAMPLE)))
        found = curves(self._target, projected, self._nodes.at)
        on_grid = torch.einsum("gj,mjk->mgk", self._nodes.grid, self._values(found))
        values = on_grid.amax(1).cpu().numpy().astype(np.float64)
        unsure = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(unsure):
            values[unsure] = self._engine.score(
                LowRankStack(
                    maps.scale[unsure],
                    maps.left[unsure],
                    maps.right[unsure],
                    maps.bias[unsure],
                    maps.reads_base,
                )
            )
        return values

    def _choose(self, sample: Projected) -> _Nodes:
        """Place the nodes around where the evidences of a sample of maps are highest."""
        first = torch.linspace(*_WIDEST, _GRID, device=sample.read.device)
        best = first[self._values(curves(self._target, sample, first)).argmax(1)].flatten()
        ends = torch.quantile(best, torch.tensor([_OUTLIERS, 1 - _OUTLIERS], device=best.device))
        low, high = float(ends[0]) - _MARGIN, float(ends[1]) + _MARGIN
        panel = Panels(low, high - low, _num_nodes(high - low))
        steps = torch.linspace(low, high, _GRID, dtype=torch.float64)
        polynomials = panel.basis(0, steps[None])[0][0]  # (J, G)
        coefficients = panel.coefficients(torch.eye(panel.order, dtype=torch.float64)[None])[0]
        grid = (polynomials.T @ coefficients).float().to(best.device)
        return _Nodes(panel.nodes(0, best.device).float(), grid)

    def _values(self, found: Curves) -> torch.Tensor:
        """Return (m, J, K) log evidences per example where the functions are known."""
        count = self._target.count
        determinant = found.log_determinant[..., None] / (2 * count)
        constant = 0.5 * (math.log(count) - 1 - math.log(2 * math.pi))
        return constant - found.log_residual / 2 - determinant


def _num_nodes(length: float) -> int:
    """Return how many Chebyshev nodes an interval of log s needs; see ``panels``.

    The functions' singularities lie at a distance of pi from the axis.
    """
    reach = 2 * math.pi / length
    return math.ceil(-math.log(_ACCURACY) / math.log(reach + math.hypot(reach, 1)))
