"""Codes as surveys document them; what is a code and what a level follows from the gap."""

import pytest

from esm.tasks.labels.missing import missing_codes, says_nothing, says_unsure


def codes(column, *names):
    return missing_codes(column, dict.fromkeys(map(str, names), 5))


@pytest.mark.parametrize(
    ("column", "names", "found"),
    [
        ("label", (-1, 0, 1), ("-1",)),
        ("label", (-1, 0, 1, 2), ("-1",)),
        ("label", (1, 2, 3, -9), ("-9",)),
        ("rating", (1, 2, 3, 4, 5, 9), ("9",)),
        ("rating", (1, 2, 3, 4, 8, 9), ("8", "9")),
        ("rating", (1, 2, 3, 99), ("99",)),
        ("rating", (1, 2, 3, -99, -88), ("-88", "-99")),
        ("age", (18, 40, 65, 999), ("999",)),
        ("x", ("0.5", "0.25", "-1"), ("-1",)),
        ("x", (-2, -1, 0, 1, 2, -99), ("-99",)),
        # Levels, classes and amounts:
        ("label", (-1, 1), ()),
        ("sentiment", (-1, 0, 1), ()),
        ("postoj", (-1, 0, 1), ()),
        ("label", (-2, -1, 0, 1, 2), ()),
        ("rating", (1, 2, 3, 4, 5, 6, 7, 8, 9), ()),
        ("rating", (1, 3, 5, 9), ()),
        ("age", (18, 40, 65, 99), ()),
        ("percent", tuple(range(101)), ()),
        ("temperature", ("-0.5", "0.5", "-9"), ()),
        ("delta", (-99, -50, 0, 50), ()),
    ],
)
def test_numbers_that_stand_for_no_answer(column, names, found):
    assert codes(column, *names) == found


@pytest.mark.parametrize(
    "name",
    [
        *("N/A", "n/a", "NA", "null", "-", "?", "...", "don't know", "Do not know", "no answer"),
        *("neviem", "Bez odpovede", "neuvedené", "nevím", "Bez odpovědi", "neuvedeno"),
        *(
            "nie wiem",
            "Brak odpowiedzi",
            "trudno powiedzieć",
            "weiß nicht",
            "keine Angabe",
            "k. A.",
        ),
        *("-99 - bez odpovede", "99 = keine Angabe", "9 (don't know)", "0: neviem"),
    ],
)
def test_words_that_stand_for_no_answer(name):
    assert says_nothing(name)
    assert codes("stance", "for", "against", name) == (name,)


@pytest.mark.parametrize(
    "name", ["None", "unclear", "other", "nie", "žiadny", "brak", "0", "5 - x"]
)
def test_classes_that_are_answers(name):
    assert not says_nothing(name)
    assert codes("stance", "for", "against", name) == ()


def test_two_classes_are_left():
    assert codes("x", "viem", "neviem") == ()
    assert codes("x", "yes", "N/A", "-9") == ()
    # A plus and a minus are two classes.
    assert codes("x", "+", "-", "0") == ()


def test_a_code_beside_words():
    assert codes("x", "yes", "no", -9, 99) == ("-9", "99")
    assert codes("x", "yes", "no", 3) == ()


def test_the_commonest_comes_first():
    assert missing_codes("x", {"a": 9, "b": 8, "N/A": 2, "neviem": 5}) == ("neviem", "N/A")


def test_unsure_is_a_class_unless_beside_a_scale():
    assert says_unsure("Cannot tell")
    assert says_unsure("nedá sa určiť")
    assert not says_nothing("Cannot tell")
