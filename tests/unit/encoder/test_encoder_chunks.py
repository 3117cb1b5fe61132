"""Embeddings of long texts: against a slow loop over windows, in training too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from esm.cli.verbs.train import EncoderOptions
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig, Pooling
from tests.tiny_models import save_tiny

WORDS = ("the", "film", "was", "really", "very", "good", "and", "food", "not", "bad", "people")
KINDS = ("bert", "xlm-roberta", "t5", "gpt2")
SHORT = ("the film was good", "", "virus", "naïve 😀 Ž")


def long_text(length, seed):
    return " ".join(np.random.default_rng(seed).choice(WORDS, length))


TEXTS = (*SHORT, *(long_text(length, length) for length in (14, 30, 61, 120)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("architectures")
    return {kind: save_tiny(kind, root / kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def load(folder, **settings):
    config = {"max_length": 16, "max_chunks": 4, "stride": 3, "pooling": "mean"} | settings
    return Encoder.load(EncoderConfig(model=str(folder), **config), device="cpu")


def slowly(folder, text, max_chunks=4):
    """Mean-pooled and wide embedding of one text, one window after the other, no padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    split = tokenizer(
        [text], truncation=True, max_length=16, stride=3, return_overflowing_tokens=True
    )
    special = tokenizer.num_special_tokens_to_add()
    last, wide, weights = [], [], []
    for ids in split["input_ids"][:max_chunks]:
        with torch.no_grad():
            outputs = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        hidden = torch.stack(outputs.hidden_states)[:, 0].numpy()
        final = hidden[-1]
        edge = final[-1] if model.config.model_type == "gpt2" else final[0]
        last.append(final.mean(axis=0))
        poolings = (*hidden.mean(axis=1), edge, final.max(axis=0), final.std(axis=0))
        wide.append(np.concatenate(poolings))
        weights.append(len(ids) - special)
    return np.average(last, axis=0, weights=weights), np.average(wide, axis=0, weights=weights)


def test_embeddings_are_weighted_means_over_windows(folders, kind):
    embeddings = load(folders[kind]).embed(TEXTS, wide=True)
    for row, text in enumerate(TEXTS):
        if text:  # of an empty one GPT-2 leaves no token
            last, wide = slowly(folders[kind], text)
            np.testing.assert_allclose(embeddings.last[row], last, atol=1e-5)
            np.testing.assert_allclose(embeddings.wide[row], wide, atol=1e-5)


def test_nothing_changes_where_no_text_is_longer(folders, kind):
    for texts, pairs in ((SHORT, None), (SHORT, ("true", "", "love", "sad"))):
        cut = load(folders[kind], max_length=64, max_chunks=1).embed(texts, pairs, wide=True)
        chunked = load(folders[kind], max_length=64, max_chunks=4).embed(texts, pairs, wide=True)
        np.testing.assert_array_equal(chunked.last, cut.last)
        np.testing.assert_array_equal(chunked.wide, cut.wide)


@pytest.mark.parametrize("pooling", [Pooling.MEAN, Pooling.CLS, Pooling.LAST, Pooling.POOLER])
def test_batches_and_order_change_nothing_beyond_rounding(folders, pooling):
    encoder = load(folders["bert"], pooling=pooling)
    together = encoder.embed(TEXTS, wide=True)
    for size in (1, 3):
        parted = encoder.embed(TEXTS[::-1], wide=True, batch_size=size)
        np.testing.assert_allclose(parted.last[::-1], together.last, rtol=0, atol=1e-5)
        np.testing.assert_allclose(parted.wide[::-1], together.wide, rtol=0, atol=1e-5)


def test_a_forward_pass_takes_so_many_chunks_and_no_more(folders, monkeypatch):
    encoder = load(folders["bert"])
    sizes = []
    forward = encoder.model.forward
    monkeypatch.setattr(
        encoder.model, "forward", lambda **kw: sizes.append(len(kw["input_ids"])) or forward(**kw)
    )
    encoder.embed([long_text(60, seed) for seed in range(3)], batch_size=5)
    assert sizes == [5, 5, 2]  # three texts of four chunks


def test_heads_sit_on_the_same_embedding(folders, kind):
    encoder = load(folders[kind])
    pooled = encoder.pooled(encoder.collate(encoder.tokenize(TEXTS)))
    np.testing.assert_allclose(pooled.detach().numpy(), encoder.embed(TEXTS).last, atol=1e-5)


def test_gradients_flow_through_all_chunks(folders):
    encoder = load(folders["bert"], max_chunks=3, stride=0)
    word = encoder.tokenizer.convert_tokens_to_ids("vaccine")
    for place in (5, 20, 35):  # in the first, second and third window
        words = ["film"] * 40
        words[place] = "vaccine"
        encoder.model.zero_grad()
        pooled = encoder.pooled(encoder.collate(encoder.tokenize([" ".join(words), "virus"])))
        pooled[0].square().sum().backward()
        gradient = encoder.model.get_input_embeddings().weight.grad
        assert gradient[word].abs().max() > 1e-4
        assert gradient[encoder.tokenizer.convert_tokens_to_ids("virus")].abs().max() == 0


def test_a_pair_is_read_with_the_short_text_beside_each_window(folders):
    encoder = load(folders["bert"], max_length=24, max_chunks=9, stride=0)
    text = " ".join(WORDS[:4])
    second = long_text(33, 1)  # windows of 17, 16 words beside the four of the first text
    words = second.split()
    parts = [" ".join(words[:17]), " ".join(words[17:])]
    by_hand = encoder.embed([text, text], parts).last
    expected = np.average(by_hand, axis=0, weights=[17, 16])
    found = encoder.embed([text], [second])
    np.testing.assert_allclose(found.last[0], expected, atol=1e-5)
    assert found.cut == 0


def test_what_is_behind_the_last_chunk_is_not_read_and_counted(folders):
    encoder = load(folders["bert"], max_chunks=2, stride=0)
    words = long_text(40, 0).split()
    texts = [" ".join(words[:28]), " ".join(words[:29]), " ".join(words)]
    embeddings = encoder.embed(texts)
    assert embeddings.cut == 2
    np.testing.assert_allclose(embeddings.last[1:], embeddings.last[[0, 0]], atol=1e-6)
    assert encoder.with_chunks(3).embed(texts).cut == 0


def test_chunks_are_part_of_the_identity_and_of_the_caches_key(folders, tmp_path):
    encoder = load(folders["bert"], max_chunks=1)
    chunked = encoder.with_chunks(4)
    assert chunked.model is encoder.model
    assert (encoder.identity.max_chunks, chunked.identity.max_chunks) == (1, 4)
    assert encoder.identity.content_hash() != chunked.identity.content_hash()
    assert encoder.identity.reading == "16 tokens"
    assert chunked.identity.reading == "4 chunks of 16 tokens"
    cache = EmbeddingCache(tmp_path)
    cut, whole = (cache.embed(reader, TEXTS) for reader in (encoder, chunked))
    assert np.abs(cut.last - whole.last).max() > 1e-2
    assert (cut.cut, whole.cut) == (3, 2)
    np.testing.assert_array_equal(cache.embed(chunked, TEXTS).last, whole.last)


def test_the_command_line_asks_for_chunks():
    config = EncoderOptions(max_length=64, max_chunks=4, stride=8).config()
    assert (config.max_length, config.max_chunks, config.stride) == (64, 4, 8)
    assert EncoderOptions(max_chunks=1).config().model_dump(exclude_unset=True) == {"max_chunks": 1}
