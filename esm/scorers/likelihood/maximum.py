"""LogME at its maximum for many maps and label columns at once.

At the best noise precision the evidence of a column is a function of the prior's strength s alone
(MacKay, "Bayesian Interpolation", Neural Computation 1992, section 4); with P the penalised
residual and a floor of the noise, per example

    -1/2 log(P(s) / n) - 1/(2 n) log det(I + S / s) - 1/2 - 1/2 log(2 pi)

Both functions are interpolated in log s, so that their derivatives are known too: the maximum is
where gamma, the effective number of parameters, equals n times the share of the penalty in P.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from esm.scorers.likelihood.curves import Curves
from esm.scorers.likelihood.panels import Panels
from esm.scorers.likelihood.rules import NOISE_FLOOR

# Maps (by number), log s at the nodes (J,) -> both functions there.
Evaluate = Callable[[torch.Tensor, torch.Tensor], Curves]

# Share of a function's variation that the last two coefficients of its interpolant may hold; what
# is cut off is smaller by one or two powers of their decay, which is 2 or more.
_TAIL = 1e-8

# With no more effective parameters than this, the evidence has reached its limit for s to infinity.
_AT_INFINITY = 1e-4

# How many steps are scanned at once, and up to which log determinant.
_SCANNED = 6
_SCANS = 8
_NEAR_INFINITY = 0.1

# Steps in log s by which a maximum is bracketed, each twice as long as the one before, and by which
# it is narrowed down; how close the bracket's ends get.
_FIRST_STEP = 0.5
_LONGEST_STEP = 4.0
_WIDENINGS = 24
_NARROWINGS = 60
_CLOSE = 1e-7


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
        panels: Where the nodes are.
        trusted: (m,), maps that are to be interpolated.
        squares: (K,), sums of squares of the label columns.
        count: n.

    Attributes:
        limit: (K,), the evidence for s to infinity.
        count: The same.
        trusted: (m,), whether each map's functions were evaluated and interpolated well.
        shape: (m, K).
    """

    def __init__(
        self,
        evaluate: Evaluate,
        panels: Panels,
        trusted: torch.Tensor,
        squares: torch.Tensor,
        count: int,
    ) -> None:
        num_columns = len(squares)
        self._floor = NOISE_FLOOR * squares
        self._evaluate = evaluate
        self._panels = panels
        self._shape = (len(trusted), panels.order, 1 + num_columns)
        self._tables: dict[int, torch.Tensor] = {}
        self._known: dict[int, torch.Tensor] = {}
        self.count = count
        everything = torch.log(squares + self._floor)
        self.limit = self.evidence(torch.zeros_like(everything), everything)
        self.trusted = trusted.clone()
        self.shape = (len(trusted), num_columns)

    def at(self, log_strength: torch.Tensor, active: torch.Tensor) -> Values:
        """Return the functions at log s (m, K); those that are not active are not computed."""
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

    def evidence(self, log_determinant: torch.Tensor, log_residual: torch.Tensor) -> torch.Tensor:
        """Return log evidences per example from both functions."""
        constant = (math.log(self.count) - 1 - math.log(2 * math.pi)) / 2
        return constant - (log_residual + log_determinant / self.count) / 2

    def scan(self, low: float, step: float) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Look at the evidence in steps of log s, from here to where its limit is near.

        Yields:
            A place, (), and which maps and columns (m, K) are higher there than a step before and
            after.
        """
        rows = torch.nonzero(self.trusted)[:, 0]
        shape, device = self.shape, self.trusted.device
        before = last = torch.full(shape, -math.inf, dtype=torch.float64, device=device)
        place = torch.tensor(low, dtype=torch.float64, device=device)
        for _ in range(_SCANS):
            if not len(rows):
                break
            places = place + step * torch.arange(_SCANNED, device=device)
            found = self._evaluate(rows, places)
            residual = self._floored(found.log_residual)
            heights = torch.full((_SCANNED, *shape), -math.inf, dtype=torch.float64, device=device)
            heights[:, rows] = self.evidence(found.log_determinant[..., None], residual).mT.permute(
                2, 0, 1
            )
            for number, height in enumerate(heights.nan_to_num(-math.inf)):
                yield places[number] - step, (last > before) & (last >= height)
                before, last = last, height
            place = places[-1] + step
            rows = rows[~(found.log_determinant[:, -1] <= _NEAR_INFINITY)]
        yield place - step, last > before

    def _floored(self, log_residual: torch.Tensor) -> torch.Tensor:
        return torch.log(torch.exp(log_residual) + self._floor)

    def _table(self, panel: int, rows: torch.Tensor) -> torch.Tensor:
        """Return Chebyshev coefficients (m, J, 1 + K), computed at least for these maps."""
        if panel not in self._tables:
            self._tables[panel] = torch.zeros(self._shape, dtype=torch.float64, device=rows.device)
            self._known[panel] = torch.zeros_like(rows)
        missing = torch.nonzero(rows & ~self._known[panel])[:, 0]
        if len(missing):
            self._fill(panel, missing)
            self._known[panel][missing] = True
        return self._tables[panel]

    def _fill(self, panel: int, rows: torch.Tensor) -> None:
        """Evaluate the functions of some maps at the nodes of a panel."""
        nodes = self._panels.nodes(panel, rows.device)
        found = self._evaluate(rows, nodes)
        residual = self._floored(found.log_residual)
        values = torch.cat([found.log_determinant[..., None], residual], dim=-1)
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
        at: (m, K), log s at the maxima; where a limit is the maximum, a place near it.
    """

    values: torch.Tensor
    trusted: torch.Tensor
    at: torch.Tensor


