"""The shape of schedules, against other people's code and by hand."""

from __future__ import annotations

import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from esm.training.schedules import linear, slanted_triangular


@pytest.mark.parametrize(("fraction", "warmup"), [(0.0, 0), (0.1, 2), (0.25, 5)])
def test_the_linear_schedule_is_that_of_transformers(fraction, warmup):
    steps = 20
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = get_linear_schedule_with_warmup(optimiser, warmup, steps)
    for step in range(steps):
        assert linear(fraction)(step, steps) == pytest.approx(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()


def test_the_slanted_triangle_by_hand():
    # T = 100, cut_frac = 0.1, ratio = 32: cut = 10, the fall takes cut (1 / cut_frac - 1) = 90.
    multiple = slanted_triangular()
    assert multiple(0, 100) == pytest.approx(1 / 32)
    assert multiple(5, 100) == pytest.approx((1 + 0.5 * 31) / 32)
    assert multiple(10, 100) == pytest.approx(1.0)
    assert multiple(55, 100) == pytest.approx((1 + 0.5 * 31) / 32)
    assert multiple(99, 100) == pytest.approx((1 + 31 / 90) / 32)


@pytest.mark.parametrize("steps", [1, 2, 7, 19, 64])
def test_a_slanted_triangle_stays_between_its_lowest_and_highest_rate(steps):
    rates = [slanted_triangular()(step, steps) for step in range(steps + 1)]
    assert all(1 / 32 - 1e-12 <= rate <= 1 for rate in rates)
    assert rates.index(max(rates)) <= max(1, steps // 10)
