"""JSON in the ways it is written."""

import json

import pandas as pd
import pytest

from esm.common.errors import TaskError
from esm.tasks.formats.files import read_table
from esm.tasks.formats.json_rows import read_json_rows

ROWS = [{"text": "žltý čaj", "x": 1}, {"text": "b", "x": 2}]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table"])
def test_tables_as_pandas_writes_them(tmp_path, name, orient):
    path = tmp_path / name
    pd.DataFrame(ROWS).to_json(path, orient=orient, force_ascii=False)
    table = read_table(path)
    assert (table["text"], table["x"]) == (["žltý čaj", "b"], [1, 2])


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(map(json.dumps, ROWS)),
        json.dumps(ROWS, indent=2),
        json.dumps({"version": 1, "data": ROWS}),
        json.dumps({"text": ["žltý čaj", "b"], "x": [1, 2]}),
    ],
)
def test_lines_lists_and_lists_in_an_object(tmp_path, content):
    assert read_json_rows(tmp_path / "a.json", content) == ROWS


def test_one_line_is_one_row(tmp_path):
    row = {"tokens": ["a", "b"], "tags": ["O", "O"]}
    assert read_json_rows(tmp_path / "a.jsonl", json.dumps(row)) == [row]
    row = {"text": "a", "y": [{"b": 1}]}
    assert read_json_rows(tmp_path / "a.jsonl", json.dumps(row)) == [row]


@pytest.mark.parametrize("content", ['"a"', "[1, 2]", '{"id": {"a": 1}}', "{}"])
def test_what_is_no_list_of_objects(tmp_path, content):
    with pytest.raises(TaskError, match=r"JSON, but no list of objects with keys.*give the folder"):
        read_json_rows(tmp_path / "a.json", content)


def test_faults_name_the_line_and_not_the_text(tmp_path):
    with pytest.raises(TaskError, match=r"line 2: .* at character 10.*to_json") as caught:
        read_json_rows(tmp_path / "a.json", '[{"text": "a"},\n{"text": tajné}]')
    assert "tajné" not in str(caught.value)
    with pytest.raises(TaskError, match="line 2: not an object with keys"):
        read_json_rows(tmp_path / "a.jsonl", '{"text": "a"}\n[1]\n')
