"""An ensemble: probabilities and values are averaged, members restored with their encoders."""

from __future__ import annotations

import numpy as np
import pytest

from esm.common.errors import EncoderError, ValidationError
from esm.strategies.joint.ensemble import Ensemble, average
from esm.strategies.protocol import Lesson, SourceTask
from esm.strategies.registry import strategy
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Problem
from esm.training.finetune import fine_tune
from esm.training.settings import FineTuneConfig
from tests.toy_tasks import toy_task
from tests.trained_world import softmax

QUICK = TransferConfig(num_epochs=1, batch_size=16, adapter_size=4, learning_rate=1e-2)


def test_classes_are_averaged_as_probabilities():
    first, second = np.log([[0.9, 0.1]]), np.log([[0.3, 0.7]])
    mean = softmax(average(Problem.CLASSIFICATION, [first, second + 5]))
    assert mean.tolist() == [pytest.approx([0.6, 0.4])]


def test_labels_are_averaged_as_probabilities():
    # Chances 3/4 and 1/4 of the first label: 1/2, so a logit of 0.
    outputs = [np.log([[3.0, 1e9]]), np.log([[1 / 3, 1e9]])]
    mean = average(Problem.MULTILABEL, outputs)
    assert mean[0, 0] == pytest.approx(0)
    assert np.isfinite(mean).all()


def test_values_are_averaged_as_they_are():
    assert average(Problem.REGRESSION, [np.array([[1.0]]), np.array([[3.0]])]).tolist() == [[2.0]]
    assert average(Problem.ORDINAL, [np.array([[1.0]]), np.array([[2.0]])]).tolist() == [[1.5]]


def test_one_member_decides_as_it_would_alone():
    logits = np.random.default_rng(0).normal(size=(20, 4))
    for problem in (Problem.CLASSIFICATION, Problem.MULTILABEL):
        found = average(problem, [logits])
        assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()
        assert ((found > 0) == (logits > 0)).all() or problem is Problem.CLASSIFICATION


@pytest.fixture
def sources(tiny_encoder):
    """Two sources with encoders of their own."""
    found = []
    for number in range(2):
        task = toy_task(num_train=24, seed=number + 5)
        config = FineTuneConfig(num_epochs=1, learning_rate=5e-3, seed=number)
        tuned = fine_tune(tiny_encoder, task, config).encoder
        found.append(
            SourceTask(f"s{number}", lambda task=task: Lesson(task, task.train), lambda e=tuned: e)
        )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("member", ["houlsby", "features"])
def test_it_averages_the_models_of_the_sources(tiny_encoder, sources, member):
    task = toy_task()
    ensemble = Ensemble("ensemble", member)
    taught = {"mood": Lesson(task, task.train)}
    fitted = ensemble.fit(tiny_encoder, taught, QUICK, 0, sources)
    texts = task.test.texts
    alone = [
        strategy(member).fit_task(source.encoder(), task, task.train, QUICK, 0).model.predict(texts)
        for source in sources
    ]
    expected = np.mean([softmax(np.asarray(one, dtype=np.float64)) for one in alone], axis=0)
    found = fitted.model.predict("mood", texts)
    np.testing.assert_allclose(softmax(found), expected, atol=1e-6)
    assert fitted.report["members"] == ["s0", "s1"]
    state = fitted.model.trained_state()
    assert fitted.stored_parameters == sum(array.size for array in state.values())
    again = ensemble.restore(tiny_encoder, {"mood": task}, state)
    np.testing.assert_array_equal(again.predict("mood", texts), found)


def test_it_wants_sources(tiny_encoder):
    task = toy_task()
    with pytest.raises(ValidationError, match=r"ensemble makes use of source tasks.*--source auto"):
        Ensemble().fit(tiny_encoder, {"mood": Lesson(task, task.train)}, QUICK, 0)


def test_weights_of_another_encoder_are_refused(tiny_encoder):
    state = {"0.weights.embeddings.word_embeddings.weight": np.zeros((3, 3), dtype=np.float32)}
    with pytest.raises(EncoderError, match="weights of a member do not fit"):
        Ensemble().restore(tiny_encoder, {"mood": toy_task()}, state)
