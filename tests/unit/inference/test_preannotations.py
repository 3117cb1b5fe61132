"""Predictions as annotation tools take them, by the tools' own rules."""

from __future__ import annotations

import json
import stat
from xml.etree import ElementTree

import numpy as np
import pytest

from esm.common.errors import SettingError, StorageError
from esm.inference.preannotations import Tool, write_preannotations
from esm.inference.predictions import AttributePredictions, Predictions
from esm.tasks.formats.files import read_table
from esm.tasks.task import Problem

TEXTS = ["Čaj z medu lieči", "", "Jana Nová šla do Nitry"]


def attribute(name, problem, labels, classes=(), sure=None):
    return AttributePredictions(
        name=name,
        source="none",
        models=1,
        problem=problem,
        classes=classes,
        labels=labels,
        confidence=None if sure is None else np.array(sure),
        probabilities=None,
        summary={},
    )


STANCE = attribute(
    "postoj & tón", Problem.CLASSIFICATION, ("za", None, 'pro "ti"'), ("za", 'pro "ti"'),
    [0.9, np.nan, 0.61234],
)  # fmt: skip
TOPICS = attribute(
    "témy", Problem.MULTILABEL, (("a", "b"), None, ()), ("a", "b"), [0.7, np.nan, 0.8]
)
HARM = attribute("škoda", Problem.REGRESSION, (1.5, None, 3.0))
NAMES = attribute(
    "mená",
    Problem.TAGGING,
    (("O", "O", "B-LÁTKA", "O"), None, ("B-OSOBA", "I-OSOBA", "O", "O", "B-MIESTO")),
    ("O", "B-LÁTKA", "B-MIESTO", "B-OSOBA", "I-OSOBA"),
)


def predicted(*attributes, texts=TEXTS, **columns):
    table = {"id": ["07", "08", "09"], "príspevok": texts, **columns}
    by_name = {each.name: each for each in attributes}
    return Predictions(table, 3, 1, by_name, texts=("príspevok",))


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# Written by hand from the page labelstud.io/guide/predictions, "JSON format for pre-annotations".
TYPES = {"choices": "choices", "labels": "labels", "number": "number"}


def check_task(task, controls):
    assert set(task) == {"data", "predictions"}
    for prediction in task["predictions"]:
        assert set(prediction) <= {"model_version", "score", "result"}
        assert isinstance(prediction["model_version"], str)
        for result in prediction["result"]:
            assert set(result) == {"id", "from_name", "to_name", "type", "value"}
            assert result["to_name"] == "text"
            kind, allowed = controls[result["from_name"]]
            assert result["type"] == kind == TYPES[kind]
            value = result["value"]
            if kind == "number":
                assert isinstance(value["number"], float)
                continue
            assert value[kind]
            assert set(value[kind]) <= allowed
            if kind == "labels":
                assert task["data"]["text"][value["start"] : value["end"]] == value["text"]


def controls_of(config):
    found = {}
    for element in ElementTree.fromstring(config):
        if "toName" in element.attrib:
            assert element.get("toName") == "text"
            allowed = {child.get("value") for child in element}
            found[element.get("name")] = (element.tag.lower(), allowed)
    return found


def test_label_studio_tasks_fit_their_labeling_configuration(tmp_path):
    found = predicted(STANCE, TOPICS, HARM, NAMES, autor=["x", None, "y"])
    written = write_preannotations(found, tmp_path / "a.json", Tool.LABEL_STUDIO)
    assert [path.name for path in written] == ["a.json", "a.xml"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in written)
    tasks = json.loads(written[0].read_text(encoding="utf-8"))
    controls = controls_of(written[1].read_text(encoding="utf-8"))
    assert controls == {
        "postoj-ton": ("choices", {"za", 'pro "ti"'}),
        "temy": ("choices", {"a", "b"}),
        "skoda": ("number", set()),
        "mena": ("labels", {"LÁTKA", "MIESTO", "OSOBA"}),
    }
    for task in tasks:
        check_task(task, controls)
    assert [task["data"]["id"] for task in tasks] == ["07", "08", "09"]
    assert tasks[0]["data"] == {"id": "07", "text": "Čaj z medu lieči", "autor": "x"}
    assert tasks[1]["predictions"] == []
    (first,), (last,) = tasks[0]["predictions"], tasks[2]["predictions"]
    assert (first["score"], last["score"]) == (0.7, 0.6123)
    values = [(each["from_name"], each["value"]) for each in last["result"]]
    assert values == [
        ("postoj-ton", {"choices": ['pro "ti"']}),
        ("skoda", {"number": 3.0}),
        ("mena", {"start": 0, "end": 9, "text": "Jana Nová", "labels": ["OSOBA"]}),
        ("mena", {"start": 17, "end": 22, "text": "Nitry", "labels": ["MIESTO"]}),
    ]


def test_label_studio_accepts_them_itself(tmp_path):
    """Its own check of predictions; its package is heavy, so only where it is installed."""
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    found = predicted(STANCE, TOPICS, HARM, NAMES)
    tasks, config = write_preannotations(found, tmp_path / "a.json", Tool.LABEL_STUDIO)
    checked = interface.LabelInterface(config.read_text(encoding="utf-8"))
    checked.validate()
    for task in json.loads(tasks.read_text(encoding="utf-8")):
        for prediction in task["predictions"]:
            assert checked.validate_prediction(prediction, return_errors=True) == []


