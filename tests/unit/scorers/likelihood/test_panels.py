"""Interpolation over panels, and weighted products, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from esm.scorers.likelihood.grams import weighted_cross, weighted_gram, weighted_labels
from esm.scorers.likelihood.panels import Panels

CPU = torch.device("cpu")


@pytest.mark.parametrize("decades", [0.5, 1, 2, 3, 5])
def test_a_sum_of_poles_and_its_derivative_are_interpolated(decades):
    """The functions are sums of s / (lambda + s); one of them alone is the worst case."""
    panels = Panels.covering(-1, -1 + decades * math.log(10), 1)
    at = torch.linspace(-1, -1 + 0.999 * decades * math.log(10), 50, dtype=torch.float64)
    numbers = panels.number(at)
    for middle in (-3.0, 0.5, 2.0):
        pole = math.exp(middle)
        for panel in numbers.unique().tolist():
            here = at[numbers == panel][None]
            strength = torch.exp(panels.nodes(panel, CPU))
            table = panels.coefficients((strength / (pole + strength))[None])
            values, slopes = panels.basis(panel, here)
            s = torch.exp(here)
            torch.testing.assert_close(
                torch.einsum("mjk,mj->mk", values, table), s / (pole + s), atol=1e-9, rtol=0
            )
            torch.testing.assert_close(
                torch.einsum("mjk,mj->mk", slopes, table),
                s * pole / (pole + s) ** 2,
                atol=1e-7,
                rtol=0,
            )


def test_panels_cover_what_they_should_in_equal_parts():
    panels = Panels.covering(2, 2 + 4 * math.log(10), 256)
    assert panels.number(torch.tensor([1.99, 2.01, 2 + 3.99 * math.log(10)])).tolist() == [-1, 0, 1]
    assert panels.length == pytest.approx(2 * math.log(10))
    nodes = panels.nodes(1, CPU)
    assert len(nodes) == panels.order
    assert (panels.number(nodes) == 1).all()


@pytest.mark.parametrize("q", [1, 2, 3, 4, 7, 8])
def test_weighted_products(q):
    rng = np.random.default_rng(q)
    rows, others = rng.standard_normal((5, q, 11)), rng.standard_normal((5, 3, 11))
    weights, columns = rng.random((11, 4)), rng.standard_normal((11, 2))
    tensor = torch.from_numpy
    gram = weighted_gram(tensor(rows), tensor(weights))
    np.testing.assert_allclose(gram, np.einsum("mui,ij,mvi->mjuv", rows, weights, rows), atol=1e-12)
    cross = weighted_cross(tensor(rows), tensor(others), tensor(weights))
    expected = np.einsum("mui,ij,mvi->mjuv", rows, weights, others)
    np.testing.assert_allclose(cross, expected, atol=1e-12)
    labels = weighted_labels(tensor(rows), tensor(columns), tensor(weights))
    expected = np.einsum("mui,ij,ik->mjuk", rows, weights, columns)
    np.testing.assert_allclose(labels, expected, atol=1e-12)
