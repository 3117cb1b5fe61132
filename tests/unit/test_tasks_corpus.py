"""Texts without labels: every form of data they come in, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esm.errors import TaskError
from esm.tasks.read import load_target, load_task, load_tasks
from esm.tasks.rows import EMPTY_TEXT
from esm.tasks.spec import ColumnSpec, SplitSpec, TaskSpec
from esm.tasks.split import held_out
from esm.tasks.task import Metric, Problem, SplitName
from tests.toy_folders import write_target, write_task

TEXTS = ["the cat runs", "a dog, not a cat", "the sun and the moon"]


def corpus(path, **more):
    return TaskSpec(location=str(path), kind="corpus", **more)


def write(folder, kind):
    table = pd.DataFrame({"id": [1, 2, 3], "text": TEXTS})
    path = folder / f"posts.{kind}"
    match kind:
        case "txt":
            path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
        case "csv" | "tsv":
            table.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
        case "jsonl":
            table.to_json(path, orient="records", lines=True)
        case "parquet":
            table.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl", "parquet"])
def test_every_form_of_data_gives_the_same_texts(tmp_path, kind):
    task = load_task(corpus(write(tmp_path, kind)))
    assert (task.id, task.problem, task.metric) == ("posts", Problem.CORPUS, Metric.PERPLEXITY)
    assert task.train.texts == tuple(TEXTS)
    assert list(task.splits) == [SplitName.TRAIN]
    assert task.label_names == ()
    assert task.train.labels.tolist() == [0, 0, 0]
    assert task.text_columns == ("text",)


def test_lines_are_texts_whatever_stands_in_them(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one, two\r\n\r\nnan\u2028still\r\n \r\n1;2\r\n".encode())
    task = load_task(corpus(path))
    assert task.train.texts == ("one, two", "nan\u2028still", "1;2")
    assert task.dropped == {EMPTY_TEXT: 2}


def test_a_table_in_a_text_file_is_read_where_its_column_is_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("who;post\nme;the cat runs\nyou;a dog sleeps\n", encoding="utf-8")
    assert load_task(corpus(path, text="post")).train.texts == ("the cat runs", "a dog sleeps")


def test_empty_cells_are_left_out_and_counted(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["the cat", None, " ", "a dog"]}).to_parquet(path)
    task = load_task(corpus(path))
    assert task.train.texts == ("the cat", "a dog")
    assert task.dropped == {EMPTY_TEXT: 2}


def test_a_task_folder_says_itself_that_it_is_a_corpus(tmp_path):
    folder = tmp_path / "posts"
    folder.mkdir()
    described = {"id": "news", "task_type": "corpus", "language": "sk", "license": "CC0"}
    (folder / "task.json").write_text(json.dumps(described), encoding="utf-8")
    for split in ("train", "validation"):
        pd.DataFrame({"text": [f"{text} {split}" for text in TEXTS]}).to_parquet(
            folder / f"{split}.parquet"
        )
    task = load_task(TaskSpec(location=str(folder)))
    assert (task.id, task.problem) == ("news", Problem.CORPUS)
    assert (task.metadata.language, task.metadata.license) == ("sk", "CC0")
    train, unseen = held_out(task, 0)
    assert [text.split()[-1] for text in train.texts] == ["train"] * 3
    assert [text.split()[-1] for text in unseen.texts] == ["validation"] * 3


@pytest.mark.parametrize("writer", [write_task, write_target])
def test_of_labelled_data_the_texts_alone_are_taken(tmp_path, writer):
    folder = writer(tmp_path / "toys")
    task = load_task(corpus(folder))
    labelled = pd.read_parquet(folder / "train.parquet")
    assert task.train.texts == tuple(labelled["text"])
    assert not task.train.labels.any()


def test_a_corpus_is_one_task_and_its_hash_hangs_on_the_texts(tmp_path):
    spec = corpus(write(tmp_path, "txt"))
    ((same, task),) = load_tasks(spec)
    assert same == spec
    assert task.content_hash() == load_task(corpus(write(tmp_path, "csv"))).content_hash()
    (tmp_path / "posts.txt").write_text("\n".join([*TEXTS, "more"]), encoding="utf-8")
    assert task.content_hash() != load_task(spec).content_hash()


def test_rows_to_judge_by_share_no_text_with_the_others(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(f"text {row % 30}" for row in range(90)), encoding="utf-8")
    train, unseen = held_out(load_task(corpus(path)), 3)
    assert len(train) + len(unseen) == 90
    assert 0 < len(unseen) <= 15
    assert not set(train.texts) & set(unseen.texts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"is empty; expected"),
        ("\n  \n", r"is empty; expected"),
        ("one text\n", r"corpus a has 1 different text in 1 .*expected at least two"),
        ("same\n" * 40, r"corpus a has 1 different text in 40 .*expected at least two"),
    ],
)
def test_a_corpus_that_nothing_can_be_learnt_of_is_refused(tmp_path, content, message):
    path = tmp_path / "a.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TaskError, match=message):
        load_task(corpus(path))


def test_a_column_of_nothing_or_of_numbers_is_no_corpus(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": [None, np.nan, ""]}).to_parquet(path)
    with pytest.raises(TaskError, match=r"no training rows; expected at least one"):
        load_task(corpus(path))
    pd.DataFrame({"text": [1.5, np.nan]}).to_parquet(path)
    with pytest.raises(TaskError, match=r"holds numbers; expected texts"):
        load_task(corpus(path))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"attributes": ("id",)}, "attribute id"),
        ({"columns": {"id": ColumnSpec()}}, "the reading of column id"),
        ({"split": SplitSpec(method="k-fold")}, "the split k-fold"),
        ({"test": "SELF"}, "a file of test rows"),
    ],
)
def test_labels_and_splits_make_no_sense_of_a_corpus(tmp_path, more, said):
    path = write(tmp_path, "csv")
    more = {name: str(path) if value == "SELF" else value for name, value in more.items()}
    with pytest.raises(TaskError, match=rf"{said} of the corpus posts; expected texts alone"):
        load_task(corpus(path, **more))


def test_a_corpus_is_no_target(tmp_path):
    with pytest.raises(TaskError, match=r"posts is a corpus: .*try: esm train makes a source"):
        load_target(corpus(write(tmp_path, "txt")))


def test_a_forgotten_label_does_not_make_a_corpus(tmp_path):
    with pytest.raises(TaskError, match=r"no column that looks like an attribute.*--kind corpus"):
        load_task(TaskSpec(location=str(write(tmp_path, "jsonl"))))


def test_a_column_of_labels_is_not_of_the_kind_corpus(tmp_path):
    path = tmp_path / "a.csv"
    pd.DataFrame({"text": TEXTS * 4, "mood": ["a", "b", "a"] * 4}).to_csv(path, index=False)
    spec = TaskSpec(location=str(path), columns={"mood": ColumnSpec(kind="corpus")})
    with pytest.raises(TaskError, match=r"kind 'corpus' of column 'mood'"):
        load_task(spec)