def maximise(
    interpolant: Interpolant, start: torch.Tensor, scan: tuple[float, float] | None = None
) -> Evidences:
    """Return the highest evidence of every map and column.

    From where the maximum of another map is known to be, the slope shows the way.

    Args:
        interpolant: The functions of each map.
        start: (K,), log s.
        scan: The log s from which on upwards further maxima are looked for, and in which steps;
            None where there is only one.
    """
    best = _climb(interpolant, start.expand(interpolant.shape))
    if scan is None:
        return best
    for place, hills in interpolant.scan(*scan):
        others = hills & ((best.at - place).abs() > scan[1])
        if others.any():
            found = _climb(interpolant, torch.where(others, place, best.at))
            higher = found.values > best.values
            values = torch.where(higher, found.values, best.values)
            best = Evidences(values, found.trusted, torch.where(higher, found.at, best.at))
    return best


def _climb(interpolant: Interpolant, start: torch.Tensor) -> Evidences:
    """Return the maximum to which the slope leads from a start (m, K)."""
    trusted = interpolant.trusted  # it changes in place where functions turn out to be bad
    active = trusted[:, None].expand(start.shape).clone()

    def slope(at: Values) -> torch.Tensor:
        return at.degrees - interpolant.count * at.share

    here = start.clone()
    slope_here = slope(interpolant.at(here, active))
    rises = slope_here > 0
    there, slope_there = here.clone(), slope_here.clone()
    searching = active & (slope_here != 0)
    step = _FIRST_STEP
    for _ in range(_WIDENINGS):
        searching &= trusted[:, None]
        if not searching.any():
            break
        probe = torch.where(rises, there + step, there - step)
        at = interpolant.at(probe, searching)
        here = torch.where(searching, there, here)
        slope_here = torch.where(searching, slope_there, slope_here)
        there = torch.where(searching, probe, there)
        slope_there = torch.where(searching, slope(at), slope_there)
        far = rises & (slope_there > 0) & (at.degrees <= _AT_INFINITY)
        searching = searching & ((slope_there > 0) == rises) & ~far
        step = min(2 * step, _LONGEST_STEP)
    unfinished = searching.any(1)
    best = _narrow(interpolant, slope, (here, slope_here), (there, slope_there), active)
    last = interpolant.at(best, trusted[:, None].expand(start.shape))
    values = interpolant.evidence(last.log_determinant, last.log_residual)
    values = torch.maximum(values, interpolant.limit)
    good = trusted & ~unfinished & torch.isfinite(values).all(1)
    return Evidences(values, good, best)


def _narrow(
    interpolant: Interpolant,
    slope: Callable[[Values], torch.Tensor],
    here: tuple[torch.Tensor, torch.Tensor],
    there: tuple[torch.Tensor, torch.Tensor],
    active: torch.Tensor,
) -> torch.Tensor:
    """Return where the slope is zero between two places at which it has opposite signs.

    False position that halves the slope of an end which stays (the Illinois method: Dowell and
    Jarratt 1971, BIT 11). Where the signs are the same, the second place is returned.
    """
    (a, slope_a), (b, slope_b) = here, there
    open_ = active & ((slope_a > 0) != (slope_b > 0)) & (slope_b != 0)
    best = b.clone()
    for _ in range(_NARROWINGS):
        open_ = open_ & interpolant.trusted[:, None]
        if not open_.any():
            break
        guess = torch.where(open_, (a * slope_b - b * slope_a) / (slope_b - slope_a), b)
        slope_guess = slope(interpolant.at(guess, open_))
        stays = (slope_guess > 0) == (slope_b > 0)
        moved = open_ & ~stays
        slope_a = torch.where(moved, slope_b, torch.where(open_, slope_a / 2, slope_a))
        a = torch.where(moved, b, a)
        step = (guess - best).abs()
        best = torch.where(open_, guess, best)
        b = torch.where(open_, guess, b)
        slope_b = torch.where(open_, slope_guess, slope_b)
        open_ = open_ & (slope_guess != 0) & (step > _CLOSE)
    return best
