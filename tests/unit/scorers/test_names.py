"""The names of the scorers, as a help text lists them, and what each of them really reads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from esm.scorers.base import Need
from esm.scorers.names import BY_READING, ScorerName
from esm.scorers.registry import make_scorer

NEEDS = {
    "on maps": Need.MAP,
    "on deltas or tuned encoders": Need.TUNED,
    "by source heads": Need.HEAD,
    "by stored vectors": Need.VECTORS,
}


def test_every_scorer_stands_in_one_group():
    listed = [name for names in BY_READING.values() for name in names]
    assert sorted(listed) == sorted(ScorerName)


@pytest.mark.parametrize("group", list(BY_READING))
def test_scorers_read_what_their_group_says(group):
    for name in BY_READING[group]:
        results = {"posts": {"cat": 0.5}} if name is ScorerName.STATIC else None
        needs = make_scorer(name, results=results).needs
        if group in NEEDS:
            assert NEEDS[group] in needs
        else:
            assert needs <= {Need.SIZE}


def test_names_are_known_without_arrays_or_models():
    heavy = "{'torch', 'numpy', 'scipy', 'sklearn', 'pandas', 'transformers'}"
    code = (
        "import sys, esm.scorers.names, esm.strategies.registry\n"
        f"print(sorted(set(sys.modules) & {heavy}))"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
