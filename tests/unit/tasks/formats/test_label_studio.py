"""Files as Label Studio writes them: the same project in each of its formats.

The flat files are what label-studio-sdk 2.1.2 made of these tasks (``Converter.convert``).
"""

import csv
import io

import pytest

from esm.common.errors import TaskError
from tests.unit.tasks.formats.told import read, write


def result(name, kind, **value):
    return {"from_name": name, "to_name": "text", "type": kind, "value": value}


def annotation(who, *results, **more):
    return {"completed_by": who, "result": [*results], "was_cancelled": False, **more}


ANA, BEN = {"id": 1, "email": "ana@x.sk"}, {"id": 2, "email": "ben@x.sk"}
FULL = (
    result("postoj", "choices", choices=["za"]),
    result("témy", "choices", choices=["a", "b"]),
    result("škoda", "rating", rating=3),
    result("suma", "number", number=2.5),
    result("oblasť", "taxonomy", taxonomy=[["zdravie", "strava"], ["štát"]]),
    result("prečo", "textarea", text=["lebo je to tak"]),
)


def task(number, *annotations, **data):
    inputs = {"text": f"text {number}", **data}
    return {"id": number, "data": inputs, "annotations": [*annotations], "predictions": []}


TASKS = [
    task(
        1, annotation(ANA, *FULL), annotation(BEN, result("postoj", "choices", choices=["proti"]))
    ),
    task(2, annotation(ANA, result("postoj", "choices", choices=["za"]), was_cancelled=True)),
    task(3, zdroj="web", vety=[{"x": 1}]),
]


def test_tasks_have_a_row_per_annotation(tmp_path, caplog):
    table, said = read(write(tmp_path / "export.json", TASKS), caplog)
    assert table == {
        "id": [1, 1, 2, 3],
        "text": ["text 1", "text 1", "text 2", "text 3"],
        "annotator": ["ana@x.sk", "ben@x.sk", None, None],
        "zdroj": [None, None, None, "web"],
        "postoj": ["za", "proti", None, None],
        "témy": [["a", "b"], None, None, None],
        "škoda": [3, None, None, None],
        "suma": [2.5, None, None, None],
        "oblasť": [["zdravie / strava", "štát"], None, None, None],
        "prečo": ["lebo je to tak", None, None, None],
    }
    for part in (
        "export.json: read as Label Studio JSON: 'postoj' holds one label a row, so classes, 2 of 4"
        " rows lack it and count as not annotated",
        "'témy' holds sets of labels (1 rows have several), 3 of 4",
        "'škoda' holds ratings or numbers, 3 of 4",
        "2 annotators",
        "1 tasks were skipped by the annotator",
        "columns left out, they hold objects: vety",
    ):
        assert part in said


def test_the_ground_truth_counts_alone(tmp_path, caplog):
    za = result("postoj", "choices", choices=["za"])
    proti = result("postoj", "choices", choices=["proti"])
    rows = [
        task(1, annotation(1, proti), annotation(2, za, ground_truth=True)),
        task(2, annotation(1, proti)),
    ]
    table, said = read(write(tmp_path / "a.json", rows), caplog)
    assert table["postoj"] == ["za", "proti"]
    assert table["annotator"] == ["2", "1"]
    assert "1 tasks have a ground truth, which alone is taken" in said


def test_older_names(tmp_path, caplog):
    rows = [
        {"id": 1, "data": {"text": "a"}, "completions": [{"result": [FULL[0]]}]},
        {"id": 2, "data": {"text": "b"}, "completions": [{"skipped": True, "result": [FULL[0]]}]},
    ]
    table, _ = read(write(tmp_path / "a.json", rows), caplog)
    assert table["postoj"] == ["za", None]


def test_tasks_that_wait_for_annotation_are_texts(tmp_path, caplog):
    rows = [task(1), task(2)]
    rows[0]["predictions"] = [{"result": [FULL[0]]}]
    table, _ = read(write(tmp_path / "a.json", rows), caplog)
    assert table == {"id": [1, 2], "text": ["text 1", "text 2"]}


