"""LogME's fixed-point iteration for many maps and label columns at once.

Every map and column starts at alpha = beta = 1 and stops on its own, as in the reference; the
evidence combines the last alpha and beta with the posterior from before that update.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from esm.scorers.likelihood.curves import Curves
from esm.scorers.likelihood.panels import Panels
from esm.scorers.likelihood.rules import MAX_UPDATES, REFERENCE_EPSILON, SMALLEST, TOLERANCE

# Maps (by number), log s at the nodes (J,) -> both functions there.
Evaluate = Callable[[torch.Tensor, torch.Tensor], Curves]

# Share of a function's variation that the last two coefficients of its interpolant may hold; what
# is cut off is smaller by one or two powers of their decay, which is 2 or more.
_TAIL = 1e-8


class Values(NamedTuple):
    """The functions and their derivatives by log s, (m, K) each."""

    log_determinant: torch.Tensor
    degrees: torch.Tensor  # effective number of parameters, minus the derivative
    log_residual: torch.Tensor
    share: torch.Tensor  # derivative of log_residual: what of the residual is the prior's penalty


class Interpolant:
    """The functions of m maps, evaluated on a panel when a map first gets there.

    Args:
        evaluate: Evaluates them at nodes.
        panels: Where the nodes are, from the origin of each map.
        origins: (m,), values of log s; maps with the same one share nodes.
        num_columns: K.

    Attributes:
        trusted: (m,), whether each map's functions were evaluated and interpolated well.
    """

    def __init__(
        self, evaluate: Evaluate, panels: Panels, origins: torch.Tensor, num_columns: int
    ) -> None:
        self._evaluate = evaluate
        self._panels = panels
        self._origins = origins
        self._shape = (len(origins), panels.order, 1 + num_columns)
        self._tables: dict[int, torch.Tensor] = {}
        self._known: dict[int, torch.Tensor] = {}
        self.trusted = torch.ones(len(origins), dtype=torch.bool, device=origins.device)

    def at(self, log_strength: torch.Tensor, active: torch.Tensor) -> Values:
        """Return the functions at log s (m, K); those that are not active are not computed."""
        log_strength = log_strength - self._origins[:, None]
        numbers = self._panels.number(log_strength)
        result = [torch.zeros_like(log_strength) for _ in range(4)]
        for panel in torch.unique(numbers[active]).tolist():
            here = active & (numbers == panel)
            rows = here.any(1)
            table = self._table(panel, rows)[rows]
            values, slopes = self._panels.basis(panel, log_strength[rows])
            found = (
                torch.einsum("mjk,mj->mk", values, table[..., 0]),
                -torch.einsum("mjk,mj->mk", slopes, table[..., 0]),
                torch.einsum("mjk,mjk->mk", values, table[..., 1:]),
                torch.einsum("mjk,mjk->mk", slopes, table[..., 1:]),
            )
            for whole, part in zip(result, found, strict=True):
                whole[here] = part[here[rows]]
        return Values(*result)

    def _table(self, panel: int, rows: torch.Tensor) -> torch.Tensor:
        """Return Chebyshev coefficients (m, J, 1 + K), computed at least for these maps."""
        if panel not in self._tables:
            self._tables[panel] = torch.zeros(self._shape, dtype=torch.float64, device=rows.device)
            self._known[panel] = torch.zeros_like(rows)
        missing = torch.nonzero(rows & ~self._known[panel])[:, 0]
        for origin in torch.unique(self._origins[missing]).tolist():
            self._fill(panel, missing[self._origins[missing] == origin], origin)
        self._known[panel][missing] = True
        return self._tables[panel]

    def _fill(self, panel: int, rows: torch.Tensor, origin: float) -> None:
        """Evaluate the functions of some maps with one origin at the nodes of a panel."""
        found = self._evaluate(rows, self._panels.nodes(panel, rows.device) + origin)
        values = torch.cat([found.log_determinant[..., None], found.log_residual], dim=-1)
        table = self._panels.coefficients(values)
        self._tables[panel][rows] = table
        tail = table[:, -2:].abs().amax(1)
        variation = table[:, 1:].abs().amax(1)
        good = (tail <= _TAIL * (1 + variation)).all(1) & torch.isfinite(table).all(2).all(1)
        self.trusted[rows] &= good & found.trusted


@dataclass(frozen=True, eq=False)
class Evidences:
    """Evidence of m maps for K label columns.

    Attributes:
        values: (m, K) log evidence per example, nats.
        trusted: (m,), False where the map has to be computed in another way.
        visited: Smallest and largest log of alpha / beta after the first update.
    """

    values: torch.Tensor
    trusted: torch.Tensor
    visited: tuple[float, float]


def maximise(
    interpolant: Interpolant,
    scale: torch.Tensor,
    num_columns: int,
    count: int,
    max_updates: int = MAX_UPDATES,
) -> Evidences:
    """Iterate alpha and beta to their fixed point for every map and column.

    Args:
        interpolant: The functions of each map, of the strength s = alpha / (beta a²).
        scale: (m,), a.
        num_columns: K.
        count: n.
        max_updates: Most updates; the reference allows 11, hf-dataset-selector 50.
    """
    shape = (len(scale), num_columns)
    alpha, beta, weight_norm, residual = torch.ones(
        (4, *shape), dtype=torch.float64, device=scale.device
    )
    shift = 2 * torch.log(scale.abs())[:, None]
    trusted = interpolant.trusted  # it changes in place where functions turn out to be bad
    active = trusted[:, None].expand(shape).clone()
    low, high = math.inf, -math.inf
    for _ in range(max_updates):
        if not active.any():
            break
        ratio = alpha / beta
        at = interpolant.at(torch.log(ratio) - shift, active)
        active &= trusted[:, None]
        penalised = torch.exp(at.log_residual)
        share, degrees = at.share.clamp(0, 1), at.degrees.clamp_min(0)
        new_norm, new_residual = penalised * share / ratio, penalised * (1 - share)
        new_alpha = degrees / (new_norm + REFERENCE_EPSILON)
        new_beta = (count - degrees) / (new_residual + REFERENCE_EPSILON)
        alpha = torch.where(active, new_alpha.clamp_min(SMALLEST), alpha)
        beta = torch.where(active, new_beta.clamp_min(SMALLEST), beta)
        weight_norm = torch.where(active, new_norm, weight_norm)
        residual = torch.where(active, new_residual, residual)
        reached = torch.log(alpha / beta)[active]
        if len(reached):
            low, high = min(low, float(reached.min())), max(high, float(reached.max()))
        active &= (alpha / beta - ratio).abs() > TOLERANCE * ratio
    last = interpolant.at(torch.log(alpha / beta) - shift, trusted[:, None].expand(shape))
    values = (
        count * torch.log(beta)
        - last.log_determinant
        - beta * residual
        - alpha * weight_norm
        - count * math.log(2 * math.pi)
    ) / (2 * count)
    return Evidences(values, trusted & torch.isfinite(values).all(1), (low, high))
