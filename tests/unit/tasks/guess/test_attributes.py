"""Expected roles and kinds follow from the columns as they are written here."""

import pytest

from esm.tasks.guess.attributes import guess_column
from esm.tasks.guess.facts import Facts
from esm.tasks.guess.roles import Role
from esm.tasks.task import Problem

N = 60
TEXTS = [f"Príspevok o tom, že číslo {i} je lož" for i in range(N)]


def column(name, values):
    return Facts(name, list(values))


def cycle(*values):
    return [values[i % len(values)] for i in range(N)]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("postoj", cycle("súhlasí", "nesúhlasí", None), "classification"),
        ("téma", cycle(1, 2, 3), "classification"),
        ("škodlivé", cycle(True, False), "classification"),
        ("závažnosť", cycle("nízka", "stredná", "vysoká"), "ordinal"),
        ("hodnotenie", cycle(1, 2, 3, 4, 5), "ordinal"),
        ("toxicita", [i / N for i in range(N)], "regression"),
        ("emócia", [i % 25 for i in range(N)], "classification"),
        ("skóre", [i % 25 for i in range(N)], "regression"),
        ("body", [3 * (i % 25) for i in range(N)], "regression"),
        ("emócie", cycle("strach; hnev", "hnev", ";"), "multi-label"),
        ("emócie", cycle(["strach"], [], ["hnev", "strach"]), "multi-label"),
        ("tvrdenie", cycle(0, 1), "classification"),
        ("author_gender", cycle("ž", "m"), "classification"),
    ],
)
def test_attributes_and_their_kinds(name, values, kind):
    guess = guess_column(column(name, values))
    assert guess.role is Role.ATTRIBUTE
    assert guess.how.kind == kind
    assert guess.why


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("prázdny", [None] * N, "empty"),
        ("krajina", cycle("SK"), "the same value in all 60 rows that have one"),
        ("dátum", [f"{i % 28 + 1}. 3. 2021" for i in range(N)], "dates"),
        ("č.", range(1, N + 1), "an id: 60 distinct values in 60 rows"),
        ("tweet", [10**17 + i * i for i in range(N)], "an id: 60 distinct values in 60 rows"),
        ("kľúč", [f"x{i}" for i in range(N)], "an id: 60 distinct values in 60 rows"),
        ("zdroj", cycle("facebook", "blog"), "named like an origin; 2 distinct values in 60 rows"),
        ("anotátor", cycle("a1", "a2"), "who annotated, not what"),
        ("odkaz", cycle("https://a.sk/1", "https://b.sk/2"), "addresses on the web"),
        ("počet lajkov", [i * 7 % 50 for i in range(N)], "named like an amount"),
        ("poznámka", TEXTS, "free text: on average 8 words"),
        (
            "skóre",
            [i / 7 for i in range(N - 2)] + ["asi 3", "veľa"],
            "58 of 60 cells are numbers, 2 are",
        ),
        ("mesto", [f"m{i % 40}" for i in range(N)], "40 distinct values in 60 rows: classes are"),
    ],
)
def test_columns_that_are_no_attributes_and_why(name, values, why):
    guess = guess_column(column(name, values))
    assert (guess.role, guess.how) == (Role.NONE, None)
    assert why in guess.why


def test_empty_cells_of_sets_of_labels_are_said_to_be_not_annotated():
    cells = ["strava; očkovanie", "strava", None, "očkovanie; strava", "očkovanie", None] * 5
    guess = guess_column(Facts("témy", cells))
    assert guess.how.kind == Problem.MULTILABEL
    assert "10 empty ones count as not annotated: where no label holds, write ; or []" in guess.why
    lists = guess_column(Facts("témy", [["a"], [], None] * 5))
    assert lists.why.endswith("5 empty ones count as not annotated: where no label holds, write []")
    assert "empty" not in guess_column(Facts("témy", [["a"], ["b"]] * 5)).why
