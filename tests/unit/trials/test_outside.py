"""Predictions of outside systems: found by their texts, refused where they do not fit."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from esm.common.errors import TaskError
from esm.metrics.predictions import performance, predicted_labels
from esm.tasks.task import Examples, Problem, SplitName, Target
from esm.trials.outside import as_outputs, read_outside
from tests.toy_tasks import TEXT_KINDS, toy_task


def target_of(task, fold=None):
    known = dataclasses.replace(task, text_columns=("body",))
    return Target(id="posts", attributes={"mood": known}, fold=fold)


def written(path, rows):
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def values_of(task):
    """The right labels as a file would name them."""
    labels = task.test.labels
    if task.problem is Problem.REGRESSION:
        return labels.tolist()
    if task.problem is Problem.MULTILABEL:
        return [json.dumps([task.label_names[k] for k in np.flatnonzero(row)]) for row in labels]
    return [task.label_names[label] for label in labels]


@pytest.mark.parametrize("problem", TEXT_KINDS)
def test_right_labels_in_any_order_of_the_rows_are_a_perfect_system(tmp_path, problem):
    task = toy_task(problem)
    table = pd.DataFrame({"body": task.test.texts, "mood": values_of(task), "more": 1})
    table = table.drop_duplicates("body") if problem is not Problem.REGRESSION else table
    more = pd.DataFrame({"body": ["another text"], "mood": [table["mood"].iloc[0]], "more": [2]})
    path = written(tmp_path / "p.csv", pd.concat([table.iloc[::-1], more]))
    found = read_outside("gpt", path, [target_of(task)], ["mood"])
    outputs = found.outputs["mood"][None]
    assert outputs.shape == (24, task.num_outputs)
    metrics = performance(task, task.test.labels, outputs)
    assert metrics[task.metric] == pytest.approx(1)
    assert found.name == "gpt"
    assert not found.skipped


def test_tags_of_words_are_not_read_as_labels_of_texts(tmp_path):
    task = toy_task(Problem.TAGGING)
    path = written(tmp_path / "p.csv", pd.DataFrame({"body": task.test.texts, "mood": "O"}))
    with pytest.raises(TaskError, match="'mood' has a tag per word"):
        read_outside("gpt", path, [target_of(task)], ["mood"])


def test_pairs_are_found_by_both_texts(tmp_path):
    task = toy_task(pairs=True)
    known = dataclasses.replace(task, text_columns=("body", "reply"))
    rows = {"body": task.test.texts, "reply": task.test.pairs, "mood": values_of(task)}
    path = tmp_path / "p.jsonl"
    pd.DataFrame(rows).to_json(path, orient="records", lines=True)
    target = Target(id="posts", attributes={"mood": known})
    outputs = read_outside("x", path, [target], ["mood"]).outputs["mood"][None]
    assert (predicted_labels(task, outputs) == task.test.labels).all()


def test_equal_texts_take_the_predictions_in_their_order(tmp_path):
    rows = Examples(("x", "y", "x", "x"), None, np.array([0, 0, 1, 1]))
    task = dataclasses.replace(
        toy_task(num_classes=2), splits={SplitName.TRAIN: rows, SplitName.TEST: rows}
    )
    path = written(tmp_path / "p.csv", {"text": ["x", "x", "y"], "mood": ["a", "b", "a"]})
    outputs = read_outside("x", path, [target_of(task)], ["mood"]).outputs["mood"][None]
    assert outputs.argmax(axis=1).tolist() == [0, 0, 1, 1]


def test_every_fold_has_its_rows(tmp_path):
    tasks = [toy_task(seed=seed) for seed in (0, 1)]
    tables = [pd.DataFrame({"body": t.test.texts, "mood": values_of(t)}) for t in tasks]
    path = written(tmp_path / "p.csv", pd.concat(tables))
    targets = [target_of(task, fold) for fold, task in enumerate(tasks)]
    found = read_outside("x", path, targets, ["mood"]).outputs["mood"]
    assert set(found) == {0, 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="body"), "has no column 'body' or 'text'"),
        (lambda t: t.rename(columns={"mood": "Mood"}), "has no column 'mood'"),
        (lambda t: t.iloc[2:], r"has no label in 'mood' for \d+ of 24 test rows"),
        (lambda t: t.assign(mood="happy"), "says 'happy' for 'mood'; expected one of a, b, c"),
    ],
)
def test_files_that_do_not_fit(tmp_path, change, message):
    task = toy_task()
    table = pd.DataFrame({"body": task.test.texts, "mood": values_of(task)})
    path = written(tmp_path / "p.csv", change(table.drop_duplicates("body")))
    with pytest.raises(TaskError, match=message):
        read_outside("x", path, [target_of(task)], ["mood"])


def test_an_attribute_that_the_file_does_not_have_is_left_out_and_named(tmp_path):
    task = dataclasses.replace(toy_task(), text_columns=("body",))
    path = written(tmp_path / "p.csv", {"body": task.test.texts, "mood": values_of(task)})
    target = Target(id="posts", attributes={"mood": task, "topic": task})
    found = read_outside("x", path, [target], ["mood", "topic"])
    assert list(found.outputs) == ["mood"]
    assert found.skipped[0].source == "x on posts/topic"


def test_no_label_at_all_of_a_set():
    outputs = as_outputs(toy_task(Problem.MULTILABEL), [[], [0, 2]])
    assert (outputs > 0).tolist() == [[False] * 3, [True, False, True]]
