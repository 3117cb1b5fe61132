"""Texts to tokens: the windows are those that fast tokenizers make, for every tokenizer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import AutoTokenizer, ByT5Tokenizer

from esm.encoder.chunks import Frame
from esm.encoder.tokens import SHARES, TextReader
from tests.tiny_models import KINDS, save_tiny

LONG = "the film was really very good, and the food was not bad! " * 4
SHORT = "people say the claim is false"


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    root = tmp_path_factory.mktemp("tokenizers")
    return {
        kind: AutoTokenizer.from_pretrained(save_tiny(kind, root / kind)) for kind in sorted(KINDS)
    }


@pytest.fixture(params=sorted(KINDS))
def tokenizer(request, tokenizers):
    return tokenizers[request.param]


def ids(text):
    return [chunk["input_ids"] for chunk in text.chunks]


def test_windows_equal_those_of_fast_tokenizers(tokenizer):
    reader = TextReader(tokenizer, max_length=20, max_chunks=99, stride=5)
    expected = tokenizer(
        [LONG], truncation=True, max_length=20, stride=5, return_overflowing_tokens=True
    )
    assert len(expected["input_ids"]) > 3
    (text,) = reader.read([LONG])
    assert ids(text) == expected["input_ids"]
    assert reader.count_cut([LONG]) == 0


def test_windows_of_a_pair_equal_those_of_fast_tokenizers(tokenizer):
    if tokenizer.num_special_tokens_to_add(pair=True) == 0:
        pytest.skip("we put a line break between the texts")
    settings = {"max_length": 40, "stride": 5, "return_overflowing_tokens": True}
    reader = TextReader(tokenizer, max_length=40, max_chunks=99, stride=5)
    (text,) = reader.read([SHORT], [LONG])
    assert ids(text) == tokenizer([SHORT], [LONG], truncation="only_second", **settings).input_ids
    (text,) = reader.read([LONG], [SHORT])
    assert ids(text) == tokenizer([LONG], [SHORT], truncation="only_first", **settings).input_ids


def test_short_texts_are_read_as_ever(tokenizer):
    texts, pairs = [SHORT, "", "virus"], ["", "it is true", "sad"]
    cut, chunked = (TextReader(tokenizer, 32, most) for most in (1, 4))
    assert chunked.read(texts) == cut.read(texts)
    assert chunked.read(texts, pairs) == cut.read(texts, pairs)


def test_one_chunk_is_what_the_tokenizer_cuts(tokenizer):
    (text,) = TextReader(tokenizer, 20, max_chunks=1).read([LONG])
    assert ids(text) == [tokenizer(LONG, truncation=True, max_length=20)["input_ids"]]
    (first, *_) = ids(TextReader(tokenizer, 20, max_chunks=3).read([LONG])[0])
    assert ids(text) == [first]


def test_token_types_follow_their_tokens(tokenizers):
    reader = TextReader(tokenizers["bert"], max_length=24, max_chunks=9, stride=2)
    (text,) = reader.read(["the virus"], [LONG])
    for chunk in text.chunks:
        assert chunk["token_type_ids"] == [0] * 4 + [1] * (len(chunk["input_ids"]) - 4)
        assert chunk["attention_mask"] == [1] * len(chunk["input_ids"])


def test_tokenizers_written_in_python_are_read_in_windows_too():
    reader = TextReader(ByT5Tokenizer(), max_length=8, max_chunks=9, stride=2)
    (text,) = reader.read(["žltá koža!"])  # 13 bytes, each a token: byte + 3; the end is token 1
    read = ["žltá koža!".encode()[start : start + 7] for start in (0, 5, 10)]
    assert ids(text) == [[*(byte + 3 for byte in part), 1] for part in read]
    assert text.weights == pytest.approx((7 / 17, 7 / 17, 3 / 17))


def test_frames(tokenizers):
    frames = {
        kind: TextReader(tokenizers[kind], 32)._frames for kind in ("bert", "roberta", "t5", "gpt2")
    }
    assert frames["bert"] == (Frame(1, 0, 1), Frame(1, 1, 1))
    assert frames["roberta"] == (Frame(1, 0, 1), Frame(1, 2, 1))
    assert frames["t5"] == (Frame(0, 0, 1), Frame(0, 1, 1))
    assert frames["gpt2"] == (Frame(0, 0, 0), Frame(0, 0, 0))


def test_texts_that_are_still_cut_are_counted(tokenizers):
    bert = TextReader(tokenizers["bert"], max_length=12, stride=0)  # room for ten words
    words = ["film"] * 100
    texts = [" ".join(words[:count]) for count in (10, 11, 20, 21, 30, 31)]
    counts = [replace(bert, max_chunks=most).count_cut(texts) for most in (1, 2, 3, 4)]
    assert counts == [5, 3, 1, 0]
    assert replace(bert, max_chunks=2).count_cut([]) == 0
    # A pair of two long texts cannot be read whole: the shorter one has half of the room.
    assert replace(bert, max_chunks=99).count_cut([texts[2]], [texts[3]]) == 1
    assert replace(bert, max_chunks=99).count_cut(["film " * 4], [texts[3]]) == 0


def test_a_batch_says_which_chunks_are_whose(tokenizers):
    reader = TextReader(tokenizers["bert"], max_length=8, max_chunks=3, stride=0)
    batch = reader.batch(reader.read(["film " * 9, "virus"]), torch.device("cpu"))
    assert tuple(batch["input_ids"].shape) == (3, 8)
    expected = torch.tensor([[6 / 9, 3 / 9, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(batch[SHARES], expected)
    assert SHARES not in reader.batch(reader.read(["virus", "film"]), torch.device("cpu"))
