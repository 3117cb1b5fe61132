import pytest

from esm.tasks.guess.facts import Facts
from esm.tasks.guess.roles import (
    find_group,
    find_pair,
    find_split,
    text_candidates,
)

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
