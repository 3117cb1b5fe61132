"""Tags of words: files, alignment of words and tags, schemes, spans, and the text-level view."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esm.common.errors import TaskError
from esm.tasks.faults.describe import describe
from esm.tasks.faults.inspect import inspect_target
from esm.tasks.formats.files import read_table
from esm.tasks.formats.sentences import UNEQUAL
from esm.tasks.guess.propose import propose
from esm.tasks.load import load_target, load_task
from esm.tasks.spec import ColumnSpec, RareClasses, SplitMethod, SplitSpec, TaskSpec
from esm.tasks.splits.draw import sample_rows
from esm.tasks.tagging import (
    is_iob2,
    join_words,
    present,
    spans,
    tag_names,
    tags_of,
    text_level,
    to_iob2,
    words_of,
)
from esm.tasks.task import Metric, Problem

SENTENCES = [
    (["Anna", "lives", "in", "New", "York"], ["B-PER", "O", "O", "B-LOC", "I-LOC"]),
    (["Rain", "in", "Oslo"], ["O", "O", "B-LOC"]),
    (["Nothing", "happened"], ["O", "O"]),
    (["Bob", "Dylan", "sang"], ["B-PER", "I-PER", "O"]),
]


def rows(sentences=SENTENCES):
    return pd.DataFrame({"tokens": [w for w, _ in sentences], "tags": [t for _, t in sentences]})


def whole(path, **how):
    """All rows as training rows: no split is drawn."""
    folds = SplitSpec(method=SplitMethod.K_FOLD)
    return TaskSpec(location=str(path), **({"split": folds} | how))


def written(tmp_path, frame, kind):
    path = tmp_path / f"names.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif kind == "csv":
        frame.map(lambda cell: json.dumps(cell) if isinstance(cell, list) else cell).to_csv(
            path, index=False
        )
    return path


def tags_read(task):
    return [[task.label_names[code] for code in tags_of(row)] for row in task.train.labels]


# ------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
def test_columns_of_lists_are_read_without_a_word(tmp_path, kind):
    task = load_task(whole(written(tmp_path, rows(), kind)))
    assert (task.problem, task.metric) == (Problem.TAGGING, Metric.SPAN_F1)
    assert task.label_names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert [words_of(text) for text in task.train.texts] == [words for words, _ in SENTENCES]
    assert tags_read(task) == [tags for _, tags in SENTENCES]
    assert task.train.labels.tolist()[2] == [0, 0, -1, -1, -1]
    assert task.text_columns == ("tokens",)
    assert not task.dropped


def test_words_and_tags_between_spaces_are_asked_for(tmp_path):
    frame = rows().map(" ".join).rename(columns={"tokens": "sentence", "tags": "names"})
    path = written(tmp_path, frame, "csv")
    task = load_task(whole(path, kind="tagging", text="sentence", attributes=("names",)))
    assert tags_read(task) == [tags for _, tags in SENTENCES]
    how = {"names": ColumnSpec(kind="tagging", metric="accuracy")}
    by_column = load_task(whole(path, text="sentence", columns=how))
    assert by_column.metric is Metric.ACCURACY
    assert tags_read(by_column) == tags_read(task)


def test_lists_beside_texts_are_sets_of_labels_as_before(tmp_path):
    frame = pd.DataFrame(
        {"text": ["one two three", "two three", "four"] * 4, "topics": [["a"], ["b", "a"], []] * 4}
    )
    task = load_task(whole(written(tmp_path, frame, "jsonl"), attributes=("topics",)))
    assert task.problem is Problem.MULTILABEL


def test_a_file_with_a_word_in_every_line(tmp_path):
    path = tmp_path / "names.conll"
    path.write_text(
        "-DOCSTART- -X- O O\n\nAnna NNP B-NP B-PER\r\nlives VBZ B-VP O\n\n\nOslo NNP B-NP B-LOC\n",
        encoding="utf-8",
    )
    assert read_table(path) == {
        "tokens": [["Anna", "lives"], ["Oslo"]],
        "tags": [["B-PER", "O"], ["B-LOC"]],
    }
    task = load_task(whole(path))
    assert (task.problem, tags_read(task)) == (Problem.TAGGING, [["B-PER", "O"], ["B-LOC"]])


def test_a_word_with_spaces_where_tabs_separate(tmp_path):
    path = tmp_path / "names.conll"
    path.write_text("New York\tB-LOC\nsleeps\tO\n", encoding="utf-8")
    task = load_task(whole(path))
    assert task.train.texts == ("New\u00a0York sleeps",)
    assert tags_read(task) == [["B-LOC", "O"]]


@pytest.mark.parametrize("line", ["Anna", "Anna\t", "\tO"])
def test_a_line_without_word_or_tag_is_named_by_its_number(tmp_path, line):
    path = tmp_path / "names.conll"
    path.write_text(f"Oslo\tB-LOC\n{line}\n", encoding="utf-8")
    with pytest.raises(TaskError, match="line 2 has not both a word and a tag; expected WORD"):
        read_table(path)


def test_a_task_folder_with_indices_of_tags(tmp_path):
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    frame = rows()
    frame["tags"] = [[names.index(tag) for tag in tags] for tags in frame["tags"]]
    frame.to_parquet(tmp_path / "train.parquet")
    about = {"task_type": "tagging", "label_names": names, "metric": "span_f1"}
    (tmp_path / "task.json").write_text(json.dumps(about), encoding="utf-8")
    task = load_task(whole(tmp_path))
    assert task.label_names == tuple(names)
    assert tags_read(task) == [tags for _, tags in SENTENCES]


def test_parts_of_speech_have_no_spans(tmp_path):
    frame = rows([(["I", "run"], ["PRON", "VERB"]), (["you", "run"], ["PRON", "VERB"])])
    task = load_task(whole(written(tmp_path, frame, "jsonl")))
    assert (task.metric, task.label_names) == (Metric.ACCURACY, ("PRON", "VERB"))


def test_a_proposal_finds_words_and_tags(tmp_path):
    found = propose(written(tmp_path, rows(SENTENCES * 3), "parquet"))
    assert (found.spec.text, found.spec.attributes) == ("tokens", ("tags",))
    assert found.spec.columns["tags"] == ColumnSpec(kind="tagging")
    assert load_task(found.spec).problem is Problem.TAGGING


# -------------------------------------------------------------------------------------- bad input


def test_rows_with_more_or_fewer_tags_than_words_are_left_out_and_counted(tmp_path):
    bad = [(["one", "two"], ["O"]), (["one"], ["O", "O"]), (["a", "b"], ["O", None])]
    task = load_task(whole(written(tmp_path, rows([*SENTENCES, *bad]), "jsonl")))
    assert tags_read(task) == [tags for _, tags in SENTENCES]
    assert dict(task.dropped) == {UNEQUAL: 3}


def test_empty_sentences_are_left_out_and_counted(tmp_path):
    empty = [([], []), ([""], ["O"])]
    task = load_task(whole(written(tmp_path, rows([*SENTENCES, *empty]), "jsonl")))
    assert (len(task.train), dict(task.dropped)) == (4, {"empty text": 2})


def test_no_row_with_as_many_tags_as_words(tmp_path):
    path = written(tmp_path, rows([(["a", "b"], ["O"]), (["a"], ["O", "B-X"])]), "jsonl")
    with pytest.raises(TaskError, match="in none of its 2 training rows; expected a list of words"):
        load_task(whole(path, kind="tagging", attributes=("tags",)))


def test_a_span_that_begins_inside_is_mended_and_told(tmp_path, caplog):
    frame = rows([*SENTENCES, (["Eva", "sings"], ["I-PER", "O"])])
    task = load_task(whole(written(tmp_path, frame, "jsonl")))
    assert tags_read(task)[-1] == ["B-PER", "O"]
    assert caplog.messages == ["column 'tags': 1 spans begin with I- and are read as if with B-"]


def test_a_tag_that_training_rows_do_not_have(tmp_path):
    train = written(tmp_path, rows(), "jsonl")
    test = tmp_path / "test.jsonl"
    more = [(["Acme", "grows"], ["B-ORG", "O"]), (["Oslo"], ["B-LOC"])]
    rows(more).to_json(test, orient="records", lines=True)
    task = load_task(TaskSpec(location=str(train), test=str(test)))
    assert task.test.texts == ("Oslo",)
    assert dict(task.dropped) == {"label not in train": 1}


def test_both_tags_of_a_type_are_known_where_one_occurs(tmp_path):
    frame = rows([(["Oslo", "sleeps"], ["B-LOC", "O"]), (["we", "sleep"], ["O", "O"])])
    task = load_task(whole(written(tmp_path, frame, "jsonl")))
    assert task.label_names == ("O", "B-LOC", "I-LOC")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["B-LOC", "E-LOC"], "'E-LOC' beside 'B-LOC'; expected O, B-TYPE .* from IOBES or BILOU"),
        (["B-LOC", "PER"], "'PER' beside 'B-LOC'; expected O, B-TYPE and I-TYPE; .*mend"),
    ],
)
def test_other_schemes_are_refused(tmp_path, tags, message):
    path = written(tmp_path, rows([(["a", "b"], tags)] * 3), "jsonl")
    with pytest.raises(TaskError, match=message):
        load_task(whole(path))


def test_rules_for_rare_classes_are_refused(tmp_path):
    path = written(tmp_path, rows(), "jsonl")
    how = {"tags": ColumnSpec(kind="tagging", min_per_class=5, rare=RareClasses.MERGE)}
    with pytest.raises(TaskError, match="'merge', for the tags of column 'tags'; expected 'keep'"):
        load_task(whole(path, columns=how))


# ------------------------------------------------------------------------------------------- tags


def test_spans_by_hand():
    assert spans(["B-A", "I-A", "B-A", "O"]) == {("A", 0, 2), ("A", 2, 3)}
    assert spans(["O", "I-A", "I-B", "I-B"]) == {("A", 1, 2), ("B", 2, 4)}
    assert spans(["O", "O"]) == set()
    assert spans(["B-A"]) == {("A", 0, 1)}


def test_words_come_back_as_they_were():
    for words in (["a", "", "b"], ["New York"], ["tab\there", "line\nbreak"]):
        assert words_of(join_words(words)) == [word.replace(" ", "\u00a0") for word in words]


def test_schemes():
    assert is_iob2(["O", "B-x"])
    assert not is_iob2(["O"])
    assert not is_iob2(["NOUN", "B-x"])
    assert to_iob2(["B-A", "I-B", "O", "I-B"]) == ["B-A", "B-B", "O", "B-B"]
    assert tag_names("x", {"I-a", "O", "B-b"}, ("O", "B-b")) == ("O", "B-b", "I-b", "B-a", "I-a")


def test_as_texts_a_task_says_which_types_occur(tmp_path):
    task = load_task(whole(written(tmp_path, rows(), "jsonl")))
    seen = text_level(task)
    assert (seen.problem, seen.metric) == (Problem.MULTILABEL, Metric.MACRO_F1)
    assert seen.label_names == ("LOC", "PER")
    assert seen.train.labels.tolist() == [[1, 1], [1, 0], [0, 0], [0, 1]]
    assert seen.train.texts == task.train.texts
    assert text_level(seen) is seen
    assert present(task.train.labels, 5).sum(axis=0).tolist() == [4, 2, 1, 2, 1]


def test_samples_keep_every_tag(tmp_path):
    plain = [(["we", f"sleep{i}"], ["O", "O"]) for i in range(50)]
    task = load_task(whole(written(tmp_path, rows([*plain, *SENTENCES]), "jsonl")))
    drawn = task.train.take(sample_rows(task.train, task.problem, 6, seed=0))
    assert (present(drawn.labels, 5).sum(axis=0) > 0).all()


def test_a_description_counts_the_texts_of_each_tag(tmp_path):
    target = load_target(whole(written(tmp_path, rows(), "jsonl")))
    labels = describe(target)["attributes"]["tags"]["splits"]["train"]["labels"]
    assert labels["B-PER"] == {"rows": 2, "share": 0.5}
    findings = inspect_target(target, seed=0)
    assert not [one for one in findings if one.kind == "conflicting-labels"]


def test_padding_is_no_label(tmp_path):
    """The same sentence in a file with longer ones is labelled the same."""
    twice = [SENTENCES[1], SENTENCES[1], SENTENCES[0]]
    task = load_task(whole(written(tmp_path, rows(twice), "jsonl")))
    assert np.array_equal(task.train.labels[0], task.train.labels[1])
