"""Prompts of a base model: what it declares, what is asked for, and what follows from it."""

import json
import logging
import shutil

import numpy as np
import pytest
from transformers import AutoTokenizer

from esm.common.errors import EncoderError
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity, EncoderConfig
from tests.tiny_models import save_tiny

PREFIX = "claim: "
TEXTS = ["the vaccine was not good", "food", ""]


@pytest.fixture
def warned(caplog):
    caplog.set_level(logging.WARNING, logger="esm")
    return lambda: [record.getMessage() for record in caplog.records]


def load(folder, **settings):
    config = EncoderConfig(model=str(folder), **({"max_length": 32} | settings))
    return Encoder.load(config, device="cpu")


def declare(source, to, **files):
    folder = shutil.copytree(source, to)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def prompts(default=None, **texts):
    return {"prompts": texts, "default_prompt_name": default}


# -------------------------------------------------------------------------- what it does


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "gpt2"])
def test_a_prefix_stands_before_every_text(kind, tmp_path):
    folder = save_tiny(kind, tmp_path)
    with_prefix = load(folder, prefix=PREFIX).embed(TEXTS).last
    assert np.allclose(with_prefix, load(folder).embed([PREFIX + t for t in TEXTS]).last, atol=1e-5)
    assert not np.allclose(with_prefix, load(folder).embed(TEXTS).last, atol=1e-2)


def test_of_a_pair_it_stands_before_the_first_alone(tiny_bert):
    ours = load(tiny_bert, prefix=PREFIX).tokenize(["the food"], ["the film"])
    assert ours == load(tiny_bert).tokenize([PREFIX + "the food"], ["the film"])


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "t5", "gpt2"])
@pytest.mark.parametrize("pair", [None, "the film was bad"])
def test_every_window_of_a_long_text_begins_with_it(kind, pair, tmp_path):
    folder = save_tiny(kind, tmp_path)
    encoder = load(folder, prefix="good: ", max_length=24, max_chunks=9, stride=2)
    text = " ".join(np.random.default_rng(0).choice(["the", "film", "was", "very", "bad"], 60))
    [tokens] = encoder.tokenize([text], None if pair is None else [pair])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    one, other = (tokenizer("good: " + word)["input_ids"] for word in ("the", "film"))
    same = next(place for place, ids in enumerate(zip(one, other, strict=False)) if len({*ids}) > 1)
    assert same > 1
    assert len(tokens.chunks) > 2
    for chunk in tokens.chunks:
        assert chunk["input_ids"][:same] == one[:same]
        assert len(chunk["input_ids"]) <= 24
    assert encoder.count_cut([text], None if pair is None else [pair]) == 0
    assert encoder.with_chunks(1).count_cut([text], None if pair is None else [pair]) == 1


def test_places_in_the_text_do_not_count_it(tiny_bert):
    text = "the food was good"
    [(tokens, places)] = load(tiny_bert, prefix=PREFIX).reader.read_places([text])
    [(_, without)] = load(tiny_bert).reader.read_places([text])
    assert len(places) == len(tokens.chunks[0]["input_ids"])
    assert [place for place in places if place[1]] == [place for place in without if place[1]]


def test_a_prefix_without_room_for_a_text_is_refused(tiny_bert):
    with pytest.raises(
        EncoderError, match=r"prefix 'the the .* special tokens are 32 tokens, an i"
    ):
        load(tiny_bert, prefix="the " * 30)
    assert np.isfinite(load(tiny_bert, prefix="the " * 20).embed(["food"]).last).all()


# -------------------------------------------------------------------------- what is declared


def test_the_default_prompt_is_taken(tiny_bert, tmp_path):
    declared = prompts("query", query="good: ", passage="bad: ")
    folder = declare(tiny_bert, tmp_path / "m", config_sentence_transformers=declared)
    assert load(folder).identity.prefix == "good: "
    assert load(folder, prefix="").identity.prefix == ""
    assert load(folder, prefix="claim: ").identity.prefix == "claim: "


def test_a_prompt_for_classification_is_taken(tiny_bert, tmp_path, warned):
    declared = prompts(**{"query": "q: ", "Classification": "task: "})
    folder = declare(tiny_bert, tmp_path / "m", config_sentence_transformers=declared)
    assert load(folder).config.prefix == "task: "
    assert warned() == []


def test_prompts_for_other_purposes_are_named_and_not_taken(tiny_bert, tmp_path, warned):
    declared = prompts(query="query: ", document="")
    folder = declare(tiny_bert, tmp_path / "m", config_sentence_transformers=declared)
    assert load(folder).identity.prefix == ""
    assert warned() == [
        "model m was trained with prompts (query 'query: '), none of them its default: none is"
        " used; --prefix chooses one"
    ]
    load(folder, prefix="")
    assert len(warned()) == 1


@pytest.mark.parametrize("declared", [{}, prompts(), prompts(query="", document="")])
def test_no_prompts_no_note(tiny_bert, tmp_path, warned, declared):
    folder = declare(tiny_bert, tmp_path / "m", config_sentence_transformers=declared)
    assert load(folder).identity.prefix == ""
    assert warned() == []


def test_what_is_saved_reads_texts_in_the_same_way(tiny_bert, tmp_path):
    encoder = load(tiny_bert, prefix=PREFIX)
    encoder.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.identity.content_hash() == encoder.identity.content_hash()
    assert np.array_equal(again.embed(TEXTS).last, encoder.embed(TEXTS).last)


def test_layers_behind_the_pooling_are_named_as_left_out(tiny_bert, tmp_path, warned):
    kinds = {
        "": "Transformer",
        "1_Pooling": "Pooling",
        "2_Dense": "Dense",
        "3_Normalize": "Normalize",
    }
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for path, kind in kinds.items()
    ]
    folder = declare(tiny_bert, tmp_path / "m", modules=modules)
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text('{"in_features": 32, "out_features": 16}')
    assert load(folder).width == 32
    assert warned() == [
        "model m has 2_Dense (Dense, from 32 to 16) behind its pooling: left out, its embeddings"
        " are the pooled hidden states"
    ]


# -------------------------------------------------------------------------- whose it is


def identity(**changes):
    known = {"model": "offline", "weights": "ab" * 32, "pooling": "mean", "max_length": 256}
    known |= {"precision": "float32", "width": 384, "num_layers": 6}
    return BaseIdentity(**(known | changes))


def test_without_a_prefix_the_hash_is_what_it_was_before_there_were_prefixes():
    """Pools and caches on disk are known by it; the number is from version 0.1.0."""
    known = "954e98508447b9e2345fde98a9c3aab18e2d33e16cae39ddbb1608641d021fbd"
    assert identity().content_hash() == known
    assert identity(prefix="").content_hash() == known


def test_a_prefix_makes_another_base():
    hashes = {identity(prefix=prefix).content_hash() for prefix in ("", "a: ", "b: ")}
    assert len(hashes) == 3


def test_an_identity_from_disk_that_knows_no_prefix_has_none():
    stored = identity().model_dump(mode="json")
    del stored["prefix"]
    assert BaseIdentity.model_validate(stored) == identity()
