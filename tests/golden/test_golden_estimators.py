"""LEEP and NCE against thuml/LogME, the regularised H-score against flairNLP/transformer-ranker.

The figures and the recipe of the data are those of the golden file; the first of each kind stand
here too, so that they are tested wherever the repository is. That H-score's code takes the square
roots of the class counts in single precision, which leaves its figures seven digits;
``test_scorers_hscore.py`` compares with scikit-learn's shrinkage to more.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from esm.scorers.hscore import HScoreMoments, hscore
from esm.scorers.leep import leep
from esm.scorers.nce import nce
from tests.golden.test_golden_logme import GOLDEN, draw

H_SCORES = [(0, 200, 32, 3, 1.0059040100214371), (2, 100, 128, 4, 1.6483679065029373)]
SINGLE = 2e-7
HEADS = [(10, 100, 5, 3, -1.0832310263381626, -1.0109045043665423)]

needs_file = pytest.mark.skipif(
    not GOLDEN.is_file(), reason=f"no golden file {Path(GOLDEN).name} beside the repo"
)


def draw_head(seed, n, num_source_classes, num_target_classes):
    """Return source probabilities (n, z) and target classes (n,)."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, num_source_classes))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    labels = rng.integers(0, num_target_classes, n)
    return exponentials / exponentials.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize(("seed", "n", "d", "k", "expected"), H_SCORES)
def test_hscore_figures(seed, n, d, k, expected):
    assert hscore(*draw("classification", seed, n, d, k)) == pytest.approx(expected, rel=SINGLE)


@pytest.mark.parametrize(("seed", "n", "sources", "targets", "expected", "expected_nce"), HEADS)
def test_head_figures(seed, n, sources, targets, expected, expected_nce):
    probabilities, labels = draw_head(seed, n, sources, targets)
    assert leep(probabilities, labels) == pytest.approx(expected, abs=1e-9)
    assert nce(probabilities.argmax(1), labels) == pytest.approx(expected_nce, abs=1e-9)


@needs_file
def test_every_hscore_of_the_golden_file_in_one_pass_and_in_parts():
    cases = [case for case in json.loads(GOLDEN.read_text())["logme"] if "classi" in case["kind"]]
    assert cases
    for case in cases:
        features, labels = draw(*(case[key] for key in ("kind", "seed", "n", "d", "k")))
        expected = case["regularized_hscore"]
        assert hscore(features, labels) == pytest.approx(expected, rel=SINGLE)
        moments = HScoreMoments.of(features[:7], labels[:7], case["k"])
        for start in range(7, case["n"], 50):
            moments = moments.add(features[start : start + 50], labels[start : start + 50])
        assert moments.score() == pytest.approx(hscore(features, labels), rel=1e-10)


@needs_file
def test_every_head_of_the_golden_file():
    cases = json.loads(GOLDEN.read_text())["leep_nce"]
    assert cases
    for case in cases:
        keys = ("seed", "n", "num_source_classes", "num_target_classes")
        probabilities, labels = draw_head(*(case[key] for key in keys))
        assert leep(probabilities, labels) == pytest.approx(case["leep"], abs=1e-9)
        assert nce(probabilities.argmax(1), labels) == pytest.approx(case["nce"], abs=1e-9)
