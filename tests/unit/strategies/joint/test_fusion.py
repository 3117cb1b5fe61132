"""AdapterFusion: weights that add up to one, adapters that stay, a fusion of one is the adapter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esm.common.errors import EncoderError
from esm.metrics.predictions import performance
from esm.strategies.joint.adapter_routes import Fusion, RoutedEncoder
from esm.strategies.joint.fusion import AdapterFusion, fusion_weights
from esm.strategies.protocol import Lesson, SourceTask
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Problem
from tests.toy_tasks import toy_task

QUICK = TransferConfig(num_epochs=1, batch_size=16, learning_rate=1e-3, adapter_size=4)
LEARNS = TransferConfig(num_epochs=16, batch_size=16, learning_rate=1e-2, adapter_size=16)


def lessons(*problems, num_train=48):
    tasks = [toy_task(problem, num_train=num_train) for problem in problems]
    return {task.problem.value: Lesson(task, task.train) for task in tasks}


def source(name, seed):
    task = toy_task(num_train=24, seed=seed)
    return SourceTask(name, lambda: Lesson(task, task.train), lambda: None)


def shaken(model):
    """Give all adapters weights that do something."""
    torch.manual_seed(0)
    for name, weight in model.places().items():
        if ".adapters." in name:
            torch.nn.init.normal_(weight, std=0.2)
    return model


def test_weights_add_up_to_one_and_the_output_is_their_sum_by_hand():
    torch.manual_seed(0)
    fusion = Fusion(6, std=0.5)
    hidden, added = torch.randn(2, 3, 6), torch.randn(2, 3, 4, 6)
    weights = fusion.weights(hidden, added)
    assert weights.shape == (2, 3, 4)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3))
    h, z = hidden[1, 2], added[1, 2]
    scores = torch.stack([(fusion.query.weight @ h) @ (fusion.key.weight @ one) for one in z])
    torch.testing.assert_close(weights[1, 2], scores.softmax(dim=0))
    expected = h + sum(w * one for w, one in zip(weights[1, 2], z, strict=True))  # V is I
    torch.testing.assert_close(fusion(hidden, added, weights)[1, 2], expected)


def test_a_fusion_of_one_adapter_starts_as_that_adapter(tiny_encoder):
    model = shaken(RoutedEncoder(tiny_encoder, {"mood": toy_task()}, {"one": 4}, ["mood"]))
    texts = ["the film was good", "it is awful"]
    found = []
    for way in ({"adapters": ("one",)}, {"fusion": "mood"}):
        model.go(*way.get("adapters", ()), fusion=way.get("fusion"))
        model.remember("mood")
        found.append(model.predict("mood", texts))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    model.go()
    model.remember("mood")
    assert (np.abs(model.predict("mood", texts) - found[0]) > 1e-4).any()


def test_without_a_route_it_is_the_encoder_it_was_made_of(tiny_encoder):
    model = shaken(RoutedEncoder(tiny_encoder, {"mood": toy_task()}, {"one": 4}, ["mood"]))
    model.go()
    texts = ["the film was good"]
    expected = tiny_encoder.embed(texts).last
    np.testing.assert_allclose(model.encoder.embed(texts).last, expected, atol=1e-6)


def test_only_what_is_named_is_trained(tiny_encoder):
    tasks = {"a": toy_task(), "b": toy_task(seed=1)}
    model = RoutedEncoder(tiny_encoder, tasks, {"a": 4, "b": 4}, ["a", "b"])

    def trained(**what):
        model.train_only(**what)
        return {name for name, weight in model.named_parameters() if weight.requires_grad}

    assert trained() == set()
    assert all(".adapters.1." in name for name in trained(adapter="b"))
    assert all(".fusions.0." in name for name in trained(fusion="a"))
    assert trained(head="b") == {"heads.1.weight", "heads.1.bias"}


@pytest.mark.slow
def test_adapters_are_trained_then_frozen_and_weighed(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.REGRESSION, num_train=96)
    strategy = AdapterFusion("fusion:sources", sources=True)
    fitted = strategy.fit(tiny_encoder, taught, LEARNS, 0, [source("reviews", 5)])
    report = fitted.report
    assert report["adapters"] == ["source reviews", "classification", "regression"]
    for name, weights in report["fusion_weights"].items():
        assert list(weights) == report["adapters"]
        assert sum(weights.values()) == pytest.approx(1)
        assert all(0 < weight < 1 for weight in weights.values())
        lesson = taught[name]
        found = fusion_weights(fitted.model, name, lesson)
        assert found == pytest.approx(weights)
        outputs = fitted.model.predict(name, lesson.task.test.texts)
        metric = lesson.task.metric
        assert performance(lesson.task, lesson.task.test.labels, outputs)[metric] > 0.55
    # Nothing of the encoder moved.
    before = tiny_encoder.model.state_dict()
    after = fitted.model.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_a_restored_model_predicts_what_it_predicted(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION, Problem.MULTILABEL)
    tasks = {name: lesson.task for name, lesson in taught.items()}
    texts = toy_task().test.texts
    strategy = AdapterFusion("fusion:sources", sources=True)
    sources = [source(f"s{number}", number) for number in range(10)]  # numbers of two digits
    fitted = strategy.fit(tiny_encoder, taught, QUICK, 0, sources)
    state = fitted.model.trained_state()
    shuffled = dict(sorted(state.items()))  # as it comes back from disk
    again = strategy.restore(tiny_encoder, tasks, shuffled)
    for name in taught:
        np.testing.assert_array_equal(again.predict(name, texts), fitted.model.predict(name, texts))
    assert fitted.stored_parameters == sum(array.size for array in state.values())
    adapters = sum(array.size for name, array in state.items() if ".adapters." in name)
    assert fitted.shared_parameters == adapters


@pytest.mark.slow
def test_the_seed_decides(tiny_encoder):
    taught = lessons(Problem.CLASSIFICATION)
    texts = toy_task().test.texts
    models = [AdapterFusion().fit(tiny_encoder, taught, QUICK, s).model for s in (0, 0, 1)]
    first, again, other = (model.predict("classification", texts) for model in models)
    assert (first == again).all()
    assert (first != other).any()


def test_an_encoder_without_known_places_is_refused():
    from transformers import FunnelConfig

    with pytest.raises(EncoderError, match="no adapter is known for the architecture 'funnel'"):
        AdapterFusion().check(FunnelConfig())
