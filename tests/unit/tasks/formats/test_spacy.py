"""Rows with spaCy's ``cats``."""

import pytest

from esm.common.errors import TaskError
from tests.unit.tasks.formats.told import read, write


def rows_of(*cats):
    return [{"text": f"t {number}", "cats": each} for number, each in enumerate(cats)]


def test_one_label_that_holds_is_a_class(tmp_path, caplog):
    rows = rows_of({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}, {}, {"a": 0.7, "b": 0.3})
    table, said = read(write(tmp_path / "a.jsonl", rows), caplog)
    assert table == {"text": ["t 0", "t 1", "t 2", "t 3"], "label": ["a", "b", None, "a"]}
    assert said == (
        "a.jsonl: read as spaCy's cats: 'label' holds one label a row, so classes; 2 values between"
        " 0 and 1 hold from 0.5 on; 1 of 4 rows have no label and count as not annotated"
    )


def test_a_row_that_denies_every_label_is_an_empty_set(tmp_path, caplog):
    rows = rows_of({"a": True, "b": False}, {"a": False, "b": False})
    table, said = read(write(tmp_path / "a.jsonl", rows), caplog)
    assert table["label"] == [["a"], []]
    assert "'label' holds sets of labels (1 are empty)" in said


def test_labels_that_are_named_only_where_they_hold(tmp_path, caplog):
    rows = rows_of({"a": 1}, {"b": 1, "a": 1})
    table, _ = read(write(tmp_path / "a.jsonl", rows), caplog)
    assert table["label"] == [["a"], ["a", "b"]]


def test_of_labels_that_a_row_does_not_name_nothing_is_known(tmp_path, caplog):
    table, said = read(write(tmp_path / "a.jsonl", rows_of({"a": 1}, {"b": 0}, {"a": 0})), caplog)
    assert (table["a"], table["b"]) == (["true", None, "false"], [None, "false", None])
    assert "rows differ in the labels that they speak of: 2 attributes, true or false" in said


def test_pairs_of_a_text_and_an_object(tmp_path, caplog):
    pairs = [["ab", {"cats": {"x": 1, "y": 0}, "entities": []}], ["cd", {"cats": {"x": 0, "y": 1}}]]
    table, said = read(write(tmp_path / "a.json", pairs), caplog)
    assert table == {"text": ["ab", "cd"], "label": ["x", "y"]}
    assert "columns left out, spans of the text: entities" in said


def test_entities_alone_are_refused(tmp_path, caplog):
    pairs = [["Jana spí", {"entities": [[0, 4, "OSOBA"]]}]]
    with pytest.raises(TaskError, match=r"is spaCy's training data of entities, whose labels bel"):
        read(write(tmp_path / "a.json", pairs), caplog)
