"""Functions of the prior's strength s, evaluated at shared nodes and interpolated in log s.

The functions needed are analytic in log s within the strip of half-height pi: their singularities
lie at minus the eigenvalues. So Chebyshev interpolation over a panel of a few powers of e
converges geometrically (Trefethen, Approximation Theory and Approximation Practice, 2013,
theorem 8.2), and its derivative gives what would otherwise need further matrices: the effective
number of parameters from the log determinant, the norm of the weights from the residual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch

# Longer intervals are divided: beyond this, a panel needs more nodes than two halves save.
_LONGEST = 3 * math.log(10)

# Interpolation error that the order is chosen for, where many eigenvalues make up a function: it
# then comes out smaller by one or two digits. Of few, each weighs more.
_ACCURACY = 1e-10
_MANY = 256


@dataclass(frozen=True)
class Panels:
    """A partition of the axis of log s into panels of equal length, with nodes in each.

    Attributes:
        start: Where panel 0 begins.
        length: Length of a panel.
        order: Nodes per panel.
    """

    start: float
    length: float
    order: int

    @classmethod
    def covering(cls, low: float, high: float, num_eigenvalues: int) -> Self:
        """Choose panels such that an interval is covered by as few nodes as possible."""
        span = max(high - low, math.log(10))
        length = span / math.ceil(span / _LONGEST)
        reach = 2 * math.pi / length  # distance of the singularities, in half-lengths
        decay = math.log(reach + math.hypot(reach, 1))  # of the error, per node: Bernstein ellipse
        accuracy = _ACCURACY * min(1.0, num_eigenvalues / _MANY)
        return cls(low, length, math.ceil(-math.log(accuracy) / decay))

    def number(self, log_strength: torch.Tensor) -> torch.Tensor:
        """Return which panel each value of log s lies in, integers of the same shape."""
        return torch.floor((log_strength - self.start) / self.length).to(torch.int64)

    def nodes(self, panel: int, device: torch.device) -> torch.Tensor:
        """Return (order,) values of log s, the Chebyshev points of a panel."""
        return self._middle(panel) + self.length / 2 * torch.cos(self._angles(device))

    def coefficients(self, values: torch.Tensor) -> torch.Tensor:
        """Turn values at the nodes into Chebyshev coefficients, along dimension 1."""
        degrees = torch.arange(self.order, dtype=torch.float64, device=values.device)
        transform = torch.cos(degrees[:, None] * self._angles(values.device)) * (2 / self.order)
        transform[0] /= 2
        return torch.einsum("jl,ml...->mj...", transform, values)

    def basis(self, panel: int, log_strength: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the Chebyshev polynomials and their derivatives by log s.

        Args:
            panel: The panel.
            log_strength: (m, K) values within it.

        Returns:
            Two tensors (m, order, K).
        """
        x = (log_strength - self._middle(panel)) * (2 / self.length)
        values = [torch.ones_like(x), x]
        slopes = [torch.zeros_like(x), torch.ones_like(x)]
        for _ in range(2, self.order):
            slopes.append(2 * values[-1] + 2 * x * slopes[-1] - slopes[-2])
            values.append(2 * x * values[-1] - values[-2])
        return torch.stack(values, 1), torch.stack(slopes, 1) * (2 / self.length)

    def _middle(self, panel: int) -> float:
        return self.start + (panel + 0.5) * self.length

    def _angles(self, device: torch.device) -> torch.Tensor:
        steps = torch.arange(self.order, dtype=torch.float64, device=device)
        return (steps + 0.5) * (math.pi / self.order)
