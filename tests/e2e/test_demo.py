"""The demo's planted answer is found, in the ranking and in training."""

from __future__ import annotations

from pathlib import Path

import pytest

from esm.cli.demo.run import run_demo

FOLDER = Path(__file__).parents[2] / "runs" / "demo"


@pytest.mark.slow
@pytest.mark.offline
def test_the_planted_source_wins_and_the_controls_lose(offline_encoder):
    """Goes on with what ``make demo`` left, if it was run; else runs all of it."""
    made = run_demo(FOLDER)
    verdict = made.verdict
    planted = verdict.planted[verdict.validated]
    assert verdict.ranked_first[verdict.validated] == planted
    others = {source: value for source, value in verdict.performance.items() if source != planted}
    assert "none" in others
    assert set(made.controls.values()) <= set(others)
    assert all(verdict.performance[planted] > value for value in others.values())
    assert verdict.holds
    arms = made.validation.attributes[verdict.validated].arms
    assert {arm.runs for arm in arms} == {2}
