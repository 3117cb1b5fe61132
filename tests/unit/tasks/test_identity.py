"""When texts are the same; what is stored by these must stay as it is."""

from __future__ import annotations

import hashlib

import pytest

from esm.tasks.identity import (
    fingerprint_form,
    normal_form,
    row_forms,
    row_keys,
    unsalted_numbers,
)


def test_keys_tell_pairs_apart():
    assert row_keys(["a", "a"], ["b", "c"])[0] != row_keys(["a", "a"], ["b", "c"])[1]
    assert row_keys(["ab"], ["c"]) != row_keys(["a"], ["bc"])
    assert len(set(row_keys(["a", "a"], None))) == 1


def test_keys_and_numbers_are_those_of_stored_splits_and_pools():
    ended = b"\xff" * 8
    plain = (2).to_bytes(8, "little") + "á".encode() + ended + bytes(8) + ended
    key = hashlib.sha256(plain).hexdigest()
    assert row_keys(["á"], None) == [key[:32]]
    assert unsalted_numbers(["á"]).tolist() == [int(key[:16], 16)]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("RT @jano: Pozor,  klamú!\thttps://t.co/x", "rt pozor klamú"),
        ("„ČIPY“ vo vakcínach…", "čipy vo vakcínach"),
        ("A\u0301no_nie", "áno nie"),
        ("https://t.co/AbC", "https://t.co/abc"),
        ("  !!  ", "!!"),
    ],
)
def test_the_normal_form_of_a_text(text, form):
    assert normal_form(text) == form


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("RT @jano: Vakcíny  ZABÍJAJÚ! https://t.co/x", "vakcíny zabíjajú"),
        ("Vakcíny zabíjajú", "vakcíny zabíjajú"),
        ("art is long", "art is long"),
        ("...", "..."),
    ],
)
def test_what_two_copies_have_in_common(text, form):
    assert fingerprint_form(text) == form


def test_the_form_of_a_row_is_that_of_both_texts_of_a_pair():
    assert row_forms(["A!", "RT b"], None) == ["a", "rt b"]
    assert row_forms(["A!", "RT b"], ["C", "d."], fingerprint_form) == ["a\nc", "b\nd"]
