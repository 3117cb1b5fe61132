"""Labels for new texts: the vote of the winners, abstention, files in and out."""

from __future__ import annotations

import json
import stat

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax

from esm.common.errors import SettingError, StorageError, TaskError
from esm.inference.predict import predict_file
from esm.inference.predictions import Predictions
from esm.report.inference import prediction_tables
from esm.tasks.formats.files import read_table
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Problem
from esm.trials.models import ModelStore
from tests.toy_tasks import toy_task
from tests.trained_world import make_run

TASKS = {
    "téma": toy_task(),
    "rating": toy_task(Problem.REGRESSION),
    "labels": toy_task(Problem.MULTILABEL),
}
TEXTS = ["the film was very good", "", "jedlo bolo ľúbezné, no žltý čaj hrôza", "the team was slow"]
FILLED = [0, 2, 3]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_bert):
    """Two seeds of three attributes, trained on a Slovak spreadsheet's columns."""
    from esm.encoder.encoder import Encoder, EncoderConfig

    encoder = Encoder.load(EncoderConfig(model=str(tiny_bert), max_length=32), device="cpu")
    return make_run(tmp_path_factory.mktemp("run"), encoder, TASKS, text_columns=["príspevok"])


@pytest.fixture
def posts(tmp_path):
    """A file with an id, an author, texts of which one is empty, and a label given by hand."""
    path = tmp_path / "posts.csv"
    columns = {"id": ["07", "08", "09", "10"], "autor": list("abcd"), "príspevok": TEXTS}
    pd.DataFrame(columns | {"téma": ["a", "b", "c", "a"]}).to_csv(path, index=False)
    return path


def texts():
    return [TEXTS[row] for row in FILLED]


def chances(run, attribute, activation):
    """The oracle: the mean over seeds of scaled probabilities."""
    kept = [one for one in ModelStore(run.folder).models() if one.record.id == attribute]
    temperatures = [trained.record.calibration.temperature for trained in kept]
    name = {"posts/tema": "téma", "posts/labels": "labels"}[attribute]
    outputs = [model.predict(texts()) for model in run.models[name]]
    return np.mean(
        [activation(one / t) for one, t in zip(outputs, temperatures, strict=True)], axis=0
    )


def test_the_models_of_an_attribute_vote_with_calibrated_probabilities(run, posts):
    found = predict_file(run.folder, posts, device="cpu")
    expected = chances(run, "posts/tema", lambda logits: softmax(logits, axis=1))
    topic = found.attributes["téma"]
    np.testing.assert_allclose(topic.probabilities[FILLED], expected, atol=1e-12)
    np.testing.assert_allclose(topic.confidence[FILLED], expected.max(axis=1), atol=1e-12)
    wanted = ["abc"[column] for column in expected.argmax(axis=1)]
    assert topic.labels == (wanted[0], None, wanted[1], wanted[2])
    assert (topic.source, topic.models, topic.classes) == ("none", 2, ("a", "b", "c"))


def test_several_labels(run, posts):
    found = predict_file(run.folder, posts, attributes=["labels"], device="cpu")
    assert list(found.attributes) == ["labels"]
    expected = chances(run, "posts/labels", expit)
    labels = found.attributes["labels"]
    assert labels.labels[2] == tuple(np.array(["a", "b", "c"])[expected[1] > 0.5])
    sureness = np.maximum(expected, 1 - expected).min(axis=1)
    np.testing.assert_allclose(labels.confidence[FILLED], sureness, atol=1e-12)


def test_values_are_the_mean_of_the_models(run, posts):
    rating = predict_file(run.folder, posts, attributes=["rating"], device="cpu").attributes[
        "rating"
    ]
    expected = np.mean([model.predict(texts())[:, 0] for model in run.models["rating"]], axis=0)
    np.testing.assert_allclose([rating.labels[row] for row in FILLED], expected, rtol=1e-12)
    assert rating.labels[1] is None
    assert rating.confidence is None
    assert rating.summary["calibration"] is None
    assert rating.summary["values"]["max"] == pytest.approx(max(expected))


