"""Expected names and keys follow from Unicode's own tables, or from what a reader sees."""

import pytest

from esm.tasks.labels.names import label_name, look, spelling_key


@pytest.mark.parametrize(
    "written",
    [
        "áno",
        "a\u0301no",  # decomposed, as Macs write it
        "áno\u00a0",
        "\u202fáno\u2009",
        "áno\u200b",
        "\ufeffáno",
        "á\u00adno",
        "\u200eáno\u200f",
        "  áno\t",
        "áno\u200d",
    ],
)
def test_what_looks_the_same_has_one_name(written):
    assert label_name(written) == "áno"


def test_joiners_inside_a_word_are_letters():
    persian = "می\u200cخواهم"
    assert label_name(persian) == persian


def test_blanks_of_all_kinds_between_words_are_one():
    assert label_name("skôr\u00a0 nie\n") == "skôr nie"
    assert label_name("two\u2003words") == "two words"


@pytest.mark.parametrize(
    ("value", "name"), [(1, "1"), (1.0, "1"), (0.5, "0.5"), (True, "True"), ("1", "1")]
)
def test_numbers_and_truth_values(value, name):
    assert label_name(value) == name


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Reliable", "reliable"),
        ("RELIABLE.", "reliable"),
        ("„áno“", "áno"),
        ("Straße", "strasse"),
        ("２", "2"),
        ("2.0", "2"),
        ("-1", "-1"),
        ("–1", "-1"),
        ("C#", "c#"),
        ("C++", "c++"),
        ("?", "?"),
        ("ﬁt", "fit"),
    ],
)
def test_keys_of_spellings(name, key):
    assert spelling_key(name) == key


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ano", "áno"),
        ("аno", "ano"),
        ("СOVID", "COVID"),
        ("not_reliable", "not reliable"),
        ("Nízka.", "nizka"),
    ],
)
def test_labels_that_look_alike(first, second):
    assert look(first) == look(second)


@pytest.mark.parametrize(("first", "second"), [("1", "-1"), ("C", "C#"), ("a", "b"), ("-", "?")])
def test_labels_that_do_not(first, second):
    assert look(first) != look(second)
