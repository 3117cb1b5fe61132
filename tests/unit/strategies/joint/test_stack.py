"""Stacked adapters: an identity below changes nothing, and what is below stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esm.common.errors import EncoderError, ValidationError
from esm.strategies.joint.adapter_routes import RoutedEncoder
from esm.strategies.joint.stack import DOMAIN, Stack
from esm.strategies.protocol import Lesson, SourceTask
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Problem
from tests.toy_tasks import toy_task

QUICK = TransferConfig(num_epochs=1, batch_size=16, learning_rate=1e-2)
TEXTS = ["the film was good", "the food was really awful"]


def lessons(*problems):
    tasks = [toy_task(problem) for problem in problems]
    return {task.problem.value: Lesson(task, task.train) for task in tasks}


def source(name):
    task = toy_task(num_train=24, seed=5)
    return SourceTask(name, lambda: Lesson(task, task.train), lambda: None)


def shaken(model, number):
    """Give an adapter weights that do something."""
    torch.manual_seed(number)
    for name, weight in model.places().items():
        if f".adapters.{number}." in name:
            torch.nn.init.normal_(weight, std=0.2)


def outputs(model, *way):
    model.go(*way)
    model.remember("mood")
    return model.predict("mood", TEXTS)


def test_a_stack_with_an_identity_adapter_is_the_single_adapter(tiny_encoder):
    model = RoutedEncoder(tiny_encoder, {"mood": toy_task()}, {"identity": 8, "task": 4})
    shaken(model, 1)
    alone = outputs(model, "task")
    np.testing.assert_array_equal(outputs(model, "identity", "task"), alone)
    np.testing.assert_array_equal(outputs(model, "task", "identity"), alone)
    assert (outputs(model) != alone).any()


def test_a_stack_is_one_after_the_other(tiny_encoder):
    model = RoutedEncoder(tiny_encoder, {"mood": toy_task()}, {"a": 8, "b": 4})
    shaken(model, 0)
    shaken(model, 1)
    assert not np.allclose(outputs(model, "a", "b"), outputs(model, "b", "a"), atol=1e-4)
    hidden = torch.randn(2, 3, 32)
    place = model.backbone.get_submodule("encoder.layer.0.output.dense.routed")
    model.go("a", "b")
    first, second = place.adapters
    torch.testing.assert_close(place(hidden), second(first(hidden)))


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["texts", "source"])
def test_the_lower_adapter_is_trained_first_and_stays(tiny_encoder, wanted, monkeypatch):
    strategy = Stack("stack", source=wanted == "source")
    sources = [source("reviews"), source("never read")] if wanted == "source" else []
    lower = "source reviews" if wanted == "source" else DOMAIN
    states = []
    remember = RoutedEncoder.remember

    def watched(model, task):
        states.append(
            {n: w.detach().clone() for n, w in model.places().items() if ".adapters." in n}
        )
        remember(model, task)

    monkeypatch.setattr(RoutedEncoder, "remember", watched)
    taught = lessons(Problem.CLASSIFICATION, Problem.REGRESSION)
    fitted = strategy.fit(tiny_encoder, taught, QUICK, 0, sources)
    first, last = states
    bottom = [name for name in last if ".adapters.0." in name]
    ups = [name for name in bottom if ".up.weight" in name]
    assert ups
    assert all(last[name].abs().max() > 0 for name in ups)  # it was trained
    assert all(torch.equal(first[name], last[name]) for name in bottom)  # and then frozen
    assert any(not torch.equal(first[n], last[n]) for n in last if ".adapters.2." in n)
    assert fitted.report["stack"] == {name: [lower, name] for name in taught}
    before, after = tiny_encoder.model.state_dict(), fitted.model.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    if wanted == "texts":
        assert any("head" in remark for remark in fitted.remarks)


@pytest.mark.slow
def test_a_restored_model_predicts_what_it_predicted(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL)
    tasks = {name: lesson.task for name, lesson in taught.items()}
    strategy = Stack()
    fitted = strategy.fit(tiny_encoder, taught, QUICK, 0)
    state = fitted.model.trained_state()
    again = strategy.restore(tiny_encoder, tasks, dict(sorted(state.items())))
    for name in taught:
        np.testing.assert_array_equal(again.predict(name, TEXTS), fitted.model.predict(name, TEXTS))
    assert fitted.stored_parameters == sum(array.size for array in state.values())
    lower = sum(array.size for name, array in state.items() if ".adapters.0." in name)
    assert fitted.shared_parameters == lower


def test_what_it_cannot_do():
    from transformers import BertConfig, FunnelConfig, T5Config

    Stack().check(BertConfig())
    Stack(source=True).check(T5Config())
    with pytest.raises(EncoderError, match="no language-model head that is known"):
        Stack().check(T5Config())
    with pytest.raises(EncoderError, match="no adapter is known"):
        Stack(source=True).check(FunnelConfig())


def test_it_wants_a_source_where_one_was_asked_for(tiny_encoder):
    with pytest.raises(ValidationError, match="stack:source makes use of source tasks"):
        Stack("stack:source", source=True).fit(
            tiny_encoder, lessons(Problem.CLASSIFICATION), QUICK, 0
        )
