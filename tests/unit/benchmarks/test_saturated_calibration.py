"""A sample of the simulation: what a temperature does after calibration rows that are all right."""

from __future__ import annotations

import pytest

from benchmarks.saturated_calibration import losses, world


@pytest.mark.parametrize("accuracy", [0.97, 0.99])
@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_log_loss_stays_within_5_percent_of_the_uncalibrated(accuracy, factor):
    place = world(2, accuracy, factor)
    drawn = [losses(place, 50, seed) for seed in range(12)]
    found = [loss for right, loss in drawn if right]
    assert found
    for loss in found:
        assert loss["calibrated"] <= 1.05 * loss["uncalibrated"]
    # The fault that this is about: without it the likeliest temperature makes any model certain.
    if factor == 1.0:
        assert all(loss["likelihood"] > 5 * loss["uncalibrated"] for loss in found)
