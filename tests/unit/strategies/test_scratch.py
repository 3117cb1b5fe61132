"""Training from scratch: the architecture stays, every weight is drawn anew, by the seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.encoder.fresh import fresh_backbone
from esm.encoder.settings import Pooling
from esm.strategies.full import Full
from esm.strategies.scratch import Scratch
from esm.strategies.settings import TransferConfig
from tests.tiny_models import KINDS, save_tiny
from tests.toy_tasks import toy_task

pytestmark = pytest.mark.slow

TEXTS = ["the food was great", "a bad film , slow and cold", "vaccine"]
CONFIG = TransferConfig(num_epochs=1, batch_size=16)


def drawn(model, seed):
    with seeded(seed):
        return fresh_backbone(model)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_same_shapes_and_other_numbers_decided_by_the_seed(kind, tmp_path):
    encoder = Encoder.load(EncoderConfig(model=str(save_tiny(kind, tmp_path))), device="cpu")
    one, again, other = (drawn(encoder.model, seed) for seed in (0, 0, 1))
    base, first = encoder.model.state_dict(), one.state_dict()
    assert {n: t.shape for n, t in base.items()} == {n: t.shape for n, t in first.items()}
    matrices = [name for name, p in one.named_parameters() if p.dim() > 1]
    assert not any(torch.equal(base[name], first[name]) for name in matrices)
    assert all(torch.equal(again.state_dict()[name], first[name]) for name in first)
    assert not any(torch.equal(other.state_dict()[name], first[name]) for name in matrices)
    embedded = encoder.with_model(one).embed(TEXTS).last
    assert np.isfinite(embedded).all()
    assert abs(embedded - encoder.embed(TEXTS).last).max() > 1e-3


def test_a_pooling_layer_is_drawn_where_it_is_used(tiny_bert):
    for pooling, has_pooler in ((Pooling.POOLER, True), (Pooling.MEAN, False)):
        config = EncoderConfig(model=str(tiny_bert), pooling=pooling)
        fresh = fresh_backbone(Encoder.load(config, device="cpu").model)
        assert (getattr(fresh, "pooler", None) is not None) is has_pooler


def test_the_encoder_it_is_given_does_not_matter(tiny_encoder):
    task = toy_task()
    other = tiny_encoder.with_model(drawn(tiny_encoder.model, 5))
    one, two = (
        Scratch().fit_task(encoder, task, task.train, CONFIG, seed=0).model.predict(task.test.texts)
        for encoder in (tiny_encoder, other)
    )
    np.testing.assert_array_equal(one, two)


def test_all_weights_are_trained_and_kept(tiny_encoder):
    task = toy_task()
    transferred = Scratch().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0)
    assert transferred.trained_parameters == transferred.total_parameters
    model = transferred.model
    again = Scratch().restore_task(tiny_encoder, task, model.trained_state())
    expected = model.predict(task.test.texts)
    np.testing.assert_array_equal(again.predict(task.test.texts), expected)


def test_settings_are_those_of_full_fine_tuning():
    assert Scratch().settings(TransferConfig()) == Full().settings(TransferConfig())
    assert not Scratch().uses_source
