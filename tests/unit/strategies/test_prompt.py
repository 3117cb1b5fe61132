"""Prompt tuning: learned tokens are attended to, and are no part of what is pooled."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import FunnelConfig

from esm.common.errors import EncoderError, ValidationError
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.encoder.settings import Pooling
from esm.strategies.prompt import Prompt
from esm.strategies.settings import TransferConfig
from esm.training.layers.prompts import WEIGHT, insert_prompt
from tests.tiny_models import KINDS, POSITIONS, WIDTH, save_tiny
from tests.toy_tasks import toy_task

TEXTS = ["the food was great", "a bad film , slow and cold", "vaccine"]
CONFIG = TransferConfig(
    num_epochs=2, batch_size=16, learning_rate=1e-3, own={"prompt.tokens": 5, "prompt.rate": 30}
)


def an_encoder(folder, **settings):
    config = EncoderConfig(model=str(folder), **({"max_length": 32} | settings))
    return Encoder.load(config, device="cpu")


@pytest.fixture(scope="module", params=sorted(KINDS))
def any_encoder(request, tmp_path_factory):
    return an_encoder(save_tiny(request.param, tmp_path_factory.mktemp("model")))


def with_prompt(encoder, tokens=5):
    copied = encoder.with_model(copy.deepcopy(encoder.model))
    insert_prompt(copied.model, tokens)
    return copied


def stir(model):
    with torch.no_grad():
        model.get_parameter(WEIGHT).normal_()


def test_a_prompt_acts_and_is_all_that_is_trained(any_encoder):
    prompted = with_prompt(any_encoder)
    trained = [(n, p) for n, p in prompted.model.named_parameters() if p.requires_grad]
    assert [(name, tuple(p.shape)) for name, p in trained] == [(WEIGHT, (5, WIDTH))]
    before = prompted.embed(TEXTS).last
    stir(prompted.model)
    assert abs(prompted.embed(TEXTS).last - before).max() > 1e-3


def test_vectors_begin_as_those_of_tokens(any_encoder):
    prompted = with_prompt(any_encoder)
    words = prompted.model.get_input_embeddings()
    every = words(torch.arange(words.num_embeddings))
    vectors = prompted.model.get_parameter(WEIGHT)
    apart = (vectors[:, None, :] - every[None, :, :]).abs().amax(dim=2)
    assert (apart.amin(dim=1) == 0).all()


def test_the_outputs_are_those_of_the_texts_tokens_alone(any_encoder):
    prompted = with_prompt(any_encoder)
    stir(prompted.model)
    batch = prompted.collate(prompted.tokenize(TEXTS))
    inputs = {name: batch[name] for name in prompted.reader.inputs}
    with torch.inference_mode():
        outputs = prompted.model(**inputs, output_hidden_states=True, return_dict=True)
    shape = (*batch["input_ids"].shape, WIDTH)
    assert outputs.last_hidden_state.shape == shape
    assert {layer.shape for layer in outputs.hidden_states} == {shape}
    mask = batch["attention_mask"][..., None]
    mean = (outputs.last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)
    if prompted.pooling is Pooling.MEAN:
        np.testing.assert_allclose(prompted.embed(TEXTS).last, mean.numpy(), atol=1e-5)


def test_padding_has_no_influence(any_encoder):
    prompted = with_prompt(any_encoder)
    stir(prompted.model)
    together = prompted.embed(TEXTS, wide=True)
    for row, text in enumerate(TEXTS):
        alone = prompted.embed([text], wide=True)
        np.testing.assert_allclose(alone.last[0], together.last[row], atol=1e-5)
        np.testing.assert_allclose(alone.wide[0], together.wide[row], atol=1e-5)


@pytest.mark.parametrize("pooling", [Pooling.CLS, Pooling.POOLER])
def test_the_first_token_is_the_texts(tiny_bert, pooling):
    prompted = with_prompt(an_encoder(tiny_bert, pooling=pooling))
    stir(prompted.model)
    batch = prompted.collate(prompted.tokenize(TEXTS))
    inputs = {name: batch[name] for name in prompted.reader.inputs}
    with torch.inference_mode():
        outputs = prompted.model(**inputs, return_dict=True)
        first = outputs.last_hidden_state[:, 0]
        expected = first if pooling is Pooling.CLS else prompted.model.pooler.dense(first).tanh()
    np.testing.assert_allclose(prompted.embed(TEXTS).last, expected.numpy(), atol=1e-5)


def test_which_text_is_the_second_is_still_told(tiny_encoder):
    prompted = with_prompt(tiny_encoder)
    kinds = prompted.model.get_parameter("embeddings.token_type_embeddings.weight")
    texts, pairs = ["the film"], ["was good"]
    before = prompted.embed(texts, pairs).last
    with torch.no_grad():
        kinds[1].normal_()  # a shift of all by the same would be normalised away
    assert abs(prompted.embed(texts, pairs).last - before).max() > 1e-3
    alone = prompted.embed(texts).last
    with torch.no_grad():
        kinds[1].normal_()
    np.testing.assert_array_equal(prompted.embed(texts).last, alone)  # the prompt is of kind 0


@pytest.mark.slow
def test_only_prompt_and_head_move_and_the_restored_model_is_the_same(any_encoder):
    task = toy_task(pairs=True)
    before = {name: tensor.clone() for name, tensor in any_encoder.model.state_dict().items()}
    transferred = Prompt().fit_task(any_encoder, task, task.train, CONFIG, seed=0)
    assert transferred.trained_parameters == 5 * WIDTH + 3 * WIDTH + 3
    assert transferred.remarks == ()
    model = transferred.model
    after = model.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again = Prompt().restore_task(any_encoder, task, model.trained_state())
    columns = (task.test.texts, task.test.pairs)
    np.testing.assert_array_equal(again.predict(*columns), model.predict(*columns))


def test_a_long_text_makes_room_and_it_is_said(tiny_bert):
    encoder = an_encoder(tiny_bert, max_length=POSITIONS)
    task = toy_task()
    transferred = Prompt().fit_task(encoder, task, task.train, CONFIG, seed=0)
    assert transferred.remarks == ("texts are cut to 59 tokens: the prompt takes places",)
    model = transferred.model
    assert model.encoder.max_length == POSITIONS - 5
    long = ["good bad " * 60]
    again = Prompt().restore_task(encoder, task, model.trained_state())
    np.testing.assert_array_equal(again.predict(long), model.predict(long))


def test_a_prompt_that_leaves_no_room_is_refused(tiny_encoder):
    task = toy_task()
    config = CONFIG.model_copy(update={"own": {"prompt.tokens": 60}})
    with pytest.raises(EncoderError, match="60 tokens leaves 4 of the 64 positions"):
        Prompt().fit_task(tiny_encoder, task, task.train, config, seed=0)


def test_its_rate_is_a_multiple_of_the_heads():
    settings = Prompt().settings(TransferConfig(learning_rate=2e-3, own={"prompt.rate": "10"}))
    assert (settings["learning_rate"], settings["prompt.rate"]) == (2e-3, 10.0)
    assert settings["prompt.tokens"] == 20


def test_refusals(tiny_encoder):
    with pytest.raises(EncoderError, match="'funnel' takes a prompt is not known; expected one of"):
        Prompt().check(FunnelConfig())
    with pytest.raises(ValidationError, match="prompt cannot be exported: learned vectors stand"):
        Prompt().export_task(tiny_encoder, toy_task(), {})
    with pytest.raises(EncoderError, match="hold no prompt"):
        Prompt().restore_task(tiny_encoder, toy_task(), {})
    prompted = with_prompt(tiny_encoder)
    with pytest.raises(EncoderError, match="has a prompt already"):
        insert_prompt(prompted.model, 3)
