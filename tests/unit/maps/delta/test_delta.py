"""Deltas: what they keep, what they cost, what is refused, and that the base stays as it was."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from esm.common.errors import EncoderError, FitError, MapError, SettingError
from esm.common.storage import load_tensors, save_tensors
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.maps.delta.cut import cut_delta, default_budget
from esm.maps.delta.delta import Delta, Factors, matrix_shape
from esm.maps.delta.encoder import (
    DeltaEncoder,
    embed_by_delta,
    swapped,
    tuned_weights,
    with_delta,
)
from tests.tiny_models import KINDS, save_tiny

TEXTS = ["the film was good", "a doctor said the vaccine is true", "rain", "buy new home never"]


def trained(encoder, *, rank=3, size=0.05, seed=0):
    """A copy of an encoder whose matrices moved by a low rank and noise, tables included."""
    model = copy.deepcopy(encoder.model)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            rows, columns = matrix_shape(weight.shape)
            moved = torch.randn(rows, rank, generator=draw) @ torch.randn(
                rank, columns, generator=draw
            )
            noise = torch.randn(rows, columns, generator=draw) * 0.05
            weight += size * (moved + noise).reshape(weight.shape)
    return encoder.with_model(model)


def cut(encoder, tuned, budget):
    return cut_delta(encoder.model, tuned.model, encoder.identity.weights, budget)


def loaded(delta, encoder):
    base = encoder.identity.weights
    return Delta.from_tensors(delta.tensors(), where="a delta", base=base)


def difference(encoder, tuned, name):
    return dict(tuned.model.named_parameters())[name] - dict(encoder.model.named_parameters())[name]


def bits_of(model):
    return {name: one.detach().clone() for name, one in model.state_dict().items()}


def test_a_delta_without_a_cut_is_the_tuned_encoder_bit_by_bit(tiny_encoder):
    tuned = trained(tiny_encoder)
    whole = cut(tiny_encoder, tuned, None)
    assert whole.left_out == ()
    again = with_delta(tiny_encoder, loaded(whole.delta, tiny_encoder))
    assert again.identity.weights == tuned.identity.weights
    assert np.array_equal(again.embed(TEXTS).last, tuned.embed(TEXTS).last)


@pytest.mark.parametrize("budget", [9_000, 15_000, 40_000])
def test_a_file_keeps_to_its_budget(tiny_encoder, budget):
    found = cut(tiny_encoder, trained(tiny_encoder), budget)
    length = len(save({k: np.ascontiguousarray(v) for k, v in found.delta.tensors().items()}))
    assert length <= budget
    assert length > 0.8 * budget or budget == 40_000  # which holds every direction there is


def test_more_bytes_are_nearer_to_the_tuned_encoder(tiny_encoder):
    tuned = trained(tiny_encoder, size=0.02)
    with torch.no_grad():  # tables are left out: they must not decide this
        for name, weight in tuned.model.named_parameters():
            if "embeddings.weight" in name:
                weight.copy_(dict(tiny_encoder.model.named_parameters())[name])
    goal = tuned.embed(TEXTS).last
    errors = [
        float(np.square(embed_by_delta(tiny_encoder, found.delta, TEXTS).last - goal).sum())
        for found in (cut(tiny_encoder, tuned, size) for size in (9_000, 16_000, 60_000))
    ]
    start = float(np.square(tiny_encoder.embed(TEXTS).last - goal).sum())
    assert all(later < 0.7 * earlier for earlier, later in pairwise([start, *errors]))
    assert errors[-1] < 0.02 * start


def test_kept_directions_are_those_above_one_threshold(tiny_encoder):
    """The oracle: numpy's singular values, a direction's square per byte it takes."""
    tuned = trained(tiny_encoder)
    found = cut(tiny_encoder, tuned, 14_000)
    kept, dropped = [], []
    for name, weight in tiny_encoder.model.named_parameters():
        if weight.ndim < 2 or name in ("embeddings.word_embeddings.weight",):
            continue
        if "embeddings" in name and "LayerNorm" not in name:
            continue
        values = np.linalg.svd(difference(tiny_encoder, tuned, name).detach().numpy())[1]
        rank = len(found.delta.factors[name].scales) if name in found.delta.factors else 0
        bits = {one.bits for one in found.delta.factors.values()} - {8}
        worth = values**2 / (sum(weight.shape) * (0.5 if bits else 1) + 4)
        kept += list(worth[:rank])
        dropped += list(worth[rank:])
    assert kept and dropped
    assert min(kept) >= max(dropped) * 0.999


def test_vectors_are_whole_and_tables_left_out(tiny_encoder):
    tuned = trained(tiny_encoder)
    found = cut(tiny_encoder, tuned, 12_000)
    for name, weight in tiny_encoder.model.named_parameters():
        if weight.ndim == 1:
            after = difference(tiny_encoder, tuned, name).detach()
            near = found.delta.factors[name].product(weight.shape, torch.device("cpu"))
            assert (near - after).abs().max() <= after.abs().max() / 250
    tables = {f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position")}
    assert tables <= set(found.left_out)
    assert not tables & set(found.delta.names)


def test_four_bits_come_back_as_they_were():
    codes = np.array([[-7, 0, 7, 3], [1, -1, 2, -2]], dtype=np.int8)
    one = Factors(codes, np.array([0.5, 0.25], np.float32), 4)
    assert one.stored().shape == (2, 2)
    assert np.array_equal(Factors.read(one.stored(), one.scales).codes, codes)
    # By hand: rows of the left side (2,), of the right side (2,).
    expected = 0.5 * np.outer([-7, 0], [7, 3]) + 0.25 * np.outer([1, -1], [2, -2])
    assert one.product((2, 2), torch.device("cpu")).numpy() == pytest.approx(expected)


def test_the_product_is_the_same_bits_in_any_order(tiny_encoder):
    found = cut(tiny_encoder, trained(tiny_encoder, rank=12), 30_000)
    name, one = max(found.delta.factors.items(), key=lambda item: len(item[1].scales))
    assert len(one.scales) > 10
    shape = dict(tiny_encoder.model.named_parameters())[name].shape
    order = np.random.default_rng(0).permutation(len(one.scales))
    other = Factors(one.codes[order], one.scales[order], one.bits)
    device = torch.device("cpu")
    assert torch.equal(one.product(shape, device), other.product(shape, device))


def test_the_base_is_as_it_was_after_a_swap(tiny_encoder):
    before = bits_of(tiny_encoder.model)
    delta = cut(tiny_encoder, trained(tiny_encoder), 12_000).delta
    plain = tiny_encoder.embed(TEXTS).last
    moved = DeltaEncoder(tiny_encoder, delta).embed(TEXTS).last
    assert np.abs(moved - plain).max() > 0.01
    assert all(torch.equal(before[name], one) for name, one in bits_of(tiny_encoder.model).items())
    assert np.array_equal(tiny_encoder.embed(TEXTS).last, plain)
    with (
        pytest.raises(KeyboardInterrupt),
        swapped(tiny_encoder.model, tuned_weights(tiny_encoder, delta)),
    ):
        raise KeyboardInterrupt
    assert all(torch.equal(before[name], one) for name, one in bits_of(tiny_encoder.model).items())


def test_a_swap_gives_what_an_encoder_of_its_own_gives(tiny_encoder):
    delta = cut(tiny_encoder, trained(tiny_encoder), 12_000).delta
    own = with_delta(tiny_encoder, delta)
    assert np.array_equal(
        own.embed(TEXTS).last, DeltaEncoder(tiny_encoder, delta).embed(TEXTS).last
    )
    assert own.identity.weights != tiny_encoder.identity.weights
    loss = own.pooled(own.collate(own.tokenize(TEXTS))).sum()
    loss.backward()  # it can be trained further
    assert next(own.model.parameters()).grad is not None


def test_bfloat16_sees_each_delta(tiny_bert):
    """Autocast keeps copies of weights: a swap within its block would go unnoticed."""
    config = EncoderConfig(model=str(tiny_bert), max_length=32, precision="bfloat16")
    encoder = Encoder.load(config, device="cpu")
    deltas = [cut(encoder, trained(encoder, seed=seed), 12_000).delta for seed in (1, 2)]
    for delta in deltas:
        alone = with_delta(encoder, delta).embed(TEXTS).last
        assert np.array_equal(embed_by_delta(encoder, delta, TEXTS).last, alone)


def test_embeddings_are_cached_by_base_delta_and_texts(tiny_encoder, tmp_path, monkeypatch):
    one, other = (
        cut(tiny_encoder, trained(tiny_encoder, seed=seed), 12_000).delta for seed in (1, 2)
    )
    cache = EmbeddingCache(tmp_path)
    plain = cache.embed(tiny_encoder, TEXTS).last
    first = embed_by_delta(tiny_encoder, one, TEXTS, cache=cache).last
    second = embed_by_delta(tiny_encoder, other, TEXTS, cache=cache).last
    assert not np.array_equal(first, second) and not np.array_equal(first, plain)
    monkeypatch.setattr(Encoder, "embed", None)  # from here on, nothing can be embedded
    again = loaded(one, tiny_encoder)
    assert np.array_equal(embed_by_delta(tiny_encoder, again, TEXTS, cache=cache).last, first)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_architecture(kind, tmp_path):
    encoder = Encoder.load(
        EncoderConfig(model=str(save_tiny(kind, tmp_path / kind)), max_length=32), device="cpu"
    )
    before = bits_of(encoder.model)
    tuned = trained(encoder, size=0.01)
    weights = dict(encoder.model.named_parameters())
    found = cut(encoder, tuned, 100 * sum(one.numel() for one in weights.values()))
    kept = with_delta(encoder, loaded(found.delta, encoder))
    after, goal = (dict(one.model.named_parameters()) for one in (kept, tuned))
    for name in found.delta.names:
        error = (after[name] - goal[name]).square().sum()
        assert error <= 0.05 * (weights[name] - goal[name]).square().sum(), name
    # All that is left out are tables of embeddings.
    tables = [m.weight for m in encoder.model.modules() if isinstance(m, torch.nn.Embedding)]
    assert {id(weights[name]) for name in found.left_out} == {id(table) for table in tables}
    DeltaEncoder(encoder, found.delta).embed(TEXTS)
    assert all(torch.equal(before[name], one) for name, one in bits_of(encoder.model).items())


def test_a_tensor_of_three_dimensions_is_factorised_where_it_is_most_square():
    assert matrix_shape((6, 4, 3)) == (6, 12)
    assert matrix_shape((2, 32, 16)) == (64, 16)
    assert matrix_shape((16, 8, 1)) == (16, 8)
    assert matrix_shape(()) == (1, 1)


def test_defaults_scale_with_the_model():
    assert default_budget(6, 384) + 58_000 <= 500_000
    assert default_budget(12, 384) + 58_000 <= 1_000_000


def test_a_budget_below_the_vectors_is_refused(tiny_encoder):
    with pytest.raises(SettingError, match=r"biases and norms alone take 3,\d+; .*--delta 0.01"):
        cut(tiny_encoder, trained(tiny_encoder), 1_000)


def test_a_model_that_learned_nothing_has_an_empty_delta(tiny_encoder):
    delta = loaded(cut(tiny_encoder, tiny_encoder, 12_000).delta, tiny_encoder)
    assert delta.names == ()
    moved = embed_by_delta(tiny_encoder, delta, TEXTS).last
    assert np.array_equal(moved, tiny_encoder.embed(TEXTS).last)


def test_what_is_no_tuned_model_of_the_base_is_refused(tiny_encoder, tmp_path):
    broken = trained(tiny_encoder)
    next(broken.model.parameters()).data[0, 0] = float("nan")
    with pytest.raises(FitError, match="holds NaN"):
        cut(tiny_encoder, broken, 12_000)
    other = Encoder.load(EncoderConfig(model=str(save_tiny("gpt2", tmp_path))), device="cpu")
    with pytest.raises(FitError, match="other names or shapes"):
        cut(tiny_encoder, other, 12_000)


@pytest.fixture
def tensors(tiny_encoder):
    return cut(tiny_encoder, trained(tiny_encoder), 12_000).delta.tensors()


def without(tensors, name):
    return {key: array for key, array in tensors.items() if key != name}


NAME = "encoder.layer.0.attention.self.query.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: without(t, "/scales"), "/scales is missing"),
        (lambda t: without(t, "/base"), "/base is missing"),
        (lambda t: without(t, NAME), r"\d+ scales for \d+ rows"),
        (lambda t: t | {"/scales": t["/scales"] * np.nan}, "scales that are NaN"),
        (lambda t: t | {NAME: t[NAME].astype(np.int32)}, "query.weight is int32"),
        (lambda t: t | {NAME: t[NAME].ravel()}, r"query.weight is u?int8 of shape"),
        (lambda t: t | {"x": np.full((2, 2), np.inf, np.float32)}, "x holds NaN or infinite"),
        (lambda t: t | {"/base": np.zeros(32, np.uint8)}, "another base model, with weights 0000"),
    ],
)
def test_a_damaged_file_is_refused(tensors, tiny_encoder, change, message):
    base = tiny_encoder.identity.weights
    Delta.from_tensors(tensors, where="cat", base=base)
    with pytest.raises(MapError, match=message) as caught:
        Delta.from_tensors(change(tensors), where="cat", base=base)
    assert str(caught.value).startswith("cat")


def test_a_truncated_file_is_refused(tensors, tmp_path):
    path = tmp_path / "delta.safetensors"
    save_tensors(path, tensors)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MapError, match="truncated"):
        load_tensors(path)


def test_a_delta_of_another_architecture_is_refused(tensors, tiny_encoder):
    base = tiny_encoder.identity.weights
    renamed = {name.replace("layer.1", "layer.7"): array for name, array in tensors.items()}
    wider = tensors | {NAME: np.pad(tensors[NAME], ((0, 0), (0, 4)))}
    for changed, message in ((renamed, "no such weight"), (wider, "one of shape")):
        delta = Delta.from_tensors(changed, where="cat", base=base)
        with pytest.raises(MapError, match=message):
            embed_by_delta(tiny_encoder, delta, TEXTS)
    delta = Delta.from_tensors(tensors | {"/base": np.zeros(32, np.uint8)}, where="", base=None)
    with pytest.raises(MapError, match="another base model"):
        with_delta(tiny_encoder, delta)


def test_numbers_that_overflow_are_named(tensors, tiny_encoder):
    large = tensors | {"/scales": tensors["/scales"] * np.float32(1e30)}
    delta = Delta.from_tensors(large, where="cat", base=None)
    with pytest.raises(EncoderError, match="NaN or infinite embeddings"):
        embed_by_delta(tiny_encoder, delta, TEXTS)
    assert np.isfinite(tiny_encoder.embed(TEXTS).last).all()
