"""CA-MTL: block-diagonal attention by task, half of the layers frozen, the least certain rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, DistilBertConfig

from esm.common.errors import EncoderError, ValidationError
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.metrics.predictions import performance
from esm.strategies.joint.ca_mtl import CaMtl, ConditionalEncoder
from esm.strategies.joint.ca_mtl_layers import BLOCK, ConditionalAttention, with_mask
from esm.strategies.joint.mixing import Sampling
from esm.strategies.protocol import Lesson
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Problem
from tests.tiny_models import save_tiny
from tests.toy_tasks import toy_task

QUICK = TransferConfig(num_epochs=1, batch_size=16, learning_rate=1e-3)
LEARNS = TransferConfig(num_epochs=10, batch_size=16, learning_rate=1e-2)


def lessons(*problems, num_train=48):
    tasks = [toy_task(problem, num_train=num_train) for problem in problems]
    return {task.problem.value: Lesson(task, task.train) for task in tasks}


def tasks_of(taught):
    return {name: lesson.task for name, lesson in taught.items()}


def test_conditional_attention_is_block_diagonal():
    torch.manual_seed(0)
    attention = ConditionalAttention(8, 60, std=0.5)
    torch.nn.init.normal_(attention.blocks)
    added = attention(torch.randn(3, 8), 50)
    assert added.shape == (3, 50, 50)
    block = np.arange(50) // BLOCK
    inside = torch.from_numpy(block[:, None] == block[None])
    assert (added[:, ~inside] == 0).all()
    assert (added[:, inside] != 0).all()
    # What a block holds, by the formula: A_n (1 + gamma(z)) + beta(z).
    z = torch.randn(1, 8)
    gamma, beta = attention.modulation.linear(z).chunk(2, dim=-1)
    expected = attention.blocks[1] * (1 + gamma) + beta
    torch.testing.assert_close(attention(z, 60)[0, BLOCK : 2 * BLOCK, BLOCK : 2 * BLOCK], expected)


@pytest.mark.parametrize("length", [1, BLOCK, BLOCK + 1, 60])
def test_a_shorter_batch_has_the_beginning_of_the_matrix(length):
    attention = ConditionalAttention(8, 60, std=0.5)
    torch.nn.init.normal_(attention.blocks)
    z = torch.randn(2, 8)
    torch.testing.assert_close(attention(z, length), attention(z, 60)[:, :length, :length])


def test_padding_stays_masked_whatever_is_added():
    added = torch.full((1, 1, 2, 2), 5.0)
    allowed = torch.tensor([[[[True, False], [True, False]]]])
    lowest = torch.finfo(torch.float32).min
    numbers = torch.where(allowed, 0.0, lowest)
    for mask in (allowed, numbers):
        found = with_mask(added, mask)
        assert torch.isfinite(found).all()
        assert found.softmax(-1)[0, 0].tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert with_mask(added, None) is added


def test_the_task_embedding_changes_the_output(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL)
    torch.manual_seed(0)
    model = ConditionalEncoder(tiny_encoder, tasks_of(taught)).eval()
    texts = model.encoder.tokenize(["the film was good"])
    batch = model.encoder.collate(texts)
    with torch.no_grad():
        first, second = (model(batch | {"task": torch.tensor([task])}) for task in (0, 1))
        assert not torch.equal(first, second)
        model.conditional.tasks.weight[1] = model.conditional.tasks.weight[0]
        assert torch.equal(first, model(batch | {"task": torch.tensor([1])}))


def test_without_a_task_embedding_it_is_the_encoder_it_was_made_of(tiny_encoder):
    """At z = 0 every modulation is the identity, and what is added is zero or the identity."""
    model = ConditionalEncoder(tiny_encoder, {"mood": toy_task()}).eval()
    torch.nn.init.zeros_(model.conditional.tasks.weight)
    texts = ["the film was good", "the food was really really awful and cold"]
    batch = model.encoder.collate(model.encoder.tokenize(texts))
    with torch.no_grad():
        found = model(batch | {"task": torch.zeros(2, dtype=torch.int64)})
    expected = torch.from_numpy(tiny_encoder.embed(texts).last)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_rows_of_several_tasks_in_one_batch_are_read_each_for_its_own(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL)
    torch.manual_seed(0)
    model = ConditionalEncoder(tiny_encoder, tasks_of(taught)).eval()
    tokens = model.encoder.tokenize(["the film was good", "it is awful food", "vaccine"])
    tasks = torch.tensor([1, 0, 1])
    with torch.no_grad():
        together = model(model.encoder.collate(tokens) | {"task": tasks})
        alone = [
            model(model.encoder.collate([text]) | {"task": tasks[row : row + 1]})
            for row, text in enumerate(tokens)
        ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_chunks_of_a_long_text_are_read_for_its_task(tiny_encoder):
    encoder = tiny_encoder.with_chunks(3)
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL)
    torch.manual_seed(0)
    model = ConditionalEncoder(encoder, tasks_of(taught)).eval()
    texts = ["film " * 70, "good"]
    tokens = model.encoder.tokenize(texts)
    assert len(tokens[0].chunks) == 3
    with torch.no_grad():
        batch = model.encoder.collate(tokens)
        found = model.heads[1](model(batch | {"task": torch.tensor([1, 1])}))
    expected = model.predict("multi-label", texts)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_embeddings_and_the_lower_half_of_the_layers_are_frozen(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL)
    fitted = CaMtl().fit(tiny_encoder, taught, QUICK, seed=0)
    before = tiny_encoder.model.state_dict()
    after = fitted.model.backbone.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)
    assert fitted.trained_parameters < fitted.total_parameters


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [Sampling.UNCERTAINTY, Sampling.SQUARE_ROOT])
def test_it_learns_and_says_which_data_it_used(tiny_encoder, sampling):
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL, num_train=96)
    fitted = CaMtl(sampling=sampling).fit(tiny_encoder, taught, LEARNS, seed=0)
    for name, lesson in taught.items():
        outputs = fitted.model.predict(name, lesson.task.test.texts)
        found = performance(lesson.task, lesson.task.test.labels, outputs)
        assert found["macro_f1"] > 0.55
    data = fitted.report["data"]
    assert data["annotations"] == 192
    assert data["updates"] == 10 * 12 * 16
    assert data["candidates"] == data["updates"] * (2 if sampling is Sampling.UNCERTAINTY else 1)
    assert sum(data["by_task"].values()) == pytest.approx(1)


@pytest.mark.slow
def test_a_restored_model_predicts_what_it_predicted(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL)
    texts = toy_task().test.texts
    fitted = CaMtl().fit(tiny_encoder, taught, QUICK, seed=0)
    state = fitted.model.trained_state()
    again = CaMtl().restore(tiny_encoder, tasks_of(taught), state)
    for name in taught:
        np.testing.assert_array_equal(again.predict(name, texts), fitted.model.predict(name, texts))
    assert fitted.stored_parameters == sum(array.size for array in state.values())
    own = [array.size for name, array in state.items() if name.startswith("heads.")]
    tasks = state["conditional.tasks.weight"].size
    assert fitted.shared_parameters == fitted.stored_parameters - sum(own) - tasks


@pytest.mark.slow
def test_the_encoder_is_untouched_and_the_seed_decides(tiny_encoder):
    before = {name: tensor.clone() for name, tensor in tiny_encoder.model.state_dict().items()}
    expected = tiny_encoder.embed(["the film"]).last
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL)
    texts = toy_task().test.texts
    first, again, other = (
        CaMtl().fit(tiny_encoder, taught, QUICK, seed=seed).model.predict("multi-label", texts)
        for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()
    assert all(torch.equal(before[k], v) for k, v in tiny_encoder.model.state_dict().items())
    np.testing.assert_array_equal(tiny_encoder.embed(["the film"]).last, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta"])
def test_other_bert_like_encoders(tmp_path, kind):
    config = EncoderConfig(model=str(save_tiny(kind, tmp_path)), max_length=32)
    encoder = Encoder.load(config, device="cpu")
    taught = lessons(Problem.CLASSIFICATION)
    fitted = CaMtl().fit(encoder, taught, QUICK, seed=0)
    assert np.isfinite(fitted.model.predict("classification", ["the film was good"])).all()


def test_other_architectures_are_refused():
    CaMtl().check(BertConfig())
    with pytest.raises(EncoderError, match=r"'distilbert'; expected one of bert.*multitask"):
        CaMtl().check(DistilBertConfig())


def test_amounts_are_refused(tiny_encoder):
    with pytest.raises(ValidationError, match="entropy of the classes"):
        CaMtl().fit(tiny_encoder, lessons(Problem.REGRESSION), QUICK, seed=0)
