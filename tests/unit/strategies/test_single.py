"""Strategies that train every attribute for itself: as if each were alone."""

from __future__ import annotations

import numpy as np
import pytest

from esm.strategies.protocol import AttributeModel, Lesson, most, part_of
from esm.strategies.registry import STRATEGIES, single_strategy
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Problem
from tests.toy_tasks import toy_task

QUICK = TransferConfig(num_epochs=1, batch_size=16, adapter_size=4, learning_rate=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["features", "houlsby"])
def test_each_attribute_is_predicted_as_if_it_were_alone(tiny_encoder, name):
    tasks = {"a": toy_task(), "b": toy_task(Problem.REGRESSION, seed=3)}
    lessons = {key: Lesson(task, task.train) for key, task in tasks.items()}
    single = single_strategy(name)
    fitted = single.fit(tiny_encoder, lessons, QUICK, seed=1)
    alone = {
        key: single.fit_task(tiny_encoder, task, task.train, QUICK, seed=1)
        for key, task in tasks.items()
    }
    state = fitted.model.trained_state()
    again = single.restore(tiny_encoder, tasks, state)
    for key, task in tasks.items():
        expected = alone[key].model.predict(task.test.texts)
        for model in (fitted.model, again):
            np.testing.assert_array_equal(model.predict(key, task.test.texts), expected)
        one = AttributeModel(fitted.model, key)
        np.testing.assert_array_equal(one.predict(task.test.texts), expected)
    assert fitted.stored_parameters == sum(array.size for array in state.values())
    assert fitted.shared_parameters == 0
    trained = sum(part.trained_parameters for part in alone.values())
    assert fitted.trained_parameters == trained


@pytest.mark.parametrize("name", STRATEGIES)
def test_they_train_every_attribute_for_itself(name):
    found = single_strategy(name)
    assert (found.name, found.separate) == (name, None)
    assert not found.together
    assert not found.wants_sources


def test_parts_of_a_state():
    state = {"0.a": np.zeros(1), "0.b": np.ones(1), "10.a": np.ones(2)}
    assert set(part_of(state, "0.")) == {"a", "b"}
    assert part_of(state, "1.") == {}


def test_the_highest_peak_is_known_only_where_all_are():
    assert most([3, 5]) == 5
    assert most([3, None]) is None
    assert most([]) is None
