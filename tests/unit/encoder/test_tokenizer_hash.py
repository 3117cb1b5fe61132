"""A tokenizer's hash: other ids, another hash; other files of the same ids, the same."""

from __future__ import annotations

import json
import shutil

import pytest
from transformers import AutoTokenizer

from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity, EncoderConfig
from esm.encoder.tokenizer_hash import tokenizer_hash
from tests.tiny_models import KINDS, save_tiny


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_saving_loading_and_using_a_tokenizer_leave_it_the_same(kind, tmp_path):
    folder = save_tiny(kind, tmp_path / "model")
    one = AutoTokenizer.from_pretrained(folder)
    one(["the film"], truncation=True, max_length=8, padding=False)
    one.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert tokenizer_hash(one) == tokenizer_hash(again)


def reversed_words(document):
    vocabulary = document["model"]["vocab"]
    words = sorted(word for word in vocabulary if word.isalpha() and len(word) > 1)
    rows = [vocabulary[word] for word in words]
    vocabulary |= dict(zip(words, rows[::-1], strict=True))


def cased(document):
    document["normalizer"]["lowercase"] = False


def without_separator(document):
    for template in ("single", "pair"):
        document["post_processor"][template].pop()


@pytest.mark.parametrize("change", [reversed_words, cased, without_separator])
def test_what_changes_the_ids_of_a_text_changes_the_hash(tiny_bert, tmp_path, change):
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    # Else BERT's own class would build normalizer and template anew from its settings.
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    mended = AutoTokenizer.from_pretrained(folder)
    original = AutoTokenizer.from_pretrained(tiny_bert)
    text = "The FILM was good"
    assert mended(text)["input_ids"] != original(text)["input_ids"]
    assert tokenizer_hash(mended) != tokenizer_hash(original)
    one, other = (
        Encoder.load(EncoderConfig(model=str(of)), "cpu").identity for of in (tiny_bert, folder)
    )
    assert one.weights == other.weights
    assert one.differences(other) == ("tokenizer",)
    assert one.content_hash() != other.content_hash()


def test_other_merges_of_the_same_vocabulary_are_another_tokenizer(tmp_path):
    folder = save_tiny("gpt2", tmp_path / "model")
    original = tokenizer_hash(AutoTokenizer.from_pretrained(folder))
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text())
    document["model"]["merges"] = document["model"]["merges"][::-1]
    path.write_text(json.dumps(document))
    assert tokenizer_hash(AutoTokenizer.from_pretrained(folder)) != original


def test_an_identity_without_a_tokenizer_matches_by_the_rest(tiny_encoder):
    known = tiny_encoder.identity
    stored = known.model_dump(mode="json", exclude={"tokenizer"})
    old = BaseIdentity.model_validate(stored)
    assert old.tokenizer is None
    assert known.differences(old) == old.differences(known) == ()
    other = old.model_copy(update={"max_length": 8, "model": "another name"})
    assert known.differences(other) == ("max_length",)
    # What was stored under its hash is still found.
    assert old.content_hash() != known.content_hash()
    assert old.content_hash() == known.model_copy(update={"tokenizer": None}).content_hash()
