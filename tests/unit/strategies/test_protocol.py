"""What all strategies keep: the encoder untouched, a seed for every bit, honest counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esm.common.errors import ValidationError
from esm.metrics.predictions import performance
from esm.strategies.registry import STRATEGIES, strategy
from esm.strategies.settings import TransferConfig
from esm.tasks.task import LABELLED, Problem
from tests.toy_tasks import toy_task

pytestmark = pytest.mark.slow

OWN = {"dapt.epochs": 1, "prompt.tokens": 4, "prompt.rate": 10}
QUICK = TransferConfig(num_epochs=1, batch_size=16, adapter_size=4, own=OWN)
LEARNS = TransferConfig(num_epochs=8, batch_size=16, learning_rate=1e-2, adapter_size=16, own=OWN)


KINDS = [
    (Problem.CLASSIFICATION, False),
    (Problem.ORDINAL, False),
    (Problem.REGRESSION, True),
    (Problem.MULTILABEL, False),
    (Problem.TAGGING, False),
]


def fit(name, encoder, task, config=QUICK, seed=0, rows=None):
    return strategy(name).fit_task(
        encoder, task, task.train if rows is None else rows, config, seed
    )


@pytest.mark.parametrize(
    ("name", "problem", "pairs"),
    [(name, *kind) for name in STRATEGIES for kind in KINDS if kind[0] in strategy(name).problems],
)
def test_it_learns(tiny_encoder, name, problem, pairs):
    task = toy_task(problem, pairs=pairs, num_train=96, num_test=48)
    model = fit(name, tiny_encoder, task, LEARNS).model
    outputs = model.predict(task.test.texts, task.test.pairs)
    words = (7,) if problem is Problem.TAGGING else ()
    assert outputs.shape == (48, *words, task.num_outputs)
    # By chance: 0.33 for three equal classes, 0 for a rank correlation.
    metric = "spearman" if problem is Problem.ORDINAL else task.metric
    # Nothing is trained for neighbours, and the tiny encoder was not either; others begin slowly.
    bar = 0.45 if name in {"knn", "gradual", "prompt"} else 0.55
    assert performance(task, task.test.labels, outputs)[metric] > bar
    if problem is Problem.REGRESSION:  # in the label's unit, far from zero
        assert abs(outputs.mean() - task.test.labels.mean()) < 50


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_encoder_is_untouched_and_the_seed_decides_every_bit(tiny_encoder, name, capfd):
    task = toy_task()
    before = {key: tensor.clone() for key, tensor in tiny_encoder.model.state_dict().items()}
    first, again = (fit(name, tiny_encoder, task).model.predict(task.test.texts) for _ in range(2))
    after = tiny_encoder.model.state_dict()
    assert set(before) == set(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert (first == again).all()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["houlsby", "full"])
def test_another_seed_gives_another_model(tiny_encoder, name):
    task = toy_task()
    one, other = (
        fit(name, tiny_encoder, task, seed=seed).model.predict(task.test.texts) for seed in (0, 1)
    )
    assert (one != other).any()


@pytest.mark.parametrize("name", STRATEGIES)
def test_fewer_rows_than_a_batch(tiny_encoder, name):
    task = toy_task()
    rows = task.train.take([int(np.flatnonzero(task.train.labels == k)[0]) for k in range(3)])
    outputs = fit(name, tiny_encoder, task, rows=rows).model.predict(task.test.texts)
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize("name", sorted({*STRATEGIES} - {"prototype"}))  # weighs all the same
def test_class_weights_are_part_of_the_settings_that_key_a_run(name):
    assert strategy(name).settings(TransferConfig())["class_weights"] == "auto"
    chosen = strategy(name).settings(TransferConfig(class_weights="none"))
    assert chosen["class_weights"] == "none"


def test_the_number_of_parameters(tiny_encoder):
    task = toy_task()
    width, layers = 32, 2
    base = sum(p.numel() for p in tiny_encoder.model.parameters())
    head = 3 * width + 3
    adapters = 2 * layers * (2 * width * 4 + width + 4)
    norms = (1 + 2 * layers) * 2 * width
    counts = {name: fit(name, tiny_encoder, task) for name in ("full", "houlsby", "features")}
    assert {name: (t.trained_parameters, t.total_parameters) for name, t in counts.items()} == {
        "full": (base + head, base + head),
        "houlsby": (adapters + norms + head, base + adapters + head),
        "features": (head, base + head),
    }
    for transferred in counts.values():  # mean and scale of the labels are kept too
        assert transferred.stored_parameters == transferred.trained_parameters + 2


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_a_run_cost_is_told(tiny_encoder, name):
    transferred = fit(name, tiny_encoder, toy_task())
    state = transferred.model.trained_state()
    assert transferred.stored_parameters == sum(array.size for array in state.values())
    assert transferred.trained_parameters >= 0
    if name not in {"aux-lm", "dapt"}:  # whose language-model heads are thrown away
        assert transferred.trained_parameters <= transferred.total_parameters
    assert transferred.seconds > 0
    effort = strategy(name).effort(strategy(name).settings(QUICK), tiny_encoder.identity, 200)
    assert effort.passes > 0
    if effort.stored > 1000 and name not in {"gradual", "tfidf"}:  # at most, but for one epoch
        assert 0.4 < effort.stored / transferred.stored_parameters < 2.5
    assert transferred.peak_memory is None or transferred.peak_memory > 1e6


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (name, kind)
        for name in STRATEGIES
        for kind in LABELLED
        if kind not in strategy(name).problems
    ],
)
def test_a_kind_of_task_that_it_cannot_learn_is_refused(tiny_encoder, name, problem):
    with pytest.raises(ValidationError, match=f"{name} cannot learn toy-.*; expected classes"):
        fit(name, tiny_encoder, toy_task(problem))
