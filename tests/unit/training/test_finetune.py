"""Fine-tuning: it learns, repeats itself exactly, and leaves everything else alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esm.common.errors import FitError
from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.tasks.task import LABELLED, Examples, Metric, Problem, SplitName, Task
from esm.training.class_weights import weighs_classes
from esm.training.finetune import HeadedEncoder, fine_tune, train
from esm.training.loop import LengthGroupedBatches, _arguments
from esm.training.settings import ClassWeights, FineTuneConfig
from tests.toy_tasks import TEXT_KINDS, toy_task

pytestmark = pytest.mark.slow

TRAIN = SplitName.TRAIN
QUICK = FineTuneConfig(num_epochs=1, batch_size=16, learning_rate=1e-3)
LEARNS = FineTuneConfig(num_epochs=8, batch_size=16, learning_rate=5e-3)


def weights(encoder):
    return {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def trained(encoder, task, config, rows=None):
    with seeded(config.seed):
        model = HeadedEncoder(encoder, task)
        weighs = weighs_classes(config.class_weights, task)
        train(model, task.train if rows is None else rows, config, weighs=weighs)
    return model


@pytest.mark.parametrize(
    ("problem", "pairs"),
    [(problem, False) for problem in LABELLED] + [(problem, True) for problem in TEXT_KINDS],
)
def test_it_learns(tiny_encoder, problem, pairs):
    task = toy_task(problem, pairs=pairs, num_train=96)
    tuned = fine_tune(tiny_encoder, task, LEARNS)
    assert tuned.quality[task.metric] > 0.75
    assert 80 <= tuned.examples <= 90  # about a tenth was held out, and not trained on
    assert tuned.seconds > 0


def test_the_base_encoder_is_untouched(tiny_encoder):
    before, identity = weights(tiny_encoder), tiny_encoder.identity
    tuned = fine_tune(tiny_encoder, toy_task(), QUICK)
    assert same(before, weights(tiny_encoder))
    assert all(p.grad is None and p.requires_grad for p in tiny_encoder.model.parameters())
    assert tuned.encoder.identity.weights != identity.weights


def test_a_seed_decides_every_bit(tiny_encoder):
    task = toy_task()
    first, again = (fine_tune(tiny_encoder, task, QUICK) for _ in range(2))
    other = fine_tune(tiny_encoder, task, QUICK.model_copy(update={"seed": 1}))
    assert same(weights(first.encoder), weights(again.encoder))
    assert all((first.head[name] == again.head[name]).all() for name in first.head)
    assert first.quality == again.quality
    assert not same(weights(first.encoder), weights(other.encoder))


def test_global_random_states_are_left_alone(tiny_encoder):
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    fine_tune(tiny_encoder, toy_task(), QUICK)
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


def test_nothing_is_printed_or_left_in_the_folder(tiny_encoder, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fine_tune(tiny_encoder, toy_task(), QUICK)
    assert capfd.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_head_sits_on_the_embedding(tiny_encoder):
    task = toy_task(Problem.REGRESSION)
    with seeded(0):
        model = HeadedEncoder(tiny_encoder, task)
        train(model, task.train, QUICK)
    head = model.head_state()
    embeddings = model.encoder.embed(task.test.texts).last
    expected = embeddings @ head["weight"].T + head["bias"]
    expected = expected * head["label_scale"] + head["label_mean"]
    np.testing.assert_allclose(model.predict(task.test.texts), expected, rtol=1e-5)
    assert head["label_mean"] == pytest.approx(task.train.labels.mean())
    assert head["label_scale"] == pytest.approx(task.train.labels.std())


def test_the_unit_of_a_regression_does_not_matter(tiny_encoder):
    task = toy_task(Problem.REGRESSION)
    scaled = Examples(task.train.texts, None, task.train.labels * 4096.0 - 2048.0)
    one = trained(tiny_encoder, task, QUICK).predict(task.test.texts)
    other = trained(tiny_encoder, task, QUICK, scaled).predict(task.test.texts)
    np.testing.assert_allclose(other, one * 4096.0 - 2048.0, rtol=1e-4)


def test_constant_labels_do_no_harm(tiny_encoder):
    task = toy_task(Problem.REGRESSION)
    constant = Examples(task.train.texts, None, np.full(len(task.train), 7.0))
    predicted = trained(tiny_encoder, task, QUICK, constant).predict(task.test.texts)
    assert np.isfinite(predicted).all()


def test_predictions_come_in_the_order_of_the_texts(tiny_encoder):
    task = toy_task(num_test=100)
    model = HeadedEncoder(tiny_encoder, task)
    together = model.predict(task.test.texts)
    alone = np.concatenate([model.predict([text]) for text in task.test.texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_fewer_rows_than_a_batch(tiny_encoder):
    task = toy_task(num_train=5)
    model = trained(tiny_encoder, task, QUICK)
    assert model.predict(task.test.texts).shape == (24, 3)


def test_at_most_so_many_examples(tiny_encoder):
    config = QUICK.model_copy(update={"max_examples": 10})
    assert fine_tune(tiny_encoder, toy_task(), config).examples == 10


def test_the_test_rows_are_not_looked_at(tiny_encoder):
    task = toy_task()
    without = type(task)(
        task.id, task.problem, task.metric, task.label_names, {SplitName.TRAIN: task.train}
    )
    tuned, blind = (fine_tune(tiny_encoder, t, QUICK) for t in (task, without))
    assert same(weights(tuned.encoder), weights(blind.encoder))
    assert tuned.quality == blind.quality


def test_a_run_that_diverges(tiny_encoder):
    config = QUICK.model_copy(update={"learning_rate": 1e30, "num_epochs": 3})
    with pytest.raises(
        FitError, match=r"toy-classification diverged at step \d.*try: a learning rate below 1e\+30"
    ):
        fine_tune(tiny_encoder, toy_task(), config)


def test_a_run_that_diverges_in_its_last_step(tiny_encoder):
    # One step: its loss is finite, the weights after it are not.
    config = FineTuneConfig(num_epochs=1, batch_size=64, learning_rate=1e39, warmup_fraction=0.0)
    with pytest.raises(FitError, match="diverged at step 1"):
        fine_tune(tiny_encoder, toy_task(), config)


@pytest.mark.parametrize(
    ("settings", "rate"),
    [({"hidden_dropout_prob": 0.3}, 0.3), ({"classifier_dropout": 0.2}, 0.2)],
)
def test_dropout_is_the_model_configurations(tiny_encoder, settings, rate):
    for name, value in settings.items():
        setattr(tiny_encoder.model.config, name, value)
    assert HeadedEncoder(tiny_encoder, toy_task()).dropout.p == rate


def test_multilabel_loss_by_hand(tiny_encoder):
    model = HeadedEncoder(tiny_encoder, toy_task(Problem.MULTILABEL))
    loss = model.loss(torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]))
    assert loss.item() == pytest.approx(np.log(2))


def test_rare_classes_are_found_more_often_where_classes_are_weighed(tiny_encoder):
    """Texts that say nothing of the label: what is predicted hangs on the classes' weights."""
    train_rows = Examples(("the film",) * 40, None, np.array([0] * 36 + [1] * 4))
    task = Task("skewed", Problem.CLASSIFICATION, Metric.MACRO_F1, ("a", "b"), {TRAIN: train_rows})
    config = LEARNS.model_copy(update={"num_epochs": 12, "batch_size": 20})
    odds = {}
    for choice in (ClassWeights.NONE, ClassWeights.AUTO):  # macro-F1 is the metric
        chosen = config.model_copy(update={"class_weights": choice})
        (logits,) = trained(tiny_encoder, task, chosen).predict(["the film"])
        odds[choice] = np.exp(logits[1] - logits[0])
    assert odds["none"] == pytest.approx(1 / 9, rel=0.5)
    assert odds["auto"] == pytest.approx(1, rel=0.5)


