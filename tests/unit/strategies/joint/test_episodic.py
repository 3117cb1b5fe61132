"""Episodes of sources: the nearest mean of the target's classes, in an encoder sources trained."""

from __future__ import annotations

import numpy as np
import pytest

from esm.common.errors import ValidationError
from esm.strategies.joint.episodic import EpisodicPrototypes
from esm.strategies.protocol import Lesson, SourceTask
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Problem
from tests.toy_tasks import toy_task

pytestmark = pytest.mark.slow

CONFIG = TransferConfig(learning_rate=1e-3, own={"prototype.shots": 2, "prototype.queries": 3})


def source(name, problem=Problem.CLASSIFICATION, seed=5):
    task = toy_task(problem, num_train=60, seed=seed)
    return SourceTask(name, lambda: Lesson(task, task.train), lambda: None)


@pytest.fixture
def lessons():
    tasks = {"mood": toy_task(), "two": toy_task(num_classes=2, seed=3)}
    return {name: Lesson(task, task.train) for name, task in tasks.items()}


def test_the_nearest_mean_in_the_trained_encoder_is_predicted(tiny_encoder, lessons):
    sources = [source("a"), source("b", Problem.REGRESSION)]
    fitted = EpisodicPrototypes().fit(tiny_encoder, lessons, CONFIG, 0, sources)
    assert fitted.report["episodes_of"] == ["a"]
    assert fitted.remarks == ("b has no classes and took no part",)
    for name, lesson in lessons.items():
        texts = lesson.task.test.texts
        encoder = fitted.model.encoder
        rows, asked = encoder.embed(lesson.rows.texts).last, encoder.embed(texts).last
        classes = range(lesson.task.num_outputs)
        means = np.stack([rows[lesson.rows.labels == label].mean(axis=0) for label in classes])
        nearest = ((asked[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
        assert (fitted.model.predict(name, texts).argmax(axis=1) == nearest).all()
        assert not np.allclose(asked, tiny_encoder.embed(texts).last)


def test_the_target_changes_no_weight_of_the_encoder(tiny_encoder, lessons):
    texts = ["the film was good"]
    both, one = (
        EpisodicPrototypes().fit(tiny_encoder, taught, CONFIG, 0, [source("a")]).model
        for taught in (lessons, {"two": lessons["two"]})
    )
    np.testing.assert_array_equal(both.predict("two", texts), one.predict("two", texts))


def test_a_restored_model_predicts_what_it_predicted(tiny_encoder, lessons):
    strategy = EpisodicPrototypes()
    fitted = strategy.fit(tiny_encoder, lessons, CONFIG, 0, [source("a")])
    state = fitted.model.trained_state()
    assert fitted.stored_parameters == sum(array.size for array in state.values())
    tasks = {name: lesson.task for name, lesson in lessons.items()}
    again = strategy.restore(tiny_encoder, tasks, state)
    for name, lesson in lessons.items():
        texts = lesson.task.test.texts
        np.testing.assert_array_equal(again.predict(name, texts), fitted.model.predict(name, texts))


def test_other_labels_than_classes_are_refused(tiny_encoder):
    task = toy_task(Problem.REGRESSION)
    with pytest.raises(ValidationError, match="prototypes of classes, and toy-regression has none"):
        EpisodicPrototypes().fit(
            tiny_encoder, {"a": Lesson(task, task.train)}, CONFIG, 0, [source("a")]
        )
    task = toy_task()
    with pytest.raises(ValidationError, match="none of b has classes to make episodes of"):
        EpisodicPrototypes().fit(
            tiny_encoder,
            {"a": Lesson(task, task.train)},
            CONFIG,
            0,
            [source("b", Problem.REGRESSION)],
        )
