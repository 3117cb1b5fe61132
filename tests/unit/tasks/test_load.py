import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esm.common.errors import StorageError, TaskError
from esm.tasks.load import load_target, load_task
from esm.tasks.spec import ColumnSpec, SplitSpec, TaskSpec
from esm.tasks.task import Metric, Problem, RareClass, SplitName, Texts


def write_csv(path, rows, header="text,label"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def two_attributes(tmp_path):
    rows = [f"text {i},{'ab'[i % 2]},{['x', 'y', ''][i % 3]}" for i in range(60)]
    return write_csv(tmp_path / "data.csv", rows, "text,first,second")


def spec_of(path, **options):
    return TaskSpec(location=str(path), **options)


# ------------------------------------------------------------------------------- what is loaded


def test_a_file_gives_a_task_per_attribute_over_the_same_texts(two_attributes):
    target = load_target(spec_of(two_attributes))
    assert target.id == "data"
    assert list(target.attributes) == ["first", "second"]
    first, second = target.attributes.values()
    assert (first.id, second.id) == ("data/first", "data/second")
    assert (len(first.train), len(first.test)) == (48, 12)
    assert set(second.train.texts) < set(first.train.texts)
    assert set(second.test.texts) < set(first.test.texts)
    assert second.dropped == {"no label": 20}


def test_training_texts_without_a_label_are_kept_apart_and_change_no_hash(two_attributes):
    first, second = load_target(spec_of(two_attributes)).attributes.values()
    assert len(first.unlabelled) == 0
    assert set(second.unlabelled.texts) == set(first.train.texts) - set(second.train.texts)
    assert second.unlabelled.pairs is None
    without = dataclasses.replace(second, unlabelled=Texts())
    assert without.content_hash() == second.content_hash()


def test_the_split_is_the_same_whichever_attribute_is_chosen_first(two_attributes):
    alone = load_target(spec_of(two_attributes, attributes=("second",))).attributes["second"]
    two_attributes.with_name("data.csv.split.json").unlink()
    together = load_target(spec_of(two_attributes)).attributes["second"]
    assert alone.content_hash() == together.content_hash()


def test_loading_again_gives_the_same_and_another_seed_another_split(two_attributes):
    first = load_target(spec_of(two_attributes))
    assert load_target(spec_of(two_attributes)).content_hash() == first.content_hash()
    assert (
        load_target(spec_of(two_attributes, split=SplitSpec(seed=1))).content_hash()
        != first.content_hash()
    )


def test_a_test_file_replaces_the_split(tmp_path):
    train = write_csv(tmp_path / "train.csv", ["one,a", "two,b", "three,a"])
    test = write_csv(tmp_path / "test.tsv", ["four\tb", "five\tc"], "text\tlabel")
    task = load_task(spec_of(train, test=str(test)))
    assert task.train.texts == ("one", "two", "three")
    assert task.test.texts == ("four",)
    assert task.dropped == {"label not in train": 1}
    assert not list(tmp_path.glob("*.split.json"))


def test_a_test_file_needs_the_chosen_columns_only(two_attributes, tmp_path):
    test = write_csv(tmp_path / "test.csv", ["four,b"], "text,first")
    options = {"attributes": ("first",), "test": str(test)}
    assert len(load_task(spec_of(two_attributes, **options)).test) == 1
    with pytest.raises(TaskError, match="no column 'second' in the test rows of data"):
        load_target(spec_of(two_attributes, test=str(test)))


def test_pairs_and_regression(tmp_path):
    rows = [f"left {i},right {i},{i / 7:.3f}" for i in range(50)]
    path = write_csv(tmp_path / "sts.csv", rows, "s1,s2,score")
    options = {"text": "s1", "text_pair": "s2", "attributes": ("score",)}
    task = load_task(spec_of(path, **options))
    assert task.is_pair
    assert (task.problem, task.metric, task.num_outputs) == (
        Problem.REGRESSION,
        Metric.SPEARMAN,
        1,
    )
    for text, second, label in zip(
        task.train.texts, task.train.pairs, task.train.labels, strict=True
    ):
        number = text.removeprefix("left ")
        assert second == f"right {number}"
        assert label == round(int(number) / 7, 3)


def test_multi_label_from_lists(tmp_path):
    rows = [{"text": f"text {i}", "topics": [["a"], ["a", "b"], []][i % 3]} for i in range(30)]
    path = tmp_path / "topics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load_task(spec_of(path))
    assert (task.problem, task.label_names) == (Problem.MULTILABEL, ("a", "b"))
    np.testing.assert_array_equal(task.train.labels.sum(axis=0), [16, 8])


def test_blank_texts_are_left_out_and_counted(tmp_path):
    rows = [*(f"text {i},{'ab'[i % 2]}" for i in range(20)), ",a", '" ",b', "None,a"]
    task = load_task(spec_of(write_csv(tmp_path / "data.csv", rows)))
    assert task.dropped == {"empty text": 2}
    assert "None" in task.train.texts + task.test.texts


# ------------------------------------------------------------------------------- ids of sources


def test_a_source_with_one_attribute_has_the_id_of_its_data(tmp_path):
    path = write_csv(tmp_path / "data.csv", [f"text {i},{'ab'[i % 2]}" for i in range(20)])
    assert load_task(spec_of(path)).id == "data"
    assert load_task(spec_of(path, id="mine")).id == "mine"
    assert load_target(spec_of(path)).attributes["label"].id == "data/label"


def test_a_source_with_several_attributes_needs_one_named(two_attributes):
    assert load_task(spec_of(two_attributes, attributes=("second",))).id == "data/second"
    with pytest.raises(TaskError, match="data has 2 attributes: first, second; expected the att"):
        load_task(spec_of(two_attributes))


def test_an_id_must_be_safe(two_attributes):
    with pytest.raises(StorageError, match="expected letters, digits"):
        load_target(spec_of(two_attributes, id="../x"))


def test_columns_that_would_get_the_same_id(tmp_path):
    rows = [f"text {i},{'ab'[i % 2]},{'cd'[i % 2]}" for i in range(20)]
    path = write_csv(tmp_path / "data.csv", rows, "text,is true,is-true")
    with pytest.raises(TaskError, match="would both be called data/is-true"):
        load_target(spec_of(path))


# -------------------------------------------------------------------------------------- folders


def write_folder(folder, description, name="task.json", **splits):
    folder.mkdir()
    (folder / name).write_text(json.dumps(description))
    for split, columns in splits.items():
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    return folder


def test_the_metric_of_a_task_folder_wins_where_it_fits(tmp_path):
    description = {"metric": "accuracy", "label_names": ["no", "yes"]}
    columns = {"text": ["a", "b", "c"], "label": [0, 1, 1]}
    folder = write_folder(tmp_path / "toy", description, train=columns, test=columns)
    task = load_task(spec_of(folder))
    assert (task.id, task.metric, task.label_names) == ("toy", Metric.ACCURACY, ("no", "yes"))
    described = {"metric": "accuracy"}
    other = write_folder(tmp_path / "toy2", described, train=columns, test=columns)
    assert load_task(spec_of(other, kind="regression")).metric is Metric.SPEARMAN


def test_a_folder_with_train_alone_is_split_and_one_with_validation_is_not(tmp_path):
    columns = {"text": [f"text {i}" for i in range(20)], "label": ["a", "b"] * 10}
    alone = write_folder(tmp_path / "alone", {}, train=columns)
    assert len(load_task(spec_of(alone)).test) == 4
    assert (alone / "train.parquet.split.json").is_file()
    both = load_task(spec_of(write_folder(tmp_path / "b", {}, train=columns, validation=columns)))
    assert set(both.splits) == {SplitName.TRAIN, SplitName.VALIDATION}
    with pytest.raises(TaskError, match="no test rows"):
        _ = both.test


@pytest.fixture
def target_folder(tmp_path):
    description = {
        "attributes": {
            "good": {"labels": ["n", "y", "?"], "binary": {"n": "no", "y": "yes", "?": None}},
            "constant": {"labels": ["c"]},
        }
    }
    columns = {"text": ["a", "b", "c"], "good": ["n", "y", "?"], "constant": ["c", "c", None]}
    splits = {"train": columns, "test": columns}
    return write_folder(tmp_path / "target", description, "target.json", **splits)


def test_an_attribute_that_cannot_be_used_is_skipped_by_name(target_folder):
    target = load_target(spec_of(target_folder))
    assert list(target.attributes) == ["good"]
    assert "column 'constant' has one class or value only" in target.skipped["constant"]
    with pytest.raises(TaskError, match="'constant' has one class"):
        load_target(spec_of(target_folder, attributes=("constant",)))


def test_a_source_is_one_of_several_even_where_the_others_cannot_be_used(target_folder):
    assert load_task(spec_of(target_folder, attributes=("good",))).id == "target/good"


def test_readings(target_folder):
    task = load_target(spec_of(target_folder, reading="binary")).attributes["good"]
    assert task.label_names == ("no", "yes")
    assert task.dropped == {"left out by the reading 'binary'": 2}
    with pytest.raises(TaskError, match=r"none of the 2 attributes .* no reading 'other'"):
        load_target(spec_of(target_folder, reading="other"))


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("location", ["absent.csv", "absent", "./owner/name", "a/b/c"])
def test_nothing_there(location, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskError, match=r"nothing at .*; expected a task folder, .* Hub dataset"):
        load_target(TaskSpec(location=location))


def test_a_mistyped_path_is_not_sent_to_the_hub(tmp_path, monkeypatch):
    (tmp_path / "tasks").mkdir()
    monkeypatch.chdir(tmp_path)
    for location in ("tasks/absent", "elsewhere/data.csv"):
        with pytest.raises(TaskError, match="nothing at"):
            load_target(TaskSpec(location=location))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["one,a", "two,a"], "one class or value only in its 2 training rows"),
        (["one,", "two,"], "has no labels"),
        ([",a", ",b"], "every training row of data has an empty text in column 'text'"),
        (["1,a", "2,b"], "text column 'text' of data holds numbers"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path, rows, message):
    with pytest.raises(TaskError, match=message):
        load_task(spec_of(write_csv(tmp_path / "data.csv", rows)))