def test_below_the_threshold_the_label_is_empty_but_the_confidence_is_told(run, posts):
    sure = predict_file(run.folder, posts, device="cpu").attributes["téma"].confidence
    threshold = float(np.sort(sure[FILLED])[1])
    found = predict_file(run.folder, posts, abstain=threshold, device="cpu").attributes["téma"]
    assert [label is None for label in found.labels] == [
        bool(np.isnan(certainty) or certainty < threshold) for certainty in sure
    ]
    summary = found.summary
    assert (summary["labelled"], summary["abstained"]) == (2, 1)
    assert summary["abstained_share"] == pytest.approx(1 / 3)
    assert sum(summary["labels"].values()) == 2


def test_the_summary_says_what_the_calibration_rows_had(run, posts):
    task = TASKS["téma"]
    kept = [one for one in ModelStore(run.folder).models() if one.record.id == "posts/tema"]
    vote = np.mean(
        [
            softmax(model.predict(task.test.texts) / one.record.calibration.temperature, axis=1)
            for model, one in zip(run.models["téma"], kept, strict=True)
        ],
        axis=0,
    )
    covered = vote.max(axis=1) >= 0.5
    right = vote.argmax(axis=1) == task.test.labels
    found = predict_file(run.folder, posts, attributes=["téma"], abstain=0.5, device="cpu")
    told = found.as_dict()["attributes"]["téma"]["calibration"]
    assert (told["rows"], told["calibrated_on"]) == (24, "test rows")
    assert told["coverage"] == pytest.approx(covered.mean())
    assert told["accuracy"] == pytest.approx(right[covered].mean())
    json.dumps(found.as_dict())


def test_nothing_is_covered_where_the_threshold_is_1(run, posts):
    found = predict_file(run.folder, posts, attributes=["labels"], abstain=1.0, device="cpu")
    told = found.attributes["labels"].summary["calibration"]
    assert (told["coverage"], told["accuracy"]) == (0.0, None)


# ------------------------------------------------------------------------------------- files out


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_labels_are_written_beside_the_columns_of_the_file(run, posts, tmp_path, suffix):
    found = predict_file(run.folder, posts, device="cpu")
    out = tmp_path / f"labels{suffix}"
    found.write(out, with_probabilities=True)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    table = read_table(out)
    assert list(table) == [
        *("id", "autor", "príspevok", "téma_given"),
        *("téma", "téma_confidence", "téma_p_a", "téma_p_b", "téma_p_c"),
        "rating",
        *("labels", "labels_confidence", "labels_p_a", "labels_p_b", "labels_p_c"),
    ]
    assert table["príspevok"][2] == TEXTS[2]
    assert table["id"][0] == "07"
    assert table["téma_given"] == ["a", "b", "c", "a"]
    assert table["téma"] == list(found.attributes["téma"].labels)
    assert table["téma_confidence"][1] is None
    assert table["rating"][0] == pytest.approx(found.attributes["rating"].labels[0])
    assert tuple(table["labels"][0]) == found.attributes["labels"].labels[0]


def test_another_kind_of_file(run, posts, tmp_path):
    found = predict_file(run.folder, posts, attributes=["rating"], device="cpu")
    with pytest.raises(StorageError, match=r"\.txt'; expected \.csv, \.jsonl, \.parquet"):
        found.write(tmp_path / "labels.txt")


def test_columns_that_cannot_make_room(run, posts):
    found = predict_file(run.folder, posts, attributes=["téma"], device="cpu")
    table = {**found.columns, "téma_given": ["x"] * 4}
    crowded = Predictions(table, found.rows, found.empty, found.attributes)
    with pytest.raises(SettingError, match="the file has the columns 'téma' already"):
        crowded.table()


# -------------------------------------------------------------------------------------- files in


