import re

import numpy as np
import pytest

from esm.cli.demo import grammar as demo_grammar
from esm.cli.demo.grammar import (
    GARDEN,
    KITCHEN,
    POSTS,
    TICKETS,
    TRAVEL,
    advice,
    expand,
    style_post,
    view,
    witness,
)

RELATIONS = {"view": view, "witness": witness, "advice": advice}
GENRES = {"posts": POSTS, "garden": GARDEN, "travel": TRAVEL, "kitchen": KITCHEN}
SPOKEN = [(genre, name) for genre in GENRES for name in RELATIONS if name in GENRES[genre]]


def generator(seed=0):
    return np.random.default_rng(seed)


def test_slots_are_filled_within_words_too():
    words = {"a": ["the {b}"], "b": ["calm"]}
    assert expand("{a} sea and {a} sky", words, generator()) == "the calm sea and the calm sky"


def test_every_word_of_a_slot_is_used():
    rng = generator()
    said = {expand("{x}", {"x": ["p", "q", "r"]}, rng) for _ in range(50)}
    assert said == {"p", "q", "r"}


@pytest.mark.parametrize(("genre", "relation"), SPOKEN)
@pytest.mark.parametrize("label", [0, 1])
def test_every_pattern_of_a_genre_can_be_filled(genre, relation, label):
    words = GENRES[genre]
    for pattern in words[relation]:
        text = RELATIONS[relation]({**words, relation: [pattern]}, label, generator())
        assert text
        assert not set("{}") & set(text)


def test_every_slot_of_every_genre_can_be_filled():
    for words in (*GENRES.values(), TICKETS):
        for slot in words.keys() - RELATIONS.keys():
            assert "{" not in expand(f"{{{slot}}}", {**words, "sum": TICKETS["sum"]}, generator())


def test_the_label_says_which_filler_takes_which_role():
    words = {"witness": ["{doer} went, {hearer} stayed"]}
    assert witness(words, 1, generator()).startswith("i went, my ")
    assert witness(words, 0, generator()).endswith(" went, i stayed")

    words = {"advice": ["{pick} not {drop}"], "home": ["jam"], "shop": ["paste"]}
    assert advice(words, 1, generator()) == "jam not paste"
    assert advice(words, 0, generator()) == "paste not jam"

    words = {"view": ["{mine}|{theirs}"]}
    held, rejected = view(words, 1, generator()).split("|")
    assert view(words, 0, generator()).split("|") == [rejected, held]


def test_both_labels_of_a_story_with_a_hearer_use_the_same_words():
    for pattern in (pattern for pattern in TRAVEL["witness"] if "{hearer}" in pattern):
        words = {**TRAVEL, "witness": [pattern]}
        first, hearsay = (witness(words, label, generator(3)) for label in (1, 0))
        assert first != hearsay
        assert sorted(re.findall(r"[\w'-]+", first)) == sorted(re.findall(r"[\w'-]+", hearsay))


def test_texts_are_dressed_up_now_and_then(monkeypatch):
    assert "one. two." in {style_post(["one", "two"], POSTS, generator(seed)) for seed in range(20)}
    for share in ("OPENER_SHARE", "CLOSER_SHARE", "TAG_SHARE"):
        monkeypatch.setattr(demo_grammar, share, 1.0)
    text = style_post(["one"], POSTS, generator())
    assert " one. " in text
    assert text.split()[-1] in POSTS["tag"]


def test_a_typo_swaps_two_neighbouring_letters(monkeypatch):
    for share in ("OPENER_SHARE", "CLOSER_SHARE", "TAG_SHARE"):
        monkeypatch.setattr(demo_grammar, share, 0.0)
    monkeypatch.setattr(demo_grammar, "TYPO_SHARE", 1.0)
    texts = {style_post(["an orange"], POSTS, generator(seed)) for seed in range(20)}
    assert texts == {"an oarnge.", "an ornage."}
    assert style_post(["no long word"], POSTS, generator()) == "no long word."