def test_what_label_studio_gives_back_is_read(tmp_path):
    """The way round: predictions that a person confirmed, as Label Studio exports them."""
    found = predicted(STANCE, TOPICS)
    tasks, _ = write_preannotations(found, tmp_path / "a.json", Tool.LABEL_STUDIO)
    confirmed = [
        {"id": number, "data": task["data"], "annotations": [{"result": each["result"]}]}
        for number, task in enumerate(json.loads(tasks.read_text(encoding="utf-8")))
        for each in task["predictions"]
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(confirmed), encoding="utf-8")
    table = read_table(path)
    assert table["postoj-ton"] == ["za", 'pro "ti"']
    assert table["temy"] == [["a", "b"], None]
    assert table["id"] == ["07", "09"]


def test_doccano_lines(tmp_path):
    found = predicted(STANCE, label=["x", "y", None])
    (path,) = write_preannotations(found, tmp_path / "a.jsonl", Tool.DOCCANO)
    assert lines(path) == [
        {"id": "07", "text": TEXTS[0], "label_given": "x", "confidence": 0.9, "label": ["za"]},
        {"id": "08", "text": "", "label_given": "y", "label": []},
        {"id": "09", "text": TEXTS[2], "label_given": None, "confidence": 0.6123,
         "label": ['pro "ti"']},
    ]  # fmt: skip
    (path,) = write_preannotations(predicted(NAMES), tmp_path / "b.jsonl", Tool.DOCCANO)
    assert [line["label"] for line in lines(path)] == [
        [[6, 10, "LÁTKA"]],
        [],
        [[0, 9, "OSOBA"], [17, 22, "MIESTO"]],
    ]


def test_prodigy_choices_have_no_answer_yet(tmp_path):
    (path,) = write_preannotations(predicted(TOPICS), tmp_path / "a.jsonl", Tool.PRODIGY)
    first, second, _ = lines(path)
    options = [{"id": "a", "text": "a"}, {"id": "b", "text": "b"}]
    assert first == {
        "id": "07",
        "text": TEXTS[0],
        "options": options,
        "accept": ["a", "b"],
        "config": {"choice_style": "multiple"},
        "meta": {"id": "07", "confidence": 0.7},
    }
    assert second["accept"] == []
    assert second["meta"] == {"id": "08"}
    (path,) = write_preannotations(predicted(STANCE), tmp_path / "a.jsonl", Tool.PRODIGY)
    assert lines(path)[0]["config"] == {"choice_style": "single"}
    assert all("answer" not in line for line in lines(path))


def test_prodigy_spans_stand_on_words(tmp_path):
    found = predicted(NAMES, answer=["x"] * 3)
    (path,) = write_preannotations(found, tmp_path / "a.jsonl", Tool.PRODIGY)
    last = lines(path)[2]
    assert last["answer_given"] == "x"
    assert [token["text"] for token in last["tokens"]] == TEXTS[2].split()
    for token in last["tokens"]:
        assert last["text"][token["start"] : token["end"]] == token["text"]
    assert last["spans"] == [
        {"start": 0, "end": 9, "token_start": 0, "token_end": 1, "label": "OSOBA"},
        {"start": 17, "end": 22, "token_start": 4, "token_end": 4, "label": "MIESTO"},
    ]


def test_words_in_lists_and_irregular_spaces_become_one_text(tmp_path):
    texts = ["Čaj  z medu\nlieči", None, ["Jana", "Nová", "šla", "do", "Nitry"]]
    (path,) = write_preannotations(predicted(NAMES, texts=texts), tmp_path / "a.jsonl", "doccano")
    assert [line["text"] for line in lines(path)] == TEXTS


def test_tags_without_spans_are_one_word_each(tmp_path):
    tags = attribute("slová", Problem.TAGGING, (("N", "P", "N", "V"), None, None), ("N", "P", "V"))
    (path,) = write_preannotations(predicted(tags), tmp_path / "a.jsonl", Tool.DOCCANO)
    assert lines(path)[0]["label"] == [[0, 3, "N"], [4, 5, "P"], [6, 10, "N"], [11, 16, "V"]]


@pytest.mark.parametrize("tool", [Tool.DOCCANO, Tool.PRODIGY])
def test_what_one_project_cannot_hold(tmp_path, tool):
    with pytest.raises(SettingError, match=r"2 attributes .*one, because a project of .*NAME"):
        write_preannotations(predicted(STANCE, TOPICS), tmp_path / "a.jsonl", tool)
    with pytest.raises(SettingError, match=r"'škoda' is an amount.*--format label-studio"):
        write_preannotations(predicted(HARM), tmp_path / "a.jsonl", tool)
    with pytest.raises(StorageError, match=r"ends in '\.json'; expected \.jsonl for"):
        write_preannotations(predicted(STANCE), tmp_path / "a.json", tool)


def test_two_attributes_of_one_plain_name_have_two_controls(tmp_path):
    one = attribute("a b", Problem.REGRESSION, (1.0, 2.0, 3.0))
    two = attribute("a-b", Problem.REGRESSION, (4.0, 5.0, 6.0))
    tasks, _ = write_preannotations(predicted(one, two), tmp_path / "a.json", Tool.LABEL_STUDIO)
    results = json.loads(tasks.read_text(encoding="utf-8"))[0]["predictions"][0]["result"]
    assert [(each["from_name"], each["value"]["number"]) for each in results] == [
        ("a-b", 1.0),
        ("a-b-2", 4.0),
    ]
