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


# --------------------------------------------------------------------------------- no answers


@pytest.mark.parametrize(
    ("name", "values", "kind", "missing", "order"),
    [
        ("label", cycle(0, 1, 1, -1), "classification", ("-1",), ()),
        ("hodnotenie", cycle(1, 2, 3, 4, 5, 99), "ordinal", ("99",), ("1", "2", "3", "4", "5")),
        ("hodnotenie", cycle("1", "2", "3", "N/A"), "ordinal", ("N/A",), ("1", "2", "3")),
        (
            "cena",
            [*(f"{i / 7:.2f}" for i in range(N - 5)), *["-99"] * 5],
            "regression",
            ("-99",),
            (),
        ),
        ("stance", cycle("for", "against", "don't know"), "classification", ("don't know",), ()),
        (
            "míra",
            cycle("nízká", "střední", "vysoká", "nevím"),
            "ordinal",
            ("nevím",),
            ("nízká", "střední", "vysoká"),
        ),
        (
            "frequency",
            cycle("never", "sometimes", "always", "cannot tell"),
            "ordinal",
            ("cannot tell",),
            ("never", "sometimes", "always"),
        ),
        # Beside classes, "cannot tell" may be one.
        ("verdict", cycle("true", "false", "cannot tell"), "classification", (), ()),
        ("polarity", cycle(-1, 0, 1), "classification", (), ()),
    ],
)
def test_labels_that_stand_for_no_answer_are_proposed_as_missing(
    name, values, kind, missing, order
):
    guess = guess_column(column(name, values))
    assert (guess.how.kind, guess.how.missing, guess.how.order) == (kind, missing, order)
    assert ("left out as no answer" in guess.why) == (bool(missing) and kind != "x")


@pytest.mark.parametrize(
    "levels",
    [
        ("1 - vôbec", "2", "3", "10 - úplne"),
        ("(1) never", "(2) rarely", "(3) always"),
        ("1=trifft nicht zu", "2=teils", "3=trifft zu"),
        ("nigdy", "rzadko", "często", "zawsze"),
        ("niski", "średni", "wysoki"),
        ("gering", "mittel", "hoch"),
        ("veľmi zlá", "zlá", "dobrá", "veľmi dobrá"),
        ("vůbec", "trochu", "hodně", "velmi"),
        ("not at all", "somewhat", "very"),
        ("nie", "selten", "manchmal", "oft", "immer"),
        ("stimme nicht zu", "teils/teils", "stimme zu"),
        ("rozhodně nesouhlasím", "spíše nesouhlasím", "spíše souhlasím", "rozhodně souhlasím"),
        ("ne", "spíše ne", "spíše ano", "ano"),
        ("zdecydowanie nie", "raczej nie", "raczej tak", "zdecydowanie tak"),
        ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
        ("vôbec nesúhlasím", "nesúhlasím", "súhlasím", "úplne súhlasím"),
    ],
)
def test_ordered_scales_in_several_languages(levels):
    shuffled = levels[::-1]
    guess = guess_column(column("q7", [shuffled[i % len(levels)] for i in range(N)]))
    assert guess.how.kind == Problem.ORDINAL
    assert guess.how.order == levels


def test_a_level_that_is_spelled_in_two_ways_is_one_level():
    values = ["nízka", "Nízka", "nízka", "stredná", "vysoká"] * 12
    guess = guess_column(column("riziko", values))
    assert guess.how.order == ("nízka", "stredná", "vysoká")


# ------------------------------------------------------------------- numbers written for people


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (cycle("5 %", "12,5 %", "85 %"), "numbers written for people, in %: 3 different numbers"),
        (
            cycle("1 250", "3 100", "950"),
            "numbers written for people: 3 different numbers from 950",
        ),
        (cycle("1,5", "2", "4,5"), "3 different numbers from 1.5 to 4.5"),
        (cycle("0.5", "0.25", "1"), "3 different numbers from 0.25 to 1"),
    ],
)
def test_numbers_for_people_are_amounts(values, why):
    guess = guess_column(column("dosah", values))
    assert guess.how.kind == Problem.REGRESSION
    assert why in guess.why


def test_numbers_that_cannot_be_read_are_no_classes():
    guess = guess_column(column("dosah", cycle("1,250", "3,100", "2,750")))
    assert guess.role is Role.NONE
    assert "may be 1250 or 1.25: write all of them in one way" in guess.why


def test_numbers_in_strings_are_as_good_as_numbers():
    guess = guess_column(column("stars", cycle("1", "2", "3", "4")))
    assert (guess.how.kind, guess.how.order) == ("ordinal", ("1", "2", "3", "4"))


# ------------------------------------------------------------------------------ sets of labels


def test_indicators_of_labels():
    guess = guess_column(column("labels", cycle([0, 0, 0], [1, 0, 1], [0, 1, 0])))
    assert (guess.how.kind, guess.how.indicators) == ("multi-label", 3)
    assert "(label_0 to label_2); none holds in 20 of 60 rows" in guess.why
    written = guess_column(column("labels", cycle("0 0 0", "1 0 1", "0 1 0")))
    assert written.how == guess.how
    one_hot = guess_column(column("labels", cycle([0, 0, 1], [1, 0, 0], [0, 1, 0])))
    assert one_hot.how.kind == "classification"
    assert "for 3 labels, of which one holds" in one_hot.why


