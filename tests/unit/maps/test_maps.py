"""Maps compute what their formula says, and come back from disk exactly or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from esm.common.errors import MapError, ShapeError, StorageError
from esm.common.runtime import Precision
from esm.encoder.settings import BaseIdentity, Pooling
from esm.maps.files import MapConfig, load_map, save_map
from esm.maps.forms import DenseMap, LowRankMap, MapForm

D, P, R = 6, 9, 3
LIFT = "f" * 64
BASE = BaseIdentity(
    model="offline",
    weights="a" * 64,
    pooling=Pooling.MEAN,
    max_length=256,
    precision=Precision.FLOAT32,
    width=D,
    num_layers=6,
)


def low_rank(dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    left, right, bias = (
        rng.standard_normal(shape).astype(dtype) for shape in ((D, R), (P, R), (D,))
    )
    return LowRankMap(float(dtype(0.7)), left, right, bias)


def dense(dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return DenseMap(rng.standard_normal((D, D)).astype(dtype), rng.standard_normal(D).astype(dtype))


def stored(folder, fitted, *, dtype="float32"):
    lift = LIFT if fitted.form is MapForm.ANCHORED else None
    config = MapConfig.describe(fitted, source="tweets", base=BASE, lift=lift, dtype=dtype)
    save_map(fitted, folder, config)
    return folder


def same(first, second):
    ours, theirs = first.tensors(), second.tensors()
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype
        np.testing.assert_array_equal(array, theirs[name])


# ------------------------------------------------------------------------------ what they compute


def test_low_rank_map_is_scaled_identity_plus_low_rank_plus_bias():
    fitted, rng = low_rank(), np.random.default_rng(1)
    base, lifted = rng.standard_normal((5, D)), rng.standard_normal((5, P))
    expected = [
        fitted.scale * h + fitted.left @ (fitted.right.T @ w) + fitted.bias
        for h, w in zip(base, lifted, strict=True)
    ]
    np.testing.assert_allclose(fitted.apply(base, lifted), expected, rtol=1e-12)
    assert (fitted.form, fitted.width, fitted.lift_width, fitted.rank) == ("anchored", D, P, R)


def test_dense_map_is_a_matrix_and_a_bias():
    fitted, base = dense(), np.random.default_rng(1).standard_normal((5, D))
    expected = [fitted.weight @ h + fitted.bias for h in base]
    np.testing.assert_allclose(fitted.apply(base), expected, rtol=1e-12)
    assert (fitted.form, fitted.width, fitted.lift_width, fitted.rank) == ("published", D, 0, D)


@pytest.mark.parametrize("fitted", [low_rank(), dense(), low_rank(np.float16)])
def test_affine_is_the_map_as_one_matrix(fitted):
    rng = np.random.default_rng(2)
    base, lifted = rng.standard_normal((4, D)), rng.standard_normal((4, P))
    z = np.hstack([base, lifted[:, : fitted.lift_width], np.ones((4, 1))])
    affine = fitted.affine()
    assert affine.shape == (D, D + fitted.lift_width + 1)
    assert affine.dtype == np.float64
    np.testing.assert_allclose(fitted.apply(base, lifted), z @ affine.T, rtol=1e-12)


@pytest.mark.parametrize(("given", "expected"), [("float16", "float32"), ("float64", "float64")])
def test_precision_follows_the_embeddings(given, expected):
    mapped = low_rank(np.float16).apply(np.ones((2, D), given), np.ones((2, P), given))
    assert mapped.dtype == expected


def test_wrong_inputs_are_named():
    with pytest.raises(ShapeError, match=r"shape \(2, 7\).*expected \(n, 6\)"):
        dense().apply(np.ones((2, 7)))
    with pytest.raises(ShapeError, match="no lifted features for an anchored map"):
        low_rank().apply(np.ones((2, D)))
    with pytest.raises(ShapeError, match=r"lifted features of shape \(2, 8\).*\(2, 9\)"):
        low_rank().apply(np.ones((2, D)), np.ones((2, 8)))


def test_a_map_checks_its_arrays():
    good = low_rank()
    with pytest.raises(MapError, match=r"left \(6, 3\), right \(9, 2\)"):
        LowRankMap(1.0, good.left, good.right[:, :2], good.bias)
    with pytest.raises(MapError, match="left holds 1 numbers that are not finite"):
        left = good.left.copy()
        left[0, 0] = np.nan
        LowRankMap(1.0, left, good.right, good.bias)
    with pytest.raises(MapError, match="scale holds 1 numbers that are not finite"):
        LowRankMap(float("inf"), good.left, good.right, good.bias)
    with pytest.raises(MapError, match="type float64; expected all float16 or all float32"):
        DenseMap(np.eye(D), np.zeros(D))
    with pytest.raises(MapError, match=r"weight \(6, 5\), bias \(6,\)"):
        DenseMap(dense().weight[:, :5], dense().bias)


# ---------------------------------------------------------------------------------- on disk


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("fitted", [low_rank(), dense()])
def test_round_trip_is_exact_and_bytes_are_stable(tmp_path, fitted, dtype):
    first = stored(tmp_path / "first", fitted, dtype=dtype)
    lift = LIFT if fitted.form is MapForm.ANCHORED else None
    loaded, config = load_map(first, base=BASE, lift=lift)
    same(loaded, fitted.cast(dtype))
    assert config.source == "tweets"
    assert config.dtype == dtype
    assert config.base == BASE
    save_map(loaded, tmp_path / "second", config)
    for name in ("model.safetensors", "config.json"):
        assert (first / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_float16_overflow_suggests_float32(tmp_path):
    huge = DenseMap(np.full((D, D), 1e5, np.float32), np.zeros(D, np.float32))
    with pytest.raises(MapError, match=r"weight holds 1e\+05, too large for float16.*as float32"):
        stored(tmp_path / "map", huge, dtype="float16")
    assert not (tmp_path / "map").exists()
    same(load_map(stored(tmp_path / "map", huge))[0], huge)


def test_a_description_must_be_the_maps_own(tmp_path):
    config = MapConfig.describe(low_rank(), source="tweets", base=BASE, lift=LIFT)
    with pytest.raises(MapError, match="form is published; expected anchored"):
        save_map(dense(), tmp_path / "map", config)
    with pytest.raises(MapError, match=r"dtype: .*'float16' or 'float32'"):
        MapConfig.describe(dense(), source="tweets", base=BASE, dtype="float64")
    with pytest.raises(MapError, match="lift None for a map that reads 9"):
        MapConfig.describe(low_rank(), source="tweets", base=BASE)


def edit_config(folder, edit):
    path = folder / "config.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def edit_tensors(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def poison(tensors):
    tensors["right"][0, 0] = np.nan


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.update(gauche=t.pop("left")), "tensors bias, gauche, right, scale; expected"),
        (lambda t: t.update(extra=t["bias"]), "tensors bias, extra, left, right, scale"),
        (poison, "right holds 1 numbers that are not finite"),
        (lambda t: t.update(left=t["left"][:5]), r"left \(5, 3\), right \(9, 3\), bias \(6,\)"),
        (lambda t: t.update(left=t["left"][:5], bias=t["bias"][:5]), "width is 5; expected 6"),
        (lambda t: t.update(right=t["right"][:8]), "lift_width is 8; expected 9"),
        (lambda t: t.update(scale=np.ones(2, "f4")), r"scale of shape \(2,\); expected one number"),
        (
            lambda t: t.update({k: v.astype("f2") for k, v in t.items()}),
            "weights are float16; expected float32",
        ),
        (
            lambda t: t.update({k: v.astype("f8") for k, v in t.items()}),
            "type float64; expected all float16 or all float32",
        ),
    ],
)
def test_altered_weights_are_refused(tmp_path, edit, message):
    folder = stored(tmp_path / "map", low_rank())
    edit_tensors(folder, edit)
    with pytest.raises(MapError, match=message) as caught:
        load_map(folder)
    assert str(folder) in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path):
    path = stored(tmp_path / "map", low_rank()) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(MapError, match=r"truncated or not safetensors.*run the command"):
        load_map(tmp_path / "map")
    path.unlink()
    with pytest.raises(StorageError, match="no file"):
        load_map(tmp_path / "map")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(surprise=1), "unknown, missing or altered keys surprise"),
        (lambda c: c["esm_transfer"].update(surprise=1), "surprise: Extra inputs"),
        (lambda c: c["esm_transfer"].pop("width"), "width: Field required"),
        (lambda c: c["esm_transfer"].update(format=2), "format: Input should be 1"),
        (lambda c: c["esm_transfer"].update(rank=2), "rank is 3; expected 2"),
        (lambda c: c["esm_transfer"]["base"].pop("weights"), "base.weights: Field required"),
    ],
)
def test_an_altered_description_is_refused(tmp_path, edit, message):
    folder = stored(tmp_path / "map", low_rank())
    edit_config(folder, edit)
    with pytest.raises(MapError, match=message):
        load_map(folder)


def test_a_description_of_the_other_form_is_refused(tmp_path):
    folder = stored(tmp_path / "map", low_rank())
    other = stored(tmp_path / "other", dense())
    (folder / "config.json").write_bytes((other / "config.json").read_bytes())
    with pytest.raises(MapError, match=r"tensors bias, left, right, scale; expected model\.bias"):
        load_map(folder)


@pytest.mark.parametrize(
    ("change", "name"), [({"weights": "b" * 64}, "weights"), ({"max_length": 128}, "max_length")]
)
def test_another_base_model_is_refused(tmp_path, change, name):
    folder = stored(tmp_path / "map", low_rank())
    with pytest.raises(
        MapError, match=rf"fitted for base model 'offline', which differs in {name}"
    ):
        load_map(folder, base=BASE.model_copy(update=change))


def test_the_same_weights_under_another_name_are_the_same_base_model(tmp_path):
    folder = stored(tmp_path / "map", low_rank())
    load_map(folder, base=BASE.model_copy(update={"model": "/copies/minilm"}))


def test_another_lift_is_refused(tmp_path):
    folder = stored(tmp_path / "map", low_rank())
    with pytest.raises(MapError, match="fitted with lift ffffffffffff; expected lift 000000000000"):
        load_map(folder, lift="0" * 64)


# ------------------------------------------------------------- maps of hf-dataset-selector


def test_a_published_map_has_the_keys_and_names_its_peer_reads(tmp_path):
    folder = stored(tmp_path / "map", dense())
    document = json.loads((folder / "config.json").read_text())
    assert document.pop("esm_transfer")["form"] == "published"
    assert document == {
        "base_model_name": "offline",
        "task_id": "tweets",
        "esm_architecture": "linear",
        "esm_embedding_dim": D,
        "version": "0.2.1",
    }
    tensors = load_file(folder / "model.safetensors")
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "model.weight": (D, D),
        "model.bias": (D,),
    }


GENERATIONS = [
    {"embedding_dim": D, "optional_layer_dims": None},
    {"base_model_name": "offline", "task_id": "owner/data", "esm_architecture": "linear"},
    {"base_model_name": "offline", "task_id": "owner/data", "esm_embedding_dim": None},
    {"base_model_name": "offline", "task_id": "owner/data", "esm_embedding_dim": D},
]


@pytest.mark.parametrize("prefix", ["sequential.0.", "model."])
@pytest.mark.parametrize("document", GENERATIONS)
def test_published_maps_of_every_generation_are_read(tmp_path, document, prefix):
    fitted = dense()
    save_file(
        {f"{prefix}weight": fitted.weight, f"{prefix}bias": fitted.bias},
        tmp_path / "model.safetensors",
    )
    (tmp_path / "config.json").write_text(json.dumps(document))
    loaded, config = load_map(tmp_path)
    same(loaded, fitted)
    assert config.base is None
    assert config.source == document.get("task_id", "")


def test_published_maps_are_matched_by_the_name_of_the_base_model(tmp_path):
    fitted = dense()
    save_file(
        {"model.weight": fitted.weight, "model.bias": fitted.bias}, tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_text(
        json.dumps({"base_model_name": "bert", "task_id": "owner/data", "task_subset": "part"})
    )
    assert load_map(tmp_path)[1].source == "owner/data/part"
    with pytest.raises(MapError, match="fitted for base model 'bert', which differs in model"):
        load_map(tmp_path, base=BASE)
    load_map(tmp_path, base=BASE.model_copy(update={"model": "bert"}))


def test_a_published_map_of_another_width_than_stated_is_refused(tmp_path):
    fitted = dense()
    save_file(
        {"model.weight": fitted.weight, "model.bias": fitted.bias}, tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_text(json.dumps({"esm_embedding_dim": 768}))
    with pytest.raises(MapError, match="weights of width 6; expected 768, as described"):
        load_map(tmp_path)
