"""MT-uncertainty sampling: the least certain rows, by an entropy that was worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from esm.common.errors import ValidationError
from esm.strategies.joint.annotations import DataUsed
from esm.strategies.joint.uncertainty import UncertainBatches, check_entropy, normalised_entropy
from esm.tasks.task import Problem
from tests.toy_tasks import toy_task


def logits(*chances):
    return torch.log(torch.tensor(chances, dtype=torch.float64))


def test_entropy_by_hand():
    # H(1/2, 1/4, 1/4) = 1.5 bits of log2(3); H(3/4, 1/4) = 2 - 3/4 log2(3) bits of 1.
    three = normalised_entropy(Problem.CLASSIFICATION, logits([0.5, 0.25, 0.25]))
    two = normalised_entropy(Problem.CLASSIFICATION, logits([0.75, 0.25]))
    assert three.item() == pytest.approx(1.5 / math.log2(3))
    assert two.item() == pytest.approx(2 - 0.75 * math.log2(3))


def test_entropy_of_sets_is_the_mean_over_labels():
    # Chances 1/2 and 3/4: (1 + 0.8113) / 2 bits.
    found = normalised_entropy(Problem.MULTILABEL, torch.tensor([[0.0, math.log(3)]]))
    assert found.item() == pytest.approx((1 + 2 - 0.75 * math.log2(3)) / 2)


def test_certain_predictions_have_no_entropy_however_certain():
    sure = torch.tensor([[1e4, 0.0]])
    assert normalised_entropy(Problem.CLASSIFICATION, sure).item() == 0
    assert normalised_entropy(Problem.MULTILABEL, sure[:, :1]).item() == 0


def test_a_batch_is_the_least_certain_of_the_candidates_of_all_tasks():
    owners = np.repeat([0, 1], [4, 2])
    uncertain = torch.tensor([0.1, 0.9, 0.2, 0.3, 0.8, 0.05])
    seen = []

    def uncertainty(rows):
        seen.append(sorted(rows.tolist()))
        return uncertain[torch.from_numpy(rows)]

    batches = UncertainBatches(owners, 4, 0, uncertainty)
    assert len(batches) == 2  # 6 rows by 4
    for batch in batches:
        assert batch == [1, 4, 3, 2]  # of all six, from the least certain on
    # 4 candidates of the first task; the second has 2 rows, which come again in the next step.
    assert seen == [[0, 1, 2, 3, 4, 5]] * 2
    assert batches.candidates == 12


def test_which_part_of_the_data_was_used_by_hand():
    owners = np.repeat([0, 1], [4, 2])
    used = DataUsed.of(["a", "b"], owners, np.array([0, 3, 3, 0, 2, 0]), 12)
    assert (used.annotations, used.used, used.updates, used.candidates) == (6, 3, 8, 12)
    assert used.used_share == 0.5
    assert used.by_task == {"a": 0.75, "b": 0.25}


def test_all_rows_of_a_task_are_candidates_before_one_comes_again():
    owners = np.repeat([0, 1], [9, 3])
    seen = []

    def uncertainty(rows):
        seen.extend(row for row in rows.tolist() if row < 9)
        return torch.zeros(len(rows))

    list(UncertainBatches(owners, 3, 0, uncertainty))
    assert sorted(seen[:9]) == list(range(9))


def test_batches_follow_what_the_model_has_learnt_so_far():
    """They are chosen one by one, so that a step changes what comes next."""
    certain = set()

    def uncertainty(rows):
        return torch.tensor([0.0 if row in certain else 1.0 for row in rows.tolist()])

    batches = UncertainBatches(np.zeros(8, dtype=np.int64), 2, 0, uncertainty)
    iterator = iter(batches)
    certain.update(next(iterator))
    assert not certain & set(next(iterator))


def test_amounts_and_ranks_are_refused():
    tasks = [toy_task(Problem.CLASSIFICATION), toy_task(Problem.REGRESSION)]
    with pytest.raises(ValidationError, match=r"entropy of the classes, and toy-regression has"):
        check_entropy("multitask:uncertainty", tasks)
    check_entropy("multitask:uncertainty", tasks[:1])
