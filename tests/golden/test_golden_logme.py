"""LogME against the published implementation.

The figures come from thuml/LogME at 56551ca94a3295bcc37e6a01b1291911af985f07, computed in float64
with numpy 2.4.6. The recipe of the data is :func:`draw`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from esm.scorers.logme import logme

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "estimators.json"

FIGURES = [
    ("classification", 0, 200, 32, 3, -0.4791158667568182),
    ("classification", 2, 100, 128, 4, 0.21822117708141464),
    ("classification", 6, 64, 64, 3, -0.6829934512994056),
    ("regression", 4, 300, 48, 1, -1.0888273548349316),
    ("regression", 5, 80, 96, 2, -2.144868085888123),
]


def draw(kind, seed, n, d, k):
    """Return features (n, d), and classes (n,) or regression labels (n, k)."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, d)) * np.exp(-3 * np.arange(d) / d) + 0.1
    outputs = features @ rng.standard_normal((d, k)) + 0.5 * rng.standard_normal((n, k))
    return features, outputs if kind == "regression" else outputs.argmax(1)


@pytest.mark.parametrize(("kind", "seed", "n", "d", "k", "expected"), FIGURES)
def test_reference_figures(kind, seed, n, d, k, expected):
    found = logme(*draw(kind, seed, n, d, k), variant="reference")
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.skipif(not GOLDEN.is_file(), reason=f"no golden file {GOLDEN.name} beside the repo")
def test_every_figure_of_the_golden_file():
    cases = json.loads(GOLDEN.read_text())["logme"]
    for case in cases:
        features, labels = draw(*(case[key] for key in ("kind", "seed", "n", "d", "k")))
        assert features.sum() == pytest.approx(case["checksum_features"])
        assert labels.sum() == pytest.approx(case["checksum_labels"])
        found = logme(features, labels, variant="reference")
        assert found == pytest.approx(case["logme"], abs=1e-9)


def test_a_single_regression_column_may_be_flat():
    features, labels = draw("regression", 4, 300, 48, 1)
    assert logme(features, labels[:, 0]) == logme(features, labels)


def test_the_scale_of_the_features_moves_the_reference_but_not_the_full_variant():
    """Golden seed 2 has n < d: times 1.2 adds 0.051, times 2 adds 0.193."""
    features, labels = draw("classification", 2, 100, 128, 4)
    reference = logme(features, labels, variant="reference")
    assert logme(1.2 * features, labels, variant="reference") - reference == pytest.approx(
        0.051, abs=1e-3
    )
    assert logme(2 * features, labels, variant="reference") - reference == pytest.approx(
        0.193, abs=1e-3
    )
    full = logme(features, labels, variant="full")
    assert logme(2 * features, labels, variant="full") == pytest.approx(full, abs=1e-9)
