"""Multi-task learning: with one attribute it is full fine-tuning; heads share what they learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from esm.common.errors import ValidationError
from esm.metrics.predictions import performance
from esm.strategies.full import Full
from esm.strategies.joint.mixing import Sampling
from esm.strategies.joint.multitask import Multitask
from esm.strategies.protocol import Lesson, SourceTask
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Examples, Problem
from tests.toy_tasks import TEXT_KINDS, toy_task

pytestmark = pytest.mark.slow

QUICK = TransferConfig(num_epochs=2, batch_size=16, learning_rate=1e-3)
LEARNS = TransferConfig(num_epochs=8, batch_size=16, learning_rate=1e-2)


def lessons(*problems, num_train=48):
    tasks = [toy_task(problem, num_train=num_train) for problem in problems]
    return {task.problem.value: Lesson(task, task.train) for task in tasks}


def source(task, name="reviews"):
    def no_encoder():
        raise AssertionError("multi-task learning takes the rows, not what they tuned")

    return SourceTask(name, lambda: Lesson(task, task.train), no_encoder)


@pytest.mark.parametrize("problem", TEXT_KINDS)
def test_with_one_attribute_it_is_full_fine_tuning(tiny_encoder, problem):
    task = toy_task(problem)
    alone = Full().fit_task(tiny_encoder, task, task.train, QUICK, seed=3)
    joint = Multitask().fit(tiny_encoder, lessons(problem), QUICK, seed=3)
    predicted = joint.model.predict(problem.value, task.test.texts)
    expected = alone.model.predict(task.test.texts)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-4)
    assert joint.trained_parameters == alone.trained_parameters
    assert joint.total_parameters == alone.total_parameters


def test_it_learns_all_attributes_at_once(tiny_encoder):
    taught = lessons(*TEXT_KINDS, num_train=96)
    fitted = Multitask().fit(tiny_encoder, taught, LEARNS, seed=0)
    for name, lesson in taught.items():
        test = lesson.task.test
        found = performance(lesson.task, test.labels, fitted.model.predict(name, test.texts))
        metric = "spearman" if lesson.task.problem is Problem.ORDINAL else lesson.task.metric
        assert found[metric] > 0.55


@pytest.mark.parametrize("sampling", Sampling)
def test_rows_that_are_annotated_for_some_attributes_only(tiny_encoder, sampling):
    task = toy_task(num_train=96)
    other = toy_task(Problem.MULTILABEL, num_train=96)
    taught = {
        "all": Lesson(task, task.train),
        "few": Lesson(other, other.train.take(range(12))),
    }
    strategy = Multitask(sampling=sampling)
    fitted, again = (strategy.fit(tiny_encoder, taught, LEARNS, seed=0) for _ in range(2))
    for name, lesson in taught.items():
        test = lesson.task.test
        outputs = fitted.model.predict(name, test.texts)
        assert performance(lesson.task, test.labels, outputs)["macro_f1"] > 0.5
        np.testing.assert_array_equal(outputs, again.model.predict(name, test.texts))
    assert fitted.report["rows"] == {"all": 96, "few": 12}


def test_an_attribute_gains_from_another_one_of_the_same_texts(tiny_encoder):
    """Six rows tell little; the same question asked of 96 rows under another name tells all."""
    task = toy_task(num_train=96)
    of_each = [np.flatnonzero(task.train.labels == k)[:2] for k in range(3)]
    few = task.train.take(np.concatenate(of_each))

    def quality(taught):
        model = Multitask().fit(tiny_encoder, taught, LEARNS, seed=0).model
        return performance(task, task.test.labels, model.predict("few", task.test.texts))

    alone = quality({"few": Lesson(task, few)})
    helped = quality({"few": Lesson(task, few), "many": Lesson(task, task.train)})
    assert helped["macro_f1"] > alone["macro_f1"] + 0.2


def test_the_encoder_is_untouched_and_the_seed_decides(tiny_encoder):
    before = {name: tensor.clone() for name, tensor in tiny_encoder.model.state_dict().items()}
    taught = lessons(Problem.CLASSIFICATION, Problem.REGRESSION)
    texts = toy_task().test.texts
    first, other = (
        Multitask().fit(tiny_encoder, taught, QUICK, seed=seed).model.predict("regression", texts)
        for seed in (0, 1)
    )
    assert (first != other).any()
    after = tiny_encoder.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_sources_are_trained_along_and_their_heads_dropped(tiny_encoder):
    task = toy_task(num_classes=2)
    reviews = toy_task(num_train=32, seed=7)
    joint = Multitask("multitask:sources", sources=True)
    taught = {"mood": Lesson(task, task.train)}
    fitted = joint.fit(tiny_encoder, taught, QUICK, 0, [source(reviews)])
    assert fitted.report["rows"] == {"mood": 48, "source reviews": 32}
    heads = {name for name in fitted.model.trained_state() if name.startswith("heads.")}
    assert {name.split(".")[1] for name in heads} == {"0"}
    plain = Multitask().fit(tiny_encoder, taught, QUICK, 0)
    texts = task.test.texts
    assert (fitted.model.predict("mood", texts) != plain.model.predict("mood", texts)).any()
    assert fitted.stored_parameters == plain.stored_parameters
    assert fitted.trained_parameters == plain.trained_parameters + 3 * 32 + 3


def test_tuning_on_the_target_alone_goes_on_from_there(tiny_encoder):
    task, reviews = toy_task(num_classes=2), toy_task(num_train=96, seed=7)
    taught = {"mood": Lesson(task, task.train)}

    def loss(then_alone):
        joint = Multitask("m", sources=True, then_alone=then_alone)
        fitted = joint.fit(tiny_encoder, taught, QUICK, 0, [source(reviews)])
        logits = torch.from_numpy(fitted.model.predict("mood", task.train.texts))
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(task.train.labels)).item()

    assert loss(then_alone=True) < loss(then_alone=False)


def test_sources_are_wanted_where_they_were_asked_for(tiny_encoder):
    with pytest.raises(ValidationError, match=r"multitask:sources makes use of source tasks and"):
        Multitask("multitask:sources", sources=True).fit(
            tiny_encoder, lessons(Problem.CLASSIFICATION), QUICK, seed=0
        )


def test_a_restored_model_predicts_what_it_predicted(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.REGRESSION)
    texts = toy_task().test.texts
    fitted = Multitask().fit(tiny_encoder, taught, QUICK, seed=0)
    tasks = {name: lesson.task for name, lesson in taught.items()}
    state = fitted.model.trained_state()
    again = Multitask().restore(tiny_encoder, tasks, state)
    for name in taught:
        np.testing.assert_array_equal(again.predict(name, texts), fitted.model.predict(name, texts))
    assert fitted.stored_parameters == sum(array.size for array in state.values())
    heads = sum(array.size for name, array in state.items() if name.startswith("heads."))
    assert fitted.shared_parameters == fitted.stored_parameters - heads


def test_texts_that_two_attributes_share_go_through_the_encoder_once(tiny_encoder, monkeypatch):
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL)
    rows = []
    collate = type(tiny_encoder).collate

    def counting(self, texts):
        rows.append(len(texts))
        return collate(self, texts)

    monkeypatch.setattr(type(tiny_encoder), "collate", counting)
    Multitask().fit(tiny_encoder, taught, QUICK, seed=0)
    assert sum(rows) == 2 * 48


def test_duplicates_with_labels_of_their_own_are_all_learnt(tiny_encoder):
    task = toy_task(num_classes=2)
    rows = Examples(("the film",) * 8, None, np.array([0, 1] * 4))
    taught = {"mood": Lesson(dataclasses.replace(task), rows)}
    config = TransferConfig(num_epochs=12, learning_rate=1e-2)
    (logits,) = Multitask().fit(tiny_encoder, taught, config, 0).model.predict("mood", ["the film"])
    assert abs(logits[0] - logits[1]) < 0.5
