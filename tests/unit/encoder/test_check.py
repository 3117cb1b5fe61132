"""What is tried when a base model is loaded, on faults planted in a sound one."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from benchmarks.architectures import judge, save_tokenizer, tiny
from esm.common.errors import EncoderError
from esm.encoder.check import honours_mask
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from tests.tiny_models import save_tiny

TEXTS = ["the film was good", "virus", "it is true that people never buy good food", "sad"]


def load(folder, **settings) -> Encoder:
    return Encoder.load(EncoderConfig(model=str(folder), **settings), device="cpu")


# ------------------------------------------------------------------------ a sample of architectures


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("fnet", "equal, by length"),
        ("convbert", "equal, by length"),
        ("mobilebert", "equal, by length"),
        ("big_bird", "equal, padded"),
        ("nomic_bert", "equal, padded"),
        ("deberta-v2", "equal, padded"),
        ("xmod", "equal, padded"),
        ("funnel", "refused"),
        ("canine", "refused"),
        ("fsmt", "refused"),
    ],
)
def test_embeddings_are_those_of_the_text_alone_or_the_model_is_refused_by_name(
    name, result, tmp_path
):
    verdict, details = judge(name, tmp_path)
    assert verdict == result, details
    if result == "refused":
        assert details.startswith(f"model {name} ({name}) ")


def test_xmod_without_a_language_is_refused_in_one_line(tmp_path):
    model = tiny("xmod", save_tokenizer(tmp_path, ["input_ids", "attention_mask"]))
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"default_language": None}))
    with pytest.raises(EncoderError, match=r"\(xmod\) cannot embed a text \(ValueError: Input lan"):
        load(tmp_path)


def test_bigbird_reads_short_and_long_texts_alike_in_any_order(tmp_path):
    """With its blocks of 4, sparse attention would begin at 28 tokens and end at the first text."""
    folder = tmp_path
    tiny("big_bird", save_tokenizer(folder, ["input_ids", "attention_mask"])).save_pretrained(
        folder
    )
    encoder = load(folder, max_length=63)
    assert encoder.model.config.attention_type == "original_full"
    long = ["good food " * 20]
    before = encoder.embed(long, wide=True)
    encoder.embed(["good"])
    np.testing.assert_array_equal(encoder.embed(long, wide=True).last, before.last)


@pytest.fixture(scope="module")
def fnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fnet")
    tiny("fnet", save_tokenizer(folder, ["input_ids", "attention_mask"])).save_pretrained(folder)
    return load(folder, max_length=16, max_chunks=3, stride=2)


def test_texts_of_different_lengths_are_trained_on_as_they_are_embedded(fnet):
    assert not fnet.pads
    assert not fnet.with_model(fnet.model).pads
    pooled = fnet.pooled(fnet.collate(fnet.tokenize(TEXTS)))
    alone = np.vstack([fnet.embed([text]).last for text in TEXTS])
    np.testing.assert_allclose(pooled.detach().numpy(), alone, atol=1e-6)
    pooled.square().sum().backward()
    assert all(weight.grad is not None for weight in fnet.model.parameters())
    fnet.model.zero_grad()


# ------------------------------------------------------------------------------- planted faults


def altered(encoder: Encoder, monkeypatch, change) -> Encoder:
    """Let a function change what the model returns."""
    forward = encoder.model.forward

    def changed(**inputs):
        found = forward(**inputs)
        layers = (*found.hidden_states[:-1], change(found.last_hidden_state, inputs))
        return SimpleNamespace(last_hidden_state=layers[-1], hidden_states=layers)

    monkeypatch.setattr(encoder.model, "forward", changed)
    return encoder


def test_a_sound_model_honours_the_mask(tiny_encoder):
    assert honours_mask(tiny_encoder)
    assert tiny_encoder.pads


def test_padding_that_changes_hidden_states_is_seen(tiny_encoder, monkeypatch):
    by_padding = altered(
        tiny_encoder, monkeypatch, lambda states, inputs: states + 1e-3 * states.shape[1]
    )
    assert not honours_mask(by_padding)


def test_a_model_with_chance_in_it_is_refused(tiny_encoder, monkeypatch):
    random = altered(
        tiny_encoder, monkeypatch, lambda states, _: states + 0.01 * torch.randn_like(states)
    )
    with pytest.raises(EncoderError, match=r"\(bert\) gives other hidden states each time"):
        honours_mask(random)


def test_a_model_that_mixes_the_texts_of_a_batch_is_refused(tiny_encoder, monkeypatch):
    mixing = altered(
        tiny_encoder, monkeypatch, lambda states, _: states + 0.1 * states.mean(dim=(0, 1))
    )
    with pytest.raises(EncoderError, match=r"depend on the other texts of a batch"):
        honours_mask(mixing)


def test_a_model_that_fails_on_its_longest_input_is_refused(tiny_encoder, monkeypatch):
    def short_of_positions(states, inputs):
        if states.shape[1] > 20:
            raise IndexError("index out of range in self")
        return states

    failing = altered(tiny_encoder, monkeypatch, short_of_positions)
    with pytest.raises(
        EncoderError, match=r"embed a text \(IndexError: index out of range"
    ) as told:
        honours_mask(failing)
    assert "a shorter --max-length" in str(told.value)


def test_hidden_states_that_are_not_one_per_token_are_refused(tiny_encoder, monkeypatch):
    halved = altered(tiny_encoder, monkeypatch, lambda states, _: states[:, ::2])
    with pytest.raises(EncoderError, match=r"hidden states of the shape \(1, \d+, 32\) for 1 x"):
        honours_mask(halved)


def test_where_the_longest_input_has_no_memory_a_shorter_one_is_tried(tiny_encoder, monkeypatch):
    tried = []

    def full(states, inputs):
        tried.append(tuple(states.shape[:2]))
        if len(tried) == 3:
            raise RuntimeError("DefaultCPUAllocator: not enough memory")
        return states

    assert honours_mask(altered(tiny_encoder, monkeypatch, full))
    assert len(tried) == 4


# ----------------------------------------------------------- tokens, encoders without a decoder


def test_tokens_without_rows_are_refused_while_loading(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = len(tokenizer)
    tokenizer.add_tokens(["ivermectin", "remdesivir"])
    tokenizer.save_pretrained(folder)
    told = rf"the tokenizer has {rows + 2} tokens, the model rows for {rows}"
    with pytest.raises(EncoderError, match=told):
        load(folder)


def test_a_t5_that_was_saved_as_an_encoder_alone_loads(tmp_path):
    whole = save_tiny("t5", tmp_path / "whole")
    alone = shutil.copytree(whole, tmp_path / "alone")
    hf.T5EncoderModel.from_pretrained(whole).save_pretrained(alone)
    config = json.loads((alone / "config.json").read_text())
    assert (config["architectures"], config["is_encoder_decoder"]) == (["T5EncoderModel"], False)
    one, other = load(alone), load(whole)
    np.testing.assert_array_equal(
        one.embed(TEXTS, wide=True).wide, other.embed(TEXTS, wide=True).wide
    )
    one.save(tmp_path / "again")
    assert load(tmp_path / "again").identity.content_hash() == one.identity.content_hash()


def test_an_encoder_alone_that_lacks_weights_is_still_refused(tmp_path):
    folder = save_tiny("t5", tmp_path / "model")
    hf.T5EncoderModel.from_pretrained(folder).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "block.1" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"lacks \d+ of \d+ weights \(encoder\.block\.1"):
        load(folder)
