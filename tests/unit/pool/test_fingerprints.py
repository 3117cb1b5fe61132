"""What a pool keeps of texts: numbers that find copies and say nothing by themselves."""

from __future__ import annotations

import hashlib
import math
import stat

import numpy as np
import pytest

from esm.common.errors import MapError
from esm.common.storage import hash_texts, load_tensors, save_tensors
from esm.pool.fingerprints import (
    FINGERPRINT_NAME,
    KEY_NAME,
    MOST_SKETCHED,
    Fingerprint,
    FingerprintKey,
    is_informative,
    load_key,
    open_key,
    read_fingerprint,
)
from esm.tasks.identity import unsalted_numbers
from esm.tasks.task import Examples, Metric, Problem, SplitName, Task

WIDTH = 48


def a_key(number=7, width=WIDTH):
    return FingerprintKey(bytes([number]) * 32, np.full(width, 0.25, dtype=np.float32))


def examples(texts, pairs=None):
    return Examples(tuple(texts), pairs and tuple(pairs), np.zeros(len(texts), dtype=np.int64))


def a_task(train, test=(), pairs=None):
    splits = {SplitName.TRAIN: examples(train, pairs)}
    if test:
        splits[SplitName.TEST] = examples(test)
    return Task("a", Problem.CLASSIFICATION, Metric.ACCURACY, ("no", "yes"), splits)


def read(folder, key):
    return read_fingerprint(load_tensors(folder / FINGERPRINT_NAME), key, where="the entry")


def embed(rows):
    """Embeddings that hang on the text alone."""
    return np.stack([vector(text) for text in rows.texts])


def vector(text):
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
    return np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)


# ----------------------------------------------------------------------------------------- forms


def test_short_texts_do_not_tell():
    forms = [
        "thank you",
        "happy birthday",
        "no one here is vaccinated",
        "a" * 20,
        "a" * 19,
        "b c d e",
    ]
    assert is_informative(forms).tolist() == [False, False, True, True, False, True]
    # Where most are short, the short ones are what there is.
    assert is_informative(forms[:3]).tolist() == [True] * 3
    assert is_informative([]).tolist() == []


# ------------------------------------------------------------------------------------------- key


def test_numbers_are_those_of_pbkdf2():
    """RFC 7914, section 11, has a test vector of PBKDF2-HMAC-SHA256; the rounds differ."""
    vector = hashlib.pbkdf2_hmac("sha256", b"passwd", b"salt", 1, dklen=64)
    assert vector.hex().startswith("55ac046e56e3089fec1691c22544b605")
    expected = hashlib.pbkdf2_hmac("sha256", "klamú".encode(), bytes([7]) * 32, 100, dklen=8)
    found = a_key().numbers(["klamú", "pravda", "klamú"])
    assert found.dtype == np.uint64
    assert found[0] == int.from_bytes(expected, "little")
    assert found[0] == found[2] != found[1]


def test_two_pools_have_no_number_and_no_sketch_in_common():
    forms = [f"text number {i}" for i in range(200)]
    first, second = a_key(7), a_key(8)
    assert not set(first.numbers(forms).tolist()) & set(second.numbers(forms).tolist())
    vectors = np.stack([vector(form) for form in forms])
    bits = np.unpackbits(first.sketches(vectors) ^ second.sketches(vectors), axis=1).mean()
    assert bits == pytest.approx(0.5, abs=0.02)
    assert first.tag != second.tag


