"""The cheap orders of maps, against finite differences and the definition."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.shortlist_orders import Orders
from esm.maps.forms import LowRankMap
from esm.maps.stack import LowRankStack
from esm.scorers.likelihood.engine import Engine
from esm.scorers.logme import evidences_of_moments
from tests.likelihood_cases import draw_case, draw_low_rank


@pytest.mark.parametrize("seed", range(3))
def test_first_order_is_the_derivative_of_the_evidence_and_alignment_that_of_its_definition(seed):
    case = draw_case(0, 60, 24, 30, 2)
    moments, rng = case.moments, np.random.default_rng(seed)
    engine, orders = Engine(moments, evidences_of_moments), Orders(moments)
    one = draw_low_rank(rng, 24, 30, 3, 1.0)
    step = np.float32(1e-3)

    def small(sign):
        left = sign * step * one.left
        # The bias that keeps the mean where it is: the change of the offset is left out.
        offset = left.astype(np.float64) @ (one.right.T.astype(np.float64) @ moments.mean[24:])
        return LowRankMap(1.0, left.astype(np.float32), one.right, -offset.astype(np.float32))

    stack = LowRankStack.of([one])
    up, down = (engine.evidences([small(sign)]).mean() for sign in (1, -1))
    assert orders.first_order(stack)[0] == pytest.approx((up - down) / (2 * step), rel=2e-2)
    features = case.base + case.lifted @ one.right @ one.left.T
    features, columns = (each - each.mean(axis=0) for each in (features, case.columns))
    expected = np.square(features.T @ columns).sum() / np.linalg.norm(features.T @ features)
    assert orders.alignment(stack)[0] == pytest.approx(expected, rel=1e-3)
