import pytest

from esm.tasks.guess.facts import Facts
from esm.tasks.guess.roles import (
    Role,
    find_group,
    find_pair,
    find_split,
    guess_column,
    text_candidates,
)
from esm.tasks.task import Problem

N = 60
TEXTS = [f"Príspevok o tom, že číslo {i} je lož" for i in range(N)]


def column(name, values):
    return Facts(name, list(values))


def cycle(*values):
    return [values[i % len(values)] for i in range(N)]


def test_the_text_is_the_column_called_so_else_the_longest_and_fullest():
    note = column("poznámka", [None] * 50 + TEXTS[:10])
    post = column("znenie", TEXTS)
    title = column("nadpis", [f"Krátky nadpis {i}" for i in range(N)])
    label = column("odôvodnenie", cycle("áno, lebo je to pravda", "nie, lebo to nesedí"))
    assert text_candidates([note, title, label, post])[0] is post
    assert text_candidates([note, label]) == [note]
    assert text_candidates([column("url", [f"https://a.sk/{i}" for i in range(N)])]) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [("sentence1", "sentence2"), ("premise", "hypothesis"), ("tvrdenie", "dôkaz"), ("A", "B")],
)
def test_two_texts_are_a_pair_by_their_names(first, second):
    one, two = column(first, TEXTS), column(second, [f"Iná veta {i}" for i in range(N)])
    assert find_pair([two, one]) == (one, two)
    assert find_pair([one, column("nadpis", TEXTS)]) is None


def test_a_split_column_names_splits_only():
    split = column("časť", cycle("trénovacia", "test"))
    assert find_split([column("x", cycle("test", "iné")), split]) is split
    assert find_split([column("x", cycle("test"))]) is None
    assert find_split([column("x", [None, *cycle("train", "test")[1:]])]) is None


def test_a_group_is_named_like_an_origin_and_repeats():
    author = column("autor_id", [f"a{i % 20}" for i in range(N)])
    source = column("zdroj", [f"z{i % 20}" for i in range(N)])
    claim = column("tvrdenie", [f"t{i % 20}" for i in range(N)])
    assert find_group([source, claim, author]) is author
    assert find_group([claim, source]) is source
    assert find_group([column("autor", range(N))]) is None
    assert find_group([column("autor", cycle("a", "b"))]) is None
    assert find_group([column("autor", [f"a{max(0, i - 40)}" for i in range(N)])]) is None
    assert find_group([column("téma", [f"a{i % 20}" for i in range(N)])]) is None


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
            [i / 7 for i in range(N - 2)] + ["n/a", "?"],
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