def test_weights_of_classes_are_no_part_of_a_model(tiny_encoder):
    model = HeadedEncoder(tiny_encoder, toy_task())
    before = set(model.state_dict())
    model.head.prepare(np.array([0, 0, 0, 1]), weighs=True)
    assert model.head.class_weights.tolist() == pytest.approx([2 / 3, 2])
    assert set(model.state_dict()) == before
    assert not any("class_weights" in name for name in before)


def test_ranks_are_predicted_in_ranks(tiny_encoder):
    task = toy_task(Problem.ORDINAL, num_train=96)
    model = trained(tiny_encoder, task, LEARNS)
    assert model.head.label_mean.item() == pytest.approx(1)
    outputs = model.predict(task.train.texts)
    assert outputs.shape == (96, 1)
    assert np.abs(outputs[:, 0] - task.train.labels).mean() < 0.5


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=300),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 100),
)
def test_an_epoch_holds_every_example_once(lengths, batch_size, seed):
    batches = LengthGroupedBatches(lengths, batch_size, seed)
    for epoch in (list(batches), list(batches)):
        assert len(epoch) == len(batches)
        assert sorted(row for batch in epoch for row in batch) == list(range(len(lengths)))
        sizes = sorted(len(batch) for batch in epoch)
        assert sizes[1:] == [min(batch_size, len(lengths))] * (len(epoch) - 1)


def test_epochs_differ_and_repeat_by_seed():
    lengths = list(range(100))
    batches, again = (LengthGroupedBatches(lengths, 8, seed=3) for _ in range(2))
    first, second = list(batches), list(batches)
    assert first != second
    assert [first, second] == [list(again), list(again)]
    assert list(LengthGroupedBatches(lengths, 8, seed=4)) != first


def test_grouping_by_length_saves_padding():
    lengths = np.random.default_rng(0).integers(5, 100, size=512)
    padded = sum(
        lengths[batch].max() * len(batch)
        for batch in LengthGroupedBatches(lengths.tolist(), 16, seed=0)
    )
    assert padded < 1.1 * lengths.sum()


@pytest.fixture
def on_the_second_gpu(tiny_encoder, monkeypatch):
    """An encoder that says it lies on another GPU than the first, and the devices chosen for it."""
    chosen = []
    second = torch.device("cuda:1")
    monkeypatch.setattr(type(tiny_encoder.model), "device", second)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return tiny_encoder, second, chosen


def test_training_stays_on_the_encoders_device(on_the_second_gpu, tmp_path):
    encoder, second, chosen = on_the_second_gpu
    arguments = _arguments(encoder, QUICK, 1, str(tmp_path))
    assert arguments.device == second
    assert arguments.n_gpu <= 1
    assert chosen[-1] == second


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_it_learns_on_another_than_the_first_accelerator(tiny_bert):
    encoder = Encoder.load(EncoderConfig(model=str(tiny_bert), max_length=32), device="cuda:1")
    tuned = fine_tune(encoder, toy_task(num_train=96), LEARNS)
    assert tuned.quality["macro_f1"] > 0.75
    assert tuned.encoder.model.device == torch.device("cuda:1")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_on_an_accelerator(tiny_bert, precision):
    config = EncoderConfig(model=str(tiny_bert), max_length=32, precision=precision)
    encoder = Encoder.load(config, device="cuda")
    tuned = fine_tune(encoder, toy_task(num_train=96), LEARNS)
    assert tuned.quality["macro_f1"] > 0.75
    assert next(tuned.encoder.model.parameters()).dtype == torch.float32