def test_a_test_split_that_leaves_a_class_out_is_fine(tmp_path):
    train = write_csv(tmp_path / "train.csv", ["one,a", "two,b", "three,c"])
    test = write_csv(tmp_path / "test.csv", ["four,b", "five,a"])
    task = load_task(spec_of(train, test=str(test)))
    assert task.label_names == ("a", "b", "c")
    assert task.test.labels.tolist() == [1, 0]


def test_a_training_split_that_leaves_all_test_classes_out(tmp_path):
    train = write_csv(tmp_path / "train.csv", ["one,a", "two,b"])
    test = write_csv(tmp_path / "test.csv", ["four,c"])
    task = load_task(spec_of(train, test=str(test)))
    assert task.dropped == {"label not in train": 1}
    with pytest.raises(TaskError, match="no test rows"):
        _ = task.test


# ------------------------------------------------------------------------------- single columns


@pytest.fixture
def skewed(tmp_path):
    """Sixty Slovak posts: a scale whose ends are rare, and a topic with a rare class."""
    levels = ["nízka"] * 3 + ["stredná"] * 30 + ["vysoká"] * 27
    topics = ["kliešť" if i % 20 == 7 else ("žena", "muž")[i % 2] for i in range(60)]
    rows = [
        f"príspevok číslo {i} o očkovaní,{level},{topic}"
        for i, (level, topic) in enumerate(zip(levels, topics, strict=True))
    ]
    return write_csv(tmp_path / "posts.csv", rows, "text,riziko,téma")


