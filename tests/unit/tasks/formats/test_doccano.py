"""Files as doccano writes them, by version and kind of project."""

import pytest

from esm.common.errors import TaskError
from tests.unit.tasks.formats.told import read, write


def example(number, labels, **more):
    return {"id": number, "text": f"príspevok {number}", "label": labels, "Comments": [], **more}


@pytest.mark.parametrize("name", ["all.jsonl", "all.json"])
def test_lists_of_one_label_are_classes_and_an_empty_list_is_none(tmp_path, caplog, name):
    rows = [example(1, ["áno"], zdroj="fórum"), example(2, []), example(3, ["nie"])]
    table, said = read(write(tmp_path / name, rows), caplog)
    assert table == {
        "id": [1, 2, 3],
        "text": ["príspevok 1", "príspevok 2", "príspevok 3"],
        "zdroj": ["fórum", None, None],
        "label": ["áno", None, "nie"],
    }
    assert said == (
        f"{name}: read as doccano JSON: 'label' holds one label a row, so classes; 1 of 3 rows have"
        " no label and count as not annotated; columns left out, the tool's own: Comments"
    )


def test_lists_of_several_labels_are_sets(tmp_path, caplog):
    rows = [example(1, ["b", "a"]), example(2, []), example(3, ["a"])]
    table, said = read(write(tmp_path / "all.jsonl", rows), caplog)
    assert table["label"] == [["b", "a"], None, ["a"]]
    assert "'label' holds sets of labels (1 rows have several)" in said
    assert "give examples to which none applies a label of their own" in said


def test_sets_that_do_not_look_like_doccanos_stay_as_they_are(tmp_path, caplog):
    rows = [{"id": 1, "text": "a b", "label": ["x", "y"]}, {"id": 2, "text": "c", "label": []}]
    table, said = read(write(tmp_path / "a.jsonl", rows), caplog)
    assert table["label"] == [["x", "y"], []]
    assert said == ""


def test_older_names_of_the_columns(tmp_path, caplog):
    rows = [{"id": 1, "data": "a", "labels": ["x"]}, {"id": 2, "data": "b", "labels": ["y"]}]
    table, said = read(write(tmp_path / "a.jsonl", rows), caplog)
    assert table == {"id": [1, 2], "text": ["a", "b"], "label": ["x", "y"]}
    assert "read as doccano JSON" in said


def test_csv_joins_labels_by_a_hash(tmp_path, caplog):
    content = "id,text,label,Comments\n1,a,strava#zákon,\n2,b,C#,\n3,c,zákon,\n4,d,,\n"
    table, said = read(write(tmp_path / "all.csv", content), caplog)
    assert table["label"] == [["strava", "zákon"], ["C#"], ["zákon"], None]
    assert "Comments" not in table
    assert "all.csv: read as doccano CSV: 'label' holds sets of labels (1 rows have sev" in said


@pytest.mark.parametrize(
    ("labels", "read_as"),
    [
        (["a#b", "a", "b"], [["a", "b"], ["a"], ["b"]]),
        (["b#a", "a", "b"], ["b#a", "a", "b"]),  # doccano sorts them
        (["a#b", "c", "d"], ["a#b", "c", "d"]),
        (["a", "b", "a"], ["a", "b", "a"]),
    ],
)
def test_older_csv_is_known_by_its_joined_labels(tmp_path, caplog, labels, read_as):
    rows = "".join(f"{number},text {number},{label}\n" for number, label in enumerate(labels))
    table, said = read(write(tmp_path / "a.csv", f"id,text,label\n{rows}"), caplog)
    assert table["label"] == read_as
    assert ("doccano" in said) == isinstance(read_as[0], list)


def test_records_of_label_ids(tmp_path, caplog):
    def row(number, *given):
        records = [{"label": label, "user": user} for label, user in given]
        more = {"meta": {}, "annotation_approver": None, "annotations": records}
        return {"id": number, "text": f"t {number}", **more}

    rows = [row(1, (7, 1)), row(2, (8, 1)), row(3)]
    table, said = read(write(tmp_path / "a.jsonl", rows), caplog)
    assert table == {
        "id": [1, 2, 3],
        "text": ["t 1", "t 2", "t 3"],
        "label": ["label 7", "label 8", None],
    }
    assert "labels are ids, 'label 1' and so on: export JSONL (Text Labels) to have their" in said
    rows = [row(1, (7, 1), (8, 2)), row(2, (8, 1), (7, 1))]
    table, _ = read(write(tmp_path / "b.jsonl", rows), caplog)
    assert table["annotator"] == ["1", "2", "1"]
    assert table["label"] == [["label 7"], ["label 8"], ["label 8", "label 7"]]


def test_intents_beside_spans(tmp_path, caplog):
    rows = [
        {"id": 1, "text": "ab cd", "cats": ["pýta"], "entities": [[0, 2, "X"]], "Comments": []},
        {"id": 2, "text": "ef", "cats": [], "entities": [], "Comments": []},
    ]
    table, said = read(write(tmp_path / "a.jsonl", rows), caplog)
    assert table == {"id": [1, 2], "text": ["ab cd", "ef"], "label": ["pýta", None]}
    assert "left out, the tool's own: Comments, entities" in said


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"label": [[0, 4, "OSOBA"]], "Comments": []}, "sequence labelling"),
        ({"labels": [[0, 4, "OSOBA"]]}, "sequence labelling"),
        (
            {
                "entities": [{"id": 1, "label": "X", "start_offset": 0, "end_offset": 4}],
                "relations": [],
            },
            "relations or entities",
        ),
        (
            {"annotations": [{"label": 1, "user": 1, "start_offset": 0, "end_offset": 4}]},
            "sequence labelling",
        ),
    ],
)
def test_spans_are_refused_by_name(tmp_path, caplog, more, what):
    rows = [{"id": 1, "text": "Jana spí", **more}]
    with pytest.raises(TaskError) as caught:
        read(write(tmp_path / "a.jsonl", rows), caplog)
    said = str(caught.value)
    assert f"is doccano's export of {what}, whose labels belong to spans of characters" in said
    assert "kind Text Classification" in said
    assert "'tokens' and 'tags'" in said
    assert "Jana" not in said
