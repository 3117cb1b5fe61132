from __future__ import annotations

import pytest

from esm.report.numbers import duration, megabytes, number, plus_minus, points, size


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (float("nan"), "-"), (0.12345, "0.123"), (-2.0, "-2.000")]
)
def test_numbers(value, text):
    assert number(value) == text


def test_units():
    assert number(0.5, 1, sign=True) == "+0.5"
    assert [duration(s) for s in (3.21, 59, 61, 3725)] == ["3.2 s", "59 s", "1 min", "1 h 2 min"]
    assert [size(b) for b in (12, 57_300, 2_360_000, 1.2e9)] == [
        "12 B",
        "57.3 kB",
        "2.4 MB",
        "1.2 GB",
    ]


def test_fractions_in_points_with_their_error():
    assert (points(0.6531), points(-0.05, sign=True), points(None)) == ("65.3", "-5.0", "-")
    assert plus_minus(0.6531, 0.012) == "65.3 ± 1.2"
    assert plus_minus(0.05, 0.01, sign=True) == "+5.0 ± 1.0"
    assert (plus_minus(0.05, None), plus_minus(None, 0.01)) == ("5.0", "-")
    assert (megabytes(2.61), megabytes(0.0042)) == ("2.6", "0.004")
