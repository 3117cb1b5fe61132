"""Sequential training: the order of a chain, and what is forgotten on the way."""

from __future__ import annotations

import numpy as np
import pytest

from esm.common.errors import ValidationError
from esm.strategies.full import Full
from esm.strategies.joint.sequential import Sequential, forgetting
from esm.strategies.protocol import Lesson, SourceTask
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Problem
from tests.toy_tasks import toy_task

QUICK = TransferConfig(num_epochs=1, batch_size=16, learning_rate=1e-3)
LEARNS = TransferConfig(num_epochs=8, batch_size=16, learning_rate=1e-2)


def lessons(*problems, num_train=48):
    tasks = [toy_task(problem, num_train=num_train) for problem in problems]
    return {task.problem.value: Lesson(task, task.train, task.test) for task in tasks}


def source(name, seed):
    task = toy_task(num_train=24, seed=seed)
    return SourceTask(name, lambda: Lesson(task, task.train, task.test), lambda: None)


def test_forgetting_by_hand():
    judged = [{"a": 0.9}, {"a": 0.7, "b": 0.8}, {"a": 0.75, "b": 0.5, "c": 0.6}]
    found = forgetting(judged)
    assert found["after_step"] == judged
    assert found["forgetting"] == pytest.approx({"a": 0.15, "b": 0.3})
    assert found["mean_forgetting"] == pytest.approx(0.225)


def test_a_chain_of_one_forgets_nothing():
    assert forgetting([{"a": 0.9}])["forgetting"] == {}
    assert forgetting([{"a": 0.9}])["mean_forgetting"] == 0.0


@pytest.mark.slow
def test_nothing_is_forgotten_where_the_encoder_is_not_trained(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.REGRESSION, Problem.MULTILABEL)
    frozen = Sequential("sequential:heads-only", trains_encoder=False)
    report = frozen.fit(tiny_encoder, taught, LEARNS, seed=0).report
    assert report["forgetting"] == {"classification": 0.0, "regression": 0.0}
    assert report["mean_forgetting"] == 0.0
    assert [list(step) for step in report["after_step"]] == [
        ["classification"],
        ["classification", "regression"],
        ["classification", "regression", "multi-label"],
    ]


@pytest.mark.slow
def test_what_contradicts_is_forgotten(tiny_encoder):
    """The second task asks of the same texts for the opposite with much more training."""
    first = toy_task(num_train=96, num_classes=2)
    other = toy_task(Problem.REGRESSION, num_train=96, seed=9)
    taught = {
        "first": Lesson(first, first.train, first.test),
        "second": Lesson(other, other.train, other.test),
    }
    report = Sequential().fit(tiny_encoder, taught, LEARNS, seed=0).report
    first_after = [step["first"] for step in report["after_step"]]
    assert report["forgetting"]["first"] == pytest.approx(first_after[0] - first_after[1])
    assert first_after[0] > 0.8


@pytest.mark.slow
def test_a_chain_of_one_attribute_is_full_fine_tuning(tiny_encoder):
    task = toy_task()
    alone = Full().fit_task(tiny_encoder, task, task.train, QUICK, seed=2).model
    chain = Sequential().fit(tiny_encoder, {"mood": Lesson(task, task.train)}, QUICK, seed=2).model
    np.testing.assert_allclose(
        chain.predict("mood", task.test.texts), alone.predict(task.test.texts), atol=1e-4
    )


@pytest.mark.slow
def test_the_last_attribute_alone_decides_the_encoder_beside_its_order(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL)
    turned = dict(reversed(taught.items()))
    texts = toy_task().test.texts
    one, other = (
        Sequential().fit(tiny_encoder, order, QUICK, seed=0) for order in (taught, turned)
    )
    assert one.report["order"] == ["classification", "multi-label"]
    assert other.report["order"] == ["multi-label", "classification"]
    assert (
        one.model.predict("multi-label", texts) != other.model.predict("multi-label", texts)
    ).any()


@pytest.mark.slow
def test_sources_come_first_the_most_promising_last(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION)
    chain = Sequential("sequential:sources", sources=True)
    fitted = chain.fit(tiny_encoder, taught, QUICK, 0, [source("best", 5), source("good", 6)])
    assert fitted.report["order"] == ["source good", "source best", "classification"]
    assert set(fitted.report["forgetting"]) == {"source good", "source best"}
    heads = {name for name in fitted.model.trained_state() if name.startswith("heads.")}
    assert {name.split(".")[1] for name in heads} == {"0"}
    with pytest.raises(ValidationError, match="sequential:sources makes use of source tasks"):
        chain.fit(tiny_encoder, taught, QUICK, 0)


@pytest.mark.slow
def test_a_searched_order_is_one_of_the_attributes_and_repeats_itself(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL, Problem.ORDINAL)
    searched = Sequential("sequential:searched", searched=True)
    first, again = (searched.fit(tiny_encoder, taught, QUICK, 0) for _ in range(2))
    assert sorted(first.report["order"]) == sorted(taught)
    assert first.report["search"] == again.report["search"]
    assert len(first.report["search"]["mean_held_out"]) == 3
    texts = toy_task().test.texts
    for name in taught:  # heads stand in the order of the lessons, whatever the chain's
        assert first.model.predict(name, texts).shape == (24, taught[name].task.num_outputs)


@pytest.mark.slow
def test_a_restored_model_predicts_what_it_predicted(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.REGRESSION)
    tasks = {name: lesson.task for name, lesson in taught.items()}
    texts = toy_task().test.texts
    for strategy in (Sequential(), Sequential(trains_encoder=False)):
        fitted = strategy.fit(tiny_encoder, taught, QUICK, seed=0)
        state = fitted.model.trained_state()
        again = strategy.restore(tiny_encoder, tasks, state)
        assert fitted.stored_parameters == sum(array.size for array in state.values())
        for name in taught:
            np.testing.assert_array_equal(
                again.predict(name, texts), fitted.model.predict(name, texts)
            )
