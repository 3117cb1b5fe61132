"""Where words begin among tokens: by hand, and against a tokenizer that is given single words."""

from __future__ import annotations

import numpy as np
import pytest

from esm.common.errors import EncoderError
from esm.encoder.alignment import NOT_READ, align, first_tokens
from esm.encoder.tokens import TextReader
from esm.tasks.tagging import join_words
from tests.tiny_models import KINDS

TEXTS = [
    ["the", "vaccine", "was", "good"],
    ["people", "said", "xyz", ",", "ľúbezné", "!"],
    ["rain"],
    ["", "the", "", "film"],
]


def reader(name, max_length=48):
    return TextReader(KINDS[name].tokenizer(), max_length)


def test_by_hand():
    # "unsafe food" as [CLS] un ##safe food [SEP]
    places = [(0, 0), (0, 2), (2, 6), (7, 11), (0, 0)]
    assert first_tokens(["unsafe", "food"], places) == [1, 3]
    # A leading space that belongs to the next word's token, as in byte-level BPE.
    assert first_tokens(["ab", "c"], [(0, 2), (2, 4)]) == [0, 1]
    # A token that stands for the space alone, and one that is cut off.
    assert first_tokens(["ab", "c", "d"], [(0, 2), (2, 3), (3, 4)]) == [0, 2, NOT_READ]
    # A token over two words is the first of both; an empty word has none.
    assert first_tokens(["a", "b"], [(0, 3)]) == [0, 0]
    assert first_tokens(["a", "", "b"], [(0, 1), (3, 4)]) == [0, NOT_READ, 1]


def test_word_pieces_by_hand():
    found = align(reader("bert"), ["the xyz was good"])
    ids = found.tokens[0].chunks[0]["input_ids"]
    pieces = KINDS["bert"].tokenizer().convert_ids_to_tokens(ids)
    assert pieces == ["[CLS]", "the", "x", "##y", "##z", "was", "good", "[SEP]"]
    assert found.first.tolist() == [[1, 2, 5, 6]]
    assert (found.words, found.cut) == (4, 0)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_architecture_against_growing_texts(name):
    """A word's first token is the first that is new when the word is put behind the text."""
    texts = [words for words in TEXTS if "" not in words]
    found = align(reader(name), [join_words(words) for words in texts])
    tokenizer = KINDS[name].tokenizer()
    special = len(tokenizer("the")["input_ids"]) - len(
        tokenizer("the", add_special_tokens=False)["input_ids"]
    )
    before = tokenizer("the")["input_ids"].index(
        tokenizer("the", add_special_tokens=False)["input_ids"][0]
    )
    assert special >= before
    for row, words in enumerate(texts):
        expected = [before] + [
            before + len(tokenizer(join_words(words[:n]), add_special_tokens=False)["input_ids"])
            for n in range(1, len(words))
        ]
        # All but word pieces may begin a word with a token for the space before it.
        difference = found.first[row][: len(words)] - expected
        pieces = name in {"bert", "distilbert", "mpnet"}
        assert set(difference.tolist()) <= ({0} if pieces else {0, 1})
        assert (found.first[row][len(words) :] == NOT_READ).all()


def test_words_behind_the_last_token_are_counted():
    found = align(reader("bert", max_length=4), ["the film was good", "rain"])
    assert found.first.tolist() == [[1, 2, NOT_READ, NOT_READ], [1] + [NOT_READ] * 3]
    assert (found.words, found.cut) == (5, 2)


def test_empty_words_have_no_token():
    found = align(reader("bert"), [join_words(TEXTS[3])])
    assert found.first.tolist() == [[NOT_READ, 1, NOT_READ, 2]]


def test_a_tokenizer_that_does_not_tell_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(EncoderError, match=r"tokenizer Slow does not tell .* a fast tokenizer"):
        align(TextReader(Slow(), 8), ["a"])


def test_the_tokens_are_those_of_the_text():
    texts = [join_words(words) for words in TEXTS[:3]]
    found = align(reader("roberta"), texts)
    for tokens, other in zip(found.tokens, reader("roberta").read(texts), strict=True):
        assert tokens == other
    assert found.first.dtype == np.int64