MIN = [
    {
        "text": "text 1", "id": 1, "postoj": "proti", "annotator": "ben@x.sk", "annotation_id": 12,
        "created_at": "2024-03-04", "updated_at": "2024-03-05", "lead_time": 3.5, "agreement": 50.0,
    },
    {
        "text": "text 1", "id": 1, "postoj": "za", "témy": {"choices": ["a", "b"]},
        "škoda": [{"rating": 3}], "suma": [{"number": 2.5}],
        "oblasť": [{"taxonomy": [["zdravie", "strava"], ["štát"]]}], "prečo": "lebo je to tak",
        "annotator": "ana@x.sk", "annotation_id": 11, "created_at": "2024-03-03",
        "updated_at": "2024-03-05", "lead_time": 3.5, "agreement": 50.0,
    },
    {
        "text": "text 3", "id": 3, "zdroj": "web", "annotator": None, "annotation_id": None,
        "created_at": None, "updated_at": None, "lead_time": None,
    },
]  # fmt: skip
CSV = """"agreement","annotation_id","annotator","created_at","id","lead_time","oblasť","postoj",\
"prečo","suma","škoda","text","témy","updated_at","zdroj"
50.0,12,"ben@x.sk","2024-03-04",1,3.5,"","proti","","","","text 1","","2024-03-05",""
50.0,11,"ana@x.sk","2024-03-03",1,3.5,"[{""taxonomy"":[[""zdravie"",""strava""],[""štát""]]}]",\
"za","lebo je to tak","[{""number"":2.5}]","[{""rating"":3}]","text 1",\
"{""choices"":[""a"",""b""]}","2024-03-05",""
"","","","",3,"","","","","","","text 3","","","web"
"""


def with_tabs(content):
    rows = csv.reader(content.splitlines())
    target = io.StringIO()
    csv.writer(target, delimiter="\t", quoting=csv.QUOTE_ALL).writerows(rows)
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [("a.json", MIN, "JSON-MIN"), ("a.csv", CSV, "CSV"), ("a.tsv", with_tabs(CSV), "CSV")],
)
def test_flat_files_say_the_same(tmp_path, caplog, name, content, kind):
    table, said = read(write(tmp_path / name, content), caplog)
    assert dict(sorted(table.items())) == {
        "annotator": ["ben@x.sk", "ana@x.sk", None],
        "id": [1, 1, 3],
        "oblasť": [None, ["zdravie / strava", "štát"], None],
        "postoj": ["proti", "za", None],
        "prečo": [None, "lebo je to tak", None],
        "suma": [None, 2.5, None],
        "text": ["text 1", "text 1", "text 3"],
        "témy": [None, ["a", "b"], None],
        "zdroj": [None, None, "web"],
        "škoda": [None, 3, None],
    }
    assert f"{name}: read as Label Studio {kind}: " in said
    assert "2 annotators" in said
    left_out = "agreement, annotation_id, created_at, lead_time, updated_at"
    assert f"columns left out, the tool's own: {left_out}" in said


def test_skipped_rows_and_single_choices_of_a_column_with_sets(tmp_path, caplog):
    content = (
        "annotation_id,id,lead_time,text,topics,was_cancelled\n"
        '1,1,2.5,a,"{""choices"": [""x"", ""y""]}",False\n2,2,2.5,b,x,True\n3,3,2.5,c,y,False\n'
    )
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert table == {"id": [1, 3], "text": ["a", "c"], "topics": [["x", "y"], ["y"]]}
    assert "1 rows that the annotator skipped are left out" in said


SPAN = result("mená", "labels", start=0, end=4, text="Jana", labels=["OSOBA"])


def test_labels_of_parts_are_left_out_beside_labels_of_the_whole(tmp_path, caplog):
    table, said = read(write(tmp_path / "a.json", [task(1, annotation(1, FULL[0], SPAN))]), caplog)
    assert table["postoj"] == ["za"]
    assert "mená" not in table
    assert "columns left out, they label parts of the text: mená" in said


@pytest.mark.parametrize(
    ("name", "rows", "kind"),
    [
        ("a.json", [task(1, annotation(1, SPAN))], "JSON"),
        (
            "b.json",
            [
                {
                    "id": 1,
                    "text": "Jana",
                    "mená": [SPAN["value"]],
                    "annotation_id": 1,
                    "lead_time": 2,
                }
            ],
            "JSON-MIN",
        ),
    ],
)
def test_spans_alone_are_refused_and_conll_named(tmp_path, caplog, name, rows, kind):
    with pytest.raises(TaskError) as caught:
        read(write(tmp_path / name, rows), caplog)
    assert f"is Label Studio {kind}, whose labels belong to spans of characters" in str(
        caught.value
    )
    assert "export CoNLL2003" in str(caught.value)


def test_its_conll_file_is_read_like_all_others(tmp_path, caplog):
    content = "-DOCSTART- -X- O\nJana -X- _ B-OSOBA\nspí -X- _ O\n\nAno -X- _ O\n\n"
    table, _ = read(write(tmp_path / "a.conll", content), caplog)
    assert table == {"tokens": [["Jana", "spí"], ["Ano"]], "tags": [["B-OSOBA", "O"], ["O"]]}
