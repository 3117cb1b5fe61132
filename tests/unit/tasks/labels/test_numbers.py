"""Expected values are what a person reads who writes so."""

import pytest

from esm.tasks.labels.numbers import is_ruined_id, read_amounts


@pytest.mark.parametrize(
    ("cells", "values", "unit"),
    [
        (("75 %", "12,5 %", "100%"), (75, 12.5, 100), "%"),
        (("1 250", "3 100", "950"), (1250, 3100, 950), ""),
        (("1\u00a0250", "3\u202f100,5", "12\u2009000"), (1250, 3100.5, 12000), ""),
        (("1'250", "3’500"), (1250, 3500), ""),
        (("3,5", "4", "-1,5"), (3.5, 4, -1.5), ""),
        (("1.250,50", "3,1"), (1250.5, 3.1), ""),
        (("1,250.50", "3,100"), (1250.5, 3100), ""),
        (("1,250,000", "900"), (1250000, 900), ""),
        (("1.250.000", "2.500"), (1250000, 2500), ""),
        (("1.250", "2.500"), (1.25, 2.5), ""),
        # Means of three, as programs write them.
        (("3.667", "4.000"), (3.667, 4), ""),
        (("0,125", "1,250"), (0.125, 1.25), ""),
        (("5 €", "6,50 €"), (5, 6.5), "€"),
        (("$5", "$6.50"), (5, 6.5), "$"),
        (("1 250,75 Kč", "12 Kč"), (1250.75, 12), "kč"),
        (("−5", "3"), (-5, 3), ""),
        ((".5", "0.5"), (0.5, 0.5), ""),
    ],
)
def test_numbers_written_for_people(cells, values, unit):
    found = read_amounts(cells)
    assert found.values == dict(zip(cells, values, strict=True))
    assert (found.unit, found.why_not) == (unit, "")


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (("1,250", "3,100"), "numbers such as 1,250, which may be 1250 or 1.25"),
        (("1.200", "950", "12.000"), "numbers such as 1.250, which may be 1250 or 1.25"),
        (("1,2", "3.4"), "numbers with a decimal comma beside numbers with a decimal dot"),
        (("5 €", "6,50 $"), "numbers with different units"),
        (("85 %", "85"), "numbers with different units"),
    ],
)
def test_numbers_that_can_be_read_in_two_ways_are_refused_in_words(cells, why):
    found = read_amounts(cells)
    assert found.values == {}
    assert why in found.why_not


@pytest.mark.parametrize(
    "cells", [("a", "1"), ("007", "1"), ("1 2", "3"), ("1,2,3", "4"), ("5. 3. 2024",), ()]
)
def test_other_cells_are_no_numbers(cells):
    found = read_amounts(cells)
    assert (found.values, found.why_not) == ({}, "")


@pytest.mark.parametrize(
    ("value", "ruined"),
    [
        ("1,23457E+18", True),
        ("1.5E+17", True),
        (1.23457e18, True),
        ("1234567890123456789", False),
        (1234567890123456789, False),
        (0.5, False),
        (123457000.0, False),
        ("E+18", False),
    ],
)
def test_ids_whose_digits_are_lost(value, ruined):
    assert is_ruined_id(value) is ruined