def write(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_another_column_of_texts(run, tmp_path):
    path = write(tmp_path / "new.csv", obsah=texts(), note=["", "", ""])
    expected = (
        predict_file(run.folder, TaskSpec(location=str(path), text="obsah"), device="cpu")
        .attributes["téma"]
        .labels
    )
    assert predict_file(run.folder, path, device="cpu").attributes["téma"].labels == expected
    assert None not in expected


def test_a_file_in_another_encoding_with_other_delimiters(run, posts, tmp_path):
    expected = predict_file(run.folder, posts, device="cpu").attributes["téma"].labels
    path = tmp_path / "new.csv"
    pd.read_csv(posts, dtype=str).to_csv(path, index=False, sep="|", encoding="cp1250")
    spec = TaskSpec(location=str(path), encoding="cp1250", delimiter="|")
    found = predict_file(run.folder, spec, device="cpu")
    assert found.columns["príspevok"][2] == TEXTS[2]
    assert found.attributes["téma"].labels == expected


def test_a_file_without_the_column_of_texts(run, tmp_path):
    path = write(tmp_path / "new.csv", autor=["a", "b"], rok=[2020, 2021])
    with pytest.raises(TaskError, match=r"no column that looks like texts.* 'autor', 'rok'"):
        predict_file(run.folder, path, device="cpu")
    with pytest.raises(TaskError, match=r"no column 'obsah' in .*'autor', 'rok'"):
        predict_file(run.folder, TaskSpec(location=str(path), text="obsah"), device="cpu")


def test_only_empty_texts(run, tmp_path):
    path = write(tmp_path / "new.csv", **{"príspevok": ["", " "], "id": [1, 2]})
    found = predict_file(run.folder, path, device="cpu")
    assert (found.rows, found.empty) == (2, 2)
    assert {one.labels for one in found.attributes.values()} == {(None, None)}


def test_a_model_of_pairs_wants_two_texts(tmp_path, tiny_encoder):
    task = toy_task(pairs=True)
    run = make_run(tmp_path, tiny_encoder, {"topic": task}, text_columns=["claim", "evidence"])
    firsts, seconds = task.test.texts, task.test.pairs
    path = write(tmp_path / "new.csv", claim=firsts, evidence=seconds)
    found = predict_file(run.folder, path, device="cpu").attributes["topic"]
    outputs = [model.predict(firsts, seconds) for model in run.models["topic"]]
    kept = ModelStore(run.folder).models()
    expected = [
        softmax(one / trained.record.calibration.temperature, axis=1)
        for one, trained in zip(outputs, kept, strict=True)
    ]
    np.testing.assert_allclose(found.probabilities, np.mean(expected, axis=0), atol=1e-12)
    path = write(tmp_path / "new.csv", claim=firsts)
    with pytest.raises(TaskError, match=r"one column of texts, 'claim'; the models compare two"):
        predict_file(run.folder, path, device="cpu")


@pytest.mark.parametrize("abstain", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability(run, posts, abstain):
    with pytest.raises(SettingError, match=r"expected a probability in \[0, 1\]"):
        predict_file(run.folder, posts, abstain=abstain)


# ---------------------------------------------------------------------------------------- tables


def test_the_table_tells_counts_and_what_to_expect(run, posts):
    found = predict_file(run.folder, posts, abstain=0.5, device="cpu")
    (table,) = prediction_tables(found.as_dict(), "labels.csv")
    assert table.title == "labels.csv: 4 rows"
    assert [row[0] for row in table.rows] == ["téma", "rating", "labels"]
    assert table.rows[0][-1] == "24 test rows"
    assert table.rows[1][6:] == ("-", "-", "-", "-")
    assert "rows without a text, which have no label: 1" in table.notes


def test_what_the_models_were_judged_by_is_said(run, posts):
    found = predict_file(run.folder, posts, device="cpu").as_dict()
    assert found["attributes"]["téma"]["data_notes"] == []
    assert found["attributes"]["téma"]["untested"] == []
    note = "rows left out because their label stands for no answer: 3, namely N/A 3"
    found["attributes"]["téma"]["data_notes"] = [note]
    (table,) = prediction_tables(found, "labels.csv")
    assert f"téma: {note}" in table.notes
