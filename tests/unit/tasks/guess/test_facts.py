import pytest

from esm.tasks.guess.facts import Facts
from esm.tasks.guess.words import SENDERS, plain_words, says, says_only


def facts(*values):
    return Facts("stĺpec", list(values))


def test_words_of_names_are_compared_without_case_accents_and_endings():
    assert plain_words("ČísloPríspevku_2") == ("cislo", "prispevku", "2")
    assert says("Zdroje", SENDERS)
    assert says("author_gender", SENDERS)
    assert not says_only("author_gender", SENDERS)
    assert not says("autorizácia", SENDERS)


def test_numbers_are_told_from_strings_and_lists():
    assert facts(1, None, 2.5, "").is_numbers
    assert not facts(1, 2.5).is_whole
    assert facts(1, 2.0).is_whole
    assert facts("a", None).is_strings
    assert not facts(True, False).is_numbers
    assert facts(["a"], []).is_lists
    assert not facts(None, "").is_strings


def test_counts_name_a_label_once_however_it_is_written():
    found = facts("áno", " áno", None, "nie")
    assert found.counts == {"áno": 2, "nie": 1}
    assert (found.fill, found.variety) == (0.75, pytest.approx(2 / 3))
    assert facts(["b", "a"], ["a", "b"]).variety == 0.5


def test_row_numbers_are_counted_on_without_gaps():
    assert facts(5, 3, 4).is_counted_on
    assert not facts(5, 3, 6).is_counted_on
    assert not facts(5, 5, 6).is_counted_on


@pytest.mark.parametrize(
    "date", ["2021-03-05", "2021-03-05T10:00:00", "5. 3. 2021", "05/03/21", "5.3.2021 10:15"]
)
def test_dates(date):
    assert facts(date, None).is_dates
    assert not facts(date, "neskôr").is_dates


def test_addresses_on_the_web():
    assert facts("https://fb.com/p/1", "www.sme.sk/čaj").is_addresses
    assert facts("sme.sk/clanok-1").is_addresses
    assert not facts("áno", "nie").is_addresses


def test_what_separates_labels_is_seen_in_the_cells_as_they_are_written():
    assert facts("strach; hnev", "žiaľ", "hnev;žiaľ", ";", "hnev").separated.separator == ";"
    assert facts("a\nb", "a", "b", "a\nb").separated.separator == "\n"
    assert facts("áno", "nie", "áno").separated is None
    assert facts(["a"], ["b"]).separated is None


def test_of_many_values_some_tell_what_they_look_like():
    values = [f"slovo {i}" for i in range(4001)]
    assert len(facts(*values).looked_at) == 1334
    assert facts(*values).mean_words == 2
    assert facts("a", None, "b").looked_at == ["a", "b"]
