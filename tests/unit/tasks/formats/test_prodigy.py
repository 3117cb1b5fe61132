"""Rows as ``prodigy db-out`` writes them."""

import pytest

from esm.common.errors import TaskError
from tests.unit.tasks.formats.told import read, write

OPTIONS = [{"id": "strava", "text": "O strave"}, {"id": "zákon", "text": "O zákone"}]


def row(number, answer, **more):
    own = {"_input_hash": number, "_task_hash": -number, "_timestamp": 1, "_view_id": "choice"}
    return {"text": f"text {number}", **own, "answer": answer, **more}


def choice(number, answer, accept, style="multiple", **more):
    config = {"choice_style": style}
    return row(number, answer, options=OPTIONS, accept=accept, config=config, **more)


def test_choices_of_accepted_rows_are_sets(tmp_path, caplog):
    rows = [
        choice(1, "accept", ["strava", "zákon"], meta={"zdroj": "fórum", "score": 0.2, "id": 7}),
        choice(2, "accept", []),
        choice(3, "reject", ["strava"]),
        choice(4, "ignore", []),
    ]
    table, said = read(write(tmp_path / "db.jsonl", rows), caplog)
    assert table == {
        "text": ["text 1", "text 2", "text 3", "text 4"],
        "zdroj": ["fórum", None, None, None],
        "id": [7, None, None, None],
        "label": [["strava", "zákon"], [], None, None],
    }
    assert said == (
        "db.jsonl: read as Prodigy, choices: 'label' holds sets of labels; rows without an accepted"
        " answer have no label (1 reject, 1 ignore); columns left out, the tool's own: _input_hash,"
        " _task_hash, _timestamp, _view_id, config, meta, options"
    )


def test_single_choices_are_classes(tmp_path, caplog):
    rows = [
        choice(1, "accept", ["strava"], "single"),
        choice(2, "accept", [], "single"),
        choice(3, "accept", ["zákon"], "single"),
    ]
    table, said = read(write(tmp_path / "db.jsonl", rows), caplog)
    assert table["label"] == ["strava", None, "zákon"]
    assert "'label' holds one label a row, so classes; 1 accepted rows chose nothing" in said


def test_sessions_are_annotators(tmp_path, caplog):
    rows = [
        choice(1, "accept", ["strava"], "single", _session_id="db-ana"),
        choice(1, "accept", ["zákon"], "single", _annotator_id="db-ben", _session_id="x"),
    ]
    table, said = read(write(tmp_path / "db.jsonl", rows), caplog)
    assert table["annotator"] == ["db-ana", "db-ben"]
    assert "2 annotators" in said


def test_a_rejected_label_is_no_class(tmp_path, caplog):
    rows = [
        row(1, "accept", label="strava", spans=[]),
        row(2, "reject", label="strava", spans=[]),
        row(1, "reject", label="zákon", spans=[]),
        row(3, "ignore", label="zákon", spans=[]),
        row(2, "accept", label="strava", spans=[]),
    ]
    table, said = read(write(tmp_path / "db.jsonl", rows), caplog)
    assert table == {
        "text": ["text 1", "text 2", "text 3"],
        "strava": ["accept", "accept", None],
        "zákon": ["reject", None, None],
    }
    assert "read as Prodigy, yes or no to one label: every label is an attribute of its own" in said
    assert "(2 labels, 3 texts from 5 rows); 1 ignored rows have no label" in said
    assert "1 answers were changed later: the last one counts" in said


def test_a_label_that_is_called_like_a_column(tmp_path, caplog):
    table, _ = read(write(tmp_path / "a.jsonl", [row(1, "accept", label="text")]), caplog)
    assert table == {"text": ["text 1"], "label text": ["accept"]}


def test_answers_without_a_label(tmp_path, caplog):
    rows = [row(1, "accept"), row(2, "reject"), row(3, "ignore")]
    table, said = read(write(tmp_path / "a.jsonl", rows), caplog)
    assert table["label"] == ["accept", "reject", None]
    assert "the answer is the label, accept or reject; 1 ignored rows have no label" in said


def tokens(*words):
    found, start = [], 0
    for place, word in enumerate(words):
        found.append({"text": word, "start": start, "end": start + len(word), "id": place})
        start += len(word) + 1
    return found


def test_spans_with_their_words_are_tags(tmp_path, caplog):
    person = {"start": 0, "end": 9, "token_start": 0, "token_end": 1, "label": "OSOBA"}
    rows = [
        row(1, "accept", tokens=tokens("Jana", "Nová", "spí"), spans=[person]),
        row(2, "accept", tokens=tokens("nikto"), spans=[]),
        row(3, "reject", tokens=tokens("Ján"), spans=[]),
    ]
    table, said = read(write(tmp_path / "a.jsonl", rows), caplog)
    assert table == {
        "tokens": [["Jana", "Nová", "spí"], ["nikto"], ["Ján"]],
        "tags": [["B-OSOBA", "I-OSOBA", "O"], ["O"], None],
    }
    assert "read as Prodigy, spans of words: the spans are read as a tag for every word" in said
    assert "(1 reject)" in said


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"spans": [{"start": 0, "end": 4, "label": "X"}]}, "spans without the words (tokens)"),
        (
            {
                "tokens": tokens("Jana", "Nová"),
                "spans": [
                    {"start": 0, "end": 9, "label": "X"},
                    {"start": 0, "end": 4, "label": "Y"},
                ],
            },
            "spans that overlap",
        ),
    ],
)
def test_spans_that_are_no_tags_are_refused(tmp_path, caplog, more, what):
    with pytest.raises(TaskError) as caught:
        read(write(tmp_path / "a.jsonl", [row(1, "accept", **more)]), caplog)
    assert f"is Prodigy's export of {what}, whose labels belong to spans" in str(caught.value)
    assert "ner.manual" in str(caught.value)


def test_rows_of_another_origin_stay_as_they_are(tmp_path, caplog):
    rows = [{"text": "a", "answer": "yes"}, {"text": "b", "answer": "accept"}]
    assert read(write(tmp_path / "a.jsonl", rows), caplog) == (
        {"text": ["a", "b"], "answer": ["yes", "accept"]},
        "",
    )