@pytest.mark.parametrize("cosine", [0.0, 0.5, 0.9, 0.99, 1.0])
def test_sketches_differ_in_the_share_of_bits_that_is_the_angle(cosine):
    """θ / π of the bits, by the plain definition of the angle, over 300 pairs."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((300, WIDTH))
    other = rng.standard_normal((300, WIDTH))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    other -= (other * first).sum(axis=1, keepdims=True) * first
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    second = cosine * first + math.sqrt(1 - cosine**2) * other
    key = a_key()
    assert ((first * second).sum(axis=1)).mean() == pytest.approx(cosine, abs=1e-9)
    differing = np.unpackbits(
        key.sketches(first + key.centre) ^ key.sketches(second + key.centre), axis=1
    )
    assert differing.mean() == pytest.approx(math.acos(cosine) / math.pi, abs=0.005)


def test_the_projection_hangs_on_the_secret_alone():
    """Written out once: a change would make all stored sketches useless."""
    ones = np.eye(WIDTH, dtype=np.float32)[:1]
    key = FingerprintKey(bytes(32), np.zeros(WIDTH, dtype=np.float32))
    stream = hashlib.shake_256(b"projection" + bytes(32)).digest(WIDTH * 32)
    assert key.sketches(ones)[0].tobytes() == stream[:32]


def test_a_pool_gets_its_key_once(tmp_path):
    calls = []

    def centre():
        calls.append(1)
        return np.ones(WIDTH, dtype=np.float32)

    first = open_key(tmp_path, centre)
    again = open_key(tmp_path, centre)
    assert len(calls) == 1
    assert (again.secret, again.tag) == (first.secret, first.tag)
    assert (again.centre == 1).all()
    assert stat.S_IMODE((tmp_path / KEY_NAME).stat().st_mode) == 0o600
    (tmp_path / "other").mkdir()
    assert open_key(tmp_path / "other", centre).secret != first.secret
    assert load_key(tmp_path / "absent") is None


@pytest.mark.parametrize(
    "tensors",
    [
        {"secret": np.zeros(16, dtype=np.uint8), "centre": np.zeros(4, dtype=np.float32)},
        {"secret": np.zeros(32, dtype=np.uint8), "centre": np.full(4, np.nan, dtype=np.float32)},
        {"secret": np.zeros(32, dtype=np.uint8), "centre": np.zeros((2, 2), dtype=np.float32)},
        {"secret": np.zeros(32, dtype=np.uint8)},
    ],
)
def test_a_damaged_key_is_refused(tmp_path, tensors):
    save_tensors(tmp_path / KEY_NAME, tensors)
    with pytest.raises(MapError, match="esm train"):
        load_key(tmp_path)


# ----------------------------------------------------------------------------------- fingerprint


def test_a_fingerprint_has_a_number_per_distinct_text(tmp_path):
    task = a_task(
        ["One text of four words", "one text of four WORDS!", "another text of four words"],
        test=["another text of four words", "a third text of four words"],
    )
    key = a_key()
    found = Fingerprint.of(key, task, embed)
    first, second, third = key.numbers(
        ["one text of four words", "another text of four words", "a third text of four words"]
    )
    assert set(found.train.tolist()) == {int(first), int(second)}
    assert found.other.tolist() == [third]
    assert found.population == 2
    expected = key.sketches(embed(examples([task.train.texts[0], task.train.texts[2]])))
    assert sorted(map(bytes, found.sketches)) == sorted(map(bytes, expected))


def test_both_texts_of_a_pair_have_a_number_and_a_row_one_sketch():
    task = a_task(["a b c d", "a b c d"], pairs=["e f g h", "i j k l"])
    found = Fingerprint.of(a_key(), task, embed)
    assert len(found.train) == 3
    assert found.population == len(found.sketches) == 2


def test_the_sample_does_not_depend_on_the_order_of_rows():
    texts = [f"the text with the number {i}" for i in range(MOST_SKETCHED + 300)]
    found = Fingerprint.of(a_key(), a_task(texts), embed)
    turned = Fingerprint.of(a_key(), a_task(texts[::-1]), embed)
    assert found.sketches.shape == (MOST_SKETCHED, 32)
    assert found.population == len(texts)
    assert (found.sketches == turned.sketches).all()
    other = Fingerprint.of(a_key(8), a_task(texts), embed)
    assert not set(map(bytes, other.sketches)) & set(map(bytes, found.sketches))


def test_a_fingerprint_is_small_private_and_read_back(tmp_path):
    texts = [f"the text with the number {i}" for i in range(1000)]
    key = a_key()
    found = Fingerprint.of(key, a_task(texts, test=["quite another text here"]), embed)
    found.save(tmp_path, key)
    path = tmp_path / FINGERPRINT_NAME
    assert path.stat().st_size < 8 * 1001 + 32 * MOST_SKETCHED + 500
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = read(tmp_path, key)
    assert (again.train == found.train).all()
    assert (again.other == found.other).all()
    assert (again.sketches == found.sketches).all()
    assert (again.population, again.salted) == (1000, True)


def test_without_its_key_a_fingerprint_says_nothing(tmp_path):
    key = a_key()
    Fingerprint.of(key, a_task(["one text of four words"]), embed).save(tmp_path, key)
    assert read(tmp_path, None) is None
    assert read(tmp_path, a_key(8)) is None


def test_entries_of_earlier_versions_are_read(tmp_path):
    """They hold the first 64 bits of the SHA-256 of each text, unsalted, under one name."""
    texts = ["príspevok 1", "príspevok 2"]
    keys = sorted(int(hash_texts((text,), ("",))[:16], 16) for text in texts)
    save_tensors(tmp_path / FINGERPRINT_NAME, {"keys": np.array(keys, dtype=np.uint64)})
    found = read(tmp_path, a_key())
    assert not found.salted
    assert found.train.tolist() == keys
    assert sorted(unsalted_numbers(texts).tolist()) == keys
    assert len(found.sketches) == found.population == len(found.other) == 0
    assert (Fingerprint.unsalted(examples(texts)).train == found.train).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train", np.array([2, 1], dtype=np.uint64)),
        ("train", np.array([1.0])),
        ("other", np.array([[1]], dtype=np.uint64)),
        ("sketches", np.zeros((1, 31), dtype=np.uint8)),
        ("sketches", np.zeros((3, 32), dtype=np.uint8)),
        ("more", np.zeros(1)),
    ],
)
def test_a_damaged_fingerprint_is_refused(tmp_path, name, value):
    key = a_key()
    Fingerprint.of(key, a_task(["one text of four words"]), embed).save(tmp_path, key)
    tensors = load_tensors(tmp_path / FINGERPRINT_NAME)
    save_tensors(tmp_path / FINGERPRINT_NAME, {**tensors, name: value})
    with pytest.raises(MapError, match="esm train"):
        read(tmp_path, key)