def test_a_column_is_read_as_its_specification_says(skewed):
    scale = ColumnSpec(
        kind="ordinal",
        metric="kappa",
        order=("nízka", "stredná", "vysoká"),
        min_per_class=5,
        rare="merge",
    )
    columns = {"riziko": scale, "téma": ColumnSpec(min_per_class=4, rare="leave-out")}
    target = load_target(spec_of(skewed, columns=columns))
    risk, topic = target.attributes.values()
    assert (risk.problem, risk.metric, risk.num_outputs) == (Problem.ORDINAL, Metric.KAPPA, 1)
    assert risk.label_names == ("nízka|stredná", "vysoká")
    (merged,) = risk.rare
    assert (merged.name, merged.into) == ("nízka", "nízka|stredná")
    assert len(risk.train) + len(risk.test) == 60
    assert topic.label_names == ("muž", "žena")
    assert topic.rare == (RareClass("kliešť", 2, None),)
    assert topic.dropped == {"class 'kliešť' has too few training rows (2)": 3}


def test_a_scale_and_its_nominal_reading_are_judged_by_the_same_metric(skewed):
    for kind in ("ordinal", "classification"):
        task = load_task(spec_of(skewed, attributes=("riziko",), kind=kind))
        assert (task.problem, task.metric) == (Problem(kind), Metric.MACRO_F1)


def test_a_metric_that_the_kind_does_not_have(skewed):
    columns = {"téma": ColumnSpec(metric="kappa")}
    message = "metric 'kappa' for the classification column 'téma'; expected one of macro_f1, acc"
    with pytest.raises(TaskError, match=message):
        load_task(spec_of(skewed, attributes=("téma",), columns=columns))


def test_a_refused_column_is_left_out_of_a_target_with_its_reason(skewed):
    columns = {"téma": ColumnSpec(min_per_class=5, rare="refuse")}
    target = load_target(spec_of(skewed, columns=columns))
    assert list(target.attributes) == ["riziko"]
    assert "too few training rows (kliešť 2)" in target.skipped["téma"]
