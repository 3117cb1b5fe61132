from __future__ import annotations

import os
import stat
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esm.common.errors import EncoderError, ShapeError
from esm.common.storage import load_tensors, save_tensors
from esm.encoder.cache import EmbeddingCache, default_cache, unique_rows
from esm.encoder.encoder import Encoder

TEXTS = ["the film was good", "virus", "the film was good", "sad", "virus"]
PAIRS = ["true", "false", "false", "sad", "false"]


@pytest.fixture
def embedded(monkeypatch) -> list[list[str]]:
    """Record what the model was asked to embed."""
    calls = []
    embed = Encoder.embed

    def recording(self, texts, pairs=None, **settings):
        calls.append(list(texts) if pairs is None else list(zip(texts, pairs, strict=True)))
        return embed(self, texts, pairs, **settings)

    monkeypatch.setattr(Encoder, "embed", recording)
    return calls


@pytest.fixture
def cache(tmp_path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "cache")


def only_file(cache: EmbeddingCache):
    (path,) = (cache.folder / "embeddings").iterdir()
    return path


def assert_equal(one, two):
    np.testing.assert_array_equal(one.last, two.last)
    assert (one.wide is None) == (two.wide is None)
    if one.wide is not None:
        np.testing.assert_array_equal(one.wide, two.wide)
    assert one.cut == two.cut


# ----------------------------------------------------------------------------------------- rows


def test_unique_rows_by_hand():
    first, inverse = unique_rows(TEXTS)
    assert (first.tolist(), inverse.tolist()) == ([0, 1, 3], [0, 1, 0, 2, 1])
    first, inverse = unique_rows(TEXTS, PAIRS)
    assert (first.tolist(), inverse.tolist()) == ([0, 1, 2, 3], [0, 1, 2, 3, 1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))))
def test_unique_rows_put_every_text_back(drawn):
    texts, pairs = [text for text, _ in drawn], [pair for _, pair in drawn]
    for columns in ((texts,), (texts, pairs)):
        first, inverse = unique_rows(*columns)
        rows = list(zip(*columns, strict=True))
        assert [rows[first[i]] for i in inverse] == rows
        assert len({rows[i] for i in first}) == len(first) == len(set(rows))
        assert (np.diff(first) > 0).all()


def test_unique_rows_need_as_many_second_texts():
    with pytest.raises(ShapeError, match="2 texts and 1 second texts"):
        unique_rows(["a", "b"], ["c"])


# ---------------------------------------------------------------------------------------- cache


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("pairs", [None, PAIRS])
def test_a_hit_gives_the_same_without_the_model(tiny_encoder, cache, embedded, pairs, wide):
    first = cache.embed(tiny_encoder, TEXTS, pairs, wide=wide)
    again = EmbeddingCache(cache.folder).embed(tiny_encoder, TEXTS, pairs, wide=wide)
    assert_equal(again, first)
    assert len(embedded) == 1
    direct = tiny_encoder.embed(TEXTS, pairs, wide=wide)
    np.testing.assert_allclose(first.last, direct.last, atol=1e-5)


def test_equal_texts_are_embedded_once(tiny_encoder, cache, embedded):
    embeddings = cache.embed(tiny_encoder, TEXTS)
    assert embedded == [["the film was good", "virus", "sad"]]
    assert len(embeddings) == 5
    np.testing.assert_array_equal(embeddings.last[0], embeddings.last[2])


def test_cut_counts_repeated_texts_too(tiny_encoder, cache):
    long = "film " * 100
    texts = [long, "virus", long, long]
    for _ in range(2):
        assert cache.embed(tiny_encoder, texts).cut == 3
    assert EmbeddingCache(None).embed(tiny_encoder, texts).cut == tiny_encoder.embed(texts).cut