def test_lists_of_one_label_are_classes():
    guess = guess_column(column("label", cycle(["true"], ["false"], [])))
    assert guess.how.kind == "classification"
    assert "every list holds one label, and 20 none, which counts as not annotated" in guess.why


def test_choices_beside_single_labels():
    cells = cycle("diet", '{"choices": ["diet", "law"]}', "law")
    guess = guess_column(column("topics", cells))
    assert guess.how.kind == "multi-label"
    assert "20 of 60 cells are lists, the others one label" in guess.why


@pytest.mark.parametrize(
    "values", [cycle([{"start": 1}]), cycle('[{"rating": 3}]', '[{"rating": 1}]'), cycle({"a": 1})]
)
def test_records_are_no_labels(values):
    guess = guess_column(column("label", values))
    assert guess.role is Role.NONE


def test_spans_are_no_labels():
    guess = guess_column(column("label", cycle([[0, 5, "PER"]], [[3, 9, "LOC"], [1, 2, "PER"]])))
    assert guess.role is Role.NONE
    assert "its cells hold lists, which are no labels" in guess.why


def test_an_option_with_a_comma_inside_is_one_label():
    cells = cycle("food, drink", "law", "law, food, drink", "vaccine", "law, vaccine", "law")
    guess = guess_column(column("topics", cells))
    assert (guess.how.separator, guess.how.options) == (",", ("food, drink",))
    assert "always together: food, drink" in guess.why


# --------------------------------------------------------------------------- what tools write


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("lead_time", [i * 1.37 for i in range(N)], "annotation tools write"),
        ("was_cancelled", cycle(True, False), "annotation tools write"),
        ("ground_truth", cycle("True", "False"), "annotation tools write"),
        ("agreement", cycle(0, 50, 100), "annotation tools write"),
        ("updated_by", cycle(3, 7), "annotation tools write"),
        ("Zeitstempel", [f"5. 3. 2024 10:{i:02}:00" for i in range(N)], "annotation tools write"),
        ("Unnamed: 0", range(N), "annotation tools write"),
        ("score", [0.1234 + i / 77.7 / 2 for i in range(N)], "a model's score"),
        ("text_id", [i // 3 for i in range(N)], "an id: 20 distinct values in 60 rows"),
        ("post_id", [f"p{i // 2}" for i in range(N)], "an id"),
        ("tweet_id", cycle("1,23457E+18", "1,512E+18"), "ids that a spreadsheet has turned"),
        ("tweet_id", cycle(1.23457e18, 1.512e18), "ids that a spreadsheet has turned"),
        ("diet", cycle("x", None), "a check box: 30 cells say 'x', the other 30 are empty"),
        ("diet", cycle("X", "x", None), "a check box"),
        ("diet", cycle("Diet", None), "a check box"),
        ("diet", cycle("✓", None, "✔"), "a check box: 40 cells say"),
        ("diet", cycle(True, None), 'write empty = "no" under its columns'),
    ],
)
def test_what_tools_write_is_no_attribute(name, values, why):
    guess = guess_column(column(name, values))
    assert guess.role is Role.NONE
    assert why in guess.why


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("agreement", cycle(1, 2, 3, 4, 5)),
        ("ground_truth", cycle("reliable", "misleading", "unclear")),
        ("topic_id", cycle(1, 2, 3)),
        ("score", cycle(1, 2, 3)),
        ("score", [i / 10 for i in range(N)]),
        ("status", cycle("rumour", "fact", "opinion")),
    ],
)
def test_names_of_tools_that_people_use_as_well(name, values):
    assert guess_column(column(name, values)).role is Role.ATTRIBUTE


def test_spellings_and_classes_that_look_alike_are_named():
    guess = guess_column(column("x", cycle("ano", "Ano", "nie")))
    assert "2 values in 60 rows: ano 40, nie 20; read Ano as ano 20" in guess.why
    guess = guess_column(column("x", cycle("US", "us", "EU")))
    assert "look alike: US 20, us 20" in guess.why


def test_one_class_in_many_spellings_beside_another():
    guess = guess_column(column("x", cycle("Áno", "áno", "ÁNO", "Nie", "nie")))
    assert guess.how.kind == "classification"
    assert "2 values in 60 rows: áno 36, nie 24; read Áno as áno 12" in guess.why


@pytest.mark.parametrize(
    "name", ["Do you agree? (1-5)", "Ako hodnotíte príspevok?", "q (1 = vôbec, 5 = úplne)", "ocena"]
)
def test_questions_for_a_rating(name):
    guess = guess_column(column(name, cycle(1, 2, 3, 4, 5)))
    assert (guess.how.kind, guess.how.order) == ("ordinal", ("1", "2", "3", "4", "5"))
