import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esm.common.errors import TaskError
from esm.tasks.formats.folders import read_folder
from esm.tasks.task import Metric, Problem, SplitName

TASK = {"id": "toy", "task_type": "classification", "label_names": ["no", "yes"]}
ROWS = {"text": ["a", "b"], "label": [1, 0]}


def write(folder, description, *, name="task.json", **splits):
    (folder / name).write_text(json.dumps(description))
    for split, columns in (splits or {"train": ROWS}).items():
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    return folder


def test_class_indices_become_names(tmp_path):
    raw = read_folder(write(tmp_path, TASK, train=ROWS, test={"text": ["c"], "label": [None]}))
    assert raw.id == "toy"
    assert raw.train["label"] == ["yes", "no"]
    assert raw.splits[SplitName.TEST] == {"text": ["c"], "label": [None]}
    assert raw.known["label"].names == ("no", "yes")
    assert raw.known["label"].problem is Problem.CLASSIFICATION


def test_metric_metadata_and_the_default_id(tmp_path):
    folder = tmp_path / "my task"
    folder.mkdir()
    description = {"metric": "accuracy", "language": "sk", "license": "MIT", "notes": "any"}
    raw = read_folder(write(folder, description))
    assert raw.id == "my-task"
    assert raw.known["label"].metric is Metric.ACCURACY
    assert (raw.metadata.language, raw.metadata.license) == ("sk", "MIT")


def test_a_target_has_its_attributes_and_readings(tmp_path):
    reading = {"1_no": "no", "2_yes": "yes", "unsure": None}
    attribute = {"question": "?", "labels": list(reading), "counts": {"1_no": 1}, "binary": reading}
    columns = {"text": ["a", "b"], "harm": ["1_no", "2_yes"], "other": ["x", None]}
    description = {"id": "target", "attributes": {"harm": attribute, "other": {}}}
    raw = read_folder(write(tmp_path, description, name="target.json", train=columns))
    assert list(raw.known) == ["harm", "other"]
    assert raw.known["harm"].readings == {"binary": reading}
    assert raw.known["harm"].names == ("1_no", "2_yes", "unsure")
    assert raw.known["other"].readings == {}


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"task_type": "parsing"}, "task_type 'parsing'; expected one of classification"),
        ({"metric": "bleu"}, "metric 'bleu'; expected one of macro_f1, accuracy"),
        ({**TASK, "label_names": ["only"]}, "toy has label 1; expected an index into its 1 label"),
        ({"label_names": "abc"}, "label_names: Input should be a valid tuple"),
        ([], "the whole: Input should be a valid dictionary"),
    ],
)
def test_descriptions_that_do_not_fit(tmp_path, description, message):
    with pytest.raises(TaskError, match=message):
        read_folder(write(tmp_path, description))


def test_broken_json(tmp_path):
    write(tmp_path, TASK)
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(TaskError, match="is not JSON"):
        read_folder(tmp_path)


def test_folders_without_description_or_training_rows(tmp_path):
    with pytest.raises(TaskError, match=r"neither task\.json nor target\.json"):
        read_folder(tmp_path)
    with pytest.raises(TaskError, match=r"no file .*train\.parquet"):
        read_folder(write(tmp_path, TASK, test=ROWS))


def test_an_attribute_judged_by_rank_correlation_is_an_amount(tmp_path):
    attributes = {"severity": {"metric": "spearman"}, "kind": {"labels": ["a", "b"]}}
    rows = {"text": ["a", "b"], "severity": [1, 5], "kind": ["a", "b"]}
    folder = write(tmp_path, {"id": "t", "attributes": attributes}, name="target.json", train=rows)
    known = read_folder(folder).known
    assert known["severity"].problem is Problem.REGRESSION
    assert known["kind"].problem is None