@pytest.mark.parametrize("change", ["texts", "order", "pairs", "wide", "length", "weights"])
def test_whatever_decides_the_embeddings_is_in_the_key(tiny_encoder, cache, embedded, change):
    cache.embed(tiny_encoder, TEXTS)
    encoder, texts, pairs, wide = tiny_encoder, TEXTS, None, False
    match change:
        case "texts":
            texts = [*TEXTS[:-1], "virus "]
        case "order":
            texts = TEXTS[::-1]
        case "pairs":
            pairs = [""] * len(TEXTS)
        case "wide":
            wide = True
        case "length":
            config = encoder.config.model_copy(update={"max_length": 16})
            encoder = Encoder.load(config, device="cpu")
        case "weights":
            encoder = Encoder.load(encoder.config, device="cpu")
            next(encoder.model.parameters()).data += 1e-3
    cache.embed(encoder, texts, pairs, wide=wide)
    assert len(embedded) == 2
    assert len(list((cache.folder / "embeddings").iterdir())) == 2


def test_files_are_private_and_hold_no_text(tiny_encoder, cache):
    cache.embed(tiny_encoder, ["a secret vaccine"])
    path = only_file(cache)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"secret" not in path.read_bytes()
    assert "secret" not in path.name


@pytest.mark.parametrize("damage", ["truncated", "empty", "rows", "names", "dtype", "nan", "width"])
def test_a_damaged_file_is_made_again(tiny_encoder, cache, embedded, caplog, damage):
    first = cache.embed(tiny_encoder, TEXTS, wide=True)
    path = only_file(cache)
    tensors = load_tensors(path)
    match damage:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-100])
        case "empty":
            path.write_bytes(b"")
        case "rows":
            save_tensors(path, {**tensors, "wide": tensors["wide"][1:]})
        case "names":
            save_tensors(path, {"last": tensors["last"], "cut": tensors["cut"]})
        case "dtype":
            save_tensors(path, {**tensors, "last": tensors["last"].astype(np.float64)})
        case "nan":
            tensors["last"][0, 0] = np.nan
            save_tensors(path, tensors)
        case "width":
            save_tensors(path, {**tensors, "last": tensors["last"][:, 1:]})
    assert_equal(cache.embed(tiny_encoder, TEXTS, wide=True), first)
    assert len(embedded) == 2
    assert "cached embeddings are made again: " in caplog.text
    assert_equal(cache.embed(tiny_encoder, TEXTS, wide=True), first)
    assert len(embedded) == 2


def test_a_cache_that_cannot_be_written_costs_the_caching_only(tiny_encoder, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    embeddings = EmbeddingCache(tmp_path / "cache").embed(tiny_encoder, TEXTS)
    assert len(embeddings) == len(TEXTS)
    assert "embeddings are not cached: cannot write" in caplog.text


def test_no_folder_keeps_nothing(tiny_encoder, embedded):
    for _ in range(2):
        EmbeddingCache(None).embed(tiny_encoder, TEXTS)
    assert len(embedded) == 2


def test_the_default_folder_can_be_set(monkeypatch, tmp_path):
    monkeypatch.setenv("ESM_CACHE", str(tmp_path))
    assert default_cache() == EmbeddingCache.default().folder == tmp_path
    monkeypatch.delenv("ESM_CACHE")
    assert default_cache().name == "esm-transfer"


def test_what_a_killed_write_left_is_removed_after_a_day(monkeypatch, tmp_path):
    monkeypatch.setenv("ESM_CACHE", str(tmp_path))
    folder = tmp_path / "embeddings"
    folder.mkdir()
    abandoned, young, whole = (
        folder / name for name in (".tmp-old", ".tmp-new", "old.safetensors")
    )
    for path in (abandoned, young, whole):
        path.write_bytes(b"half")
    for path in (abandoned, whole):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    EmbeddingCache.default()
    assert set(folder.iterdir()) == {young, whole}


def test_no_text_is_an_error(tiny_encoder, cache):
    with pytest.raises(EncoderError, match="no texts to embed; expected at least one"):
        cache.embed(tiny_encoder, [])
