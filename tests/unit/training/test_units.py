"""Heads on words: what they sit on, what is learnt, what is cut off, and how outputs are judged."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from esm.common.errors import ShapeError
from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.metrics.confusion import confusion_matrix
from esm.metrics.predictions import performance, predicted_labels, span_counts
from esm.strategies.joint.ensemble import average
from esm.tasks.tagging import padded
from esm.tasks.task import Examples, Metric, Problem, SplitName, Task
from esm.training.finetune import HeadedEncoder, fine_tune
from esm.training.losses import training_loss
from esm.training.settings import FineTuneConfig
from esm.training.units import FIRST, EachWord, WholeText, unit_of
from esm.trials.resample import resampled_metric
from tests.paths import ROOT
from tests.toy_tasks import toy_task

NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
GOLDEN = json.loads((ROOT / "tests" / "golden" / "span_f1.json").read_text(encoding="utf-8"))
QUICK = FineTuneConfig(num_epochs=1, batch_size=8, learning_rate=1e-3)


def task_of(rows, names=NAMES, metric=Metric.SPAN_F1):
    """A task whose rows have these tags, by their names."""
    labels = padded([[names.index(tag) for tag in tags] for tags in rows])
    texts = tuple(" ".join(["w"] * len(tags)) for tags in rows)
    examples = Examples(texts, None, labels)
    return Task("t", Problem.TAGGING, metric, names, {SplitName.TRAIN: examples})


def outputs_of(rows, names=NAMES):
    """Outputs that mean these tags."""
    codes = padded([[names.index(tag) for tag in tags] for tags in rows])
    return np.eye(len(names))[np.maximum(codes, 0)]


# ----------------------------------------------------------------------------------------- metrics


def test_span_f1_with_paper_and_pencil():
    true = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "O"]]
    # Anna Smith is found whole; the place has the wrong type; a person is made up.
    found = [["B-PER", "I-PER", "O", "B-PER"], ["B-PER", "O"]]
    task = task_of(true)
    metrics = performance(task, task.train.labels, outputs_of(found))
    assert span_counts(NAMES, task.train.labels, outputs_of(found).argmax(-1)).tolist() == [
        [1, 2, 2],
        [0, 1, 0],
    ]
    assert metrics["span_f1"] == pytest.approx(2 * 1 / (3 + 2))
    assert metrics["accuracy"] == pytest.approx(4 / 6)


def test_a_span_whose_end_is_wrong_is_wrong():
    task = task_of([["B-PER", "I-PER", "I-PER"]])
    metrics = performance(task, task.train.labels, outputs_of([["B-PER", "I-PER", "O"]]))
    assert metrics["span_f1"] == 0
    assert metrics["accuracy"] == pytest.approx(2 / 3)


def test_without_any_span_the_f1_is_zero():
    task = task_of([["O", "O"]])
    assert performance(task, task.train.labels, outputs_of([["O", "O"]]))["span_f1"] == 0


def test_parts_of_speech_are_judged_by_words():
    names = ("NOUN", "VERB")
    task = task_of([["NOUN", "VERB"], ["NOUN"]], names, Metric.ACCURACY)
    metrics = performance(task, task.train.labels, outputs_of([["NOUN", "NOUN"], ["NOUN"]], names))
    assert set(metrics) == {"accuracy", "macro_f1"}
    assert metrics["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("case", GOLDEN["cases"])
def test_as_seqeval_has_it(case):
    task = task_of(case["true"])
    metrics = performance(task, task.train.labels, outputs_of(case["predicted"]))
    assert metrics["span_f1"] == pytest.approx(case["f1"], abs=1e-12)
    assert metrics["accuracy"] == pytest.approx(case["accuracy"], abs=1e-12)


@pytest.mark.parametrize("metric", [Metric.SPAN_F1, Metric.ACCURACY, Metric.MACRO_F1])
def test_resamples_are_what_repeated_texts_give(metric):
    case = GOLDEN["cases"][3]
    task = task_of(case["true"], metric=metric)
    outputs, labels = outputs_of(case["predicted"]), task.train.labels
    times = np.array([[2, 0, 1, 3, 0, 1], [1, 1, 1, 1, 1, 1], [0, 0, 6, 0, 0, 0]])
    found = resampled_metric(task, labels, outputs)(times.astype(float))
    expected = []
    for row in times:
        drawn = np.repeat(np.arange(6), row)
        expected.append(performance(task, labels[drawn], outputs[drawn])[metric])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_confusion_counts_words():
    task = task_of([["B-PER", "O"], ["O"]])
    counts = confusion_matrix(task, task.train.labels, outputs_of([["B-PER", "B-PER"], ["O"]]))
    assert counts.sum() == 3
    assert (counts[1, 1], counts[0, 1], counts[0, 0]) == (1, 1, 1)


def test_labels_wider_than_the_texts_are_cut_and_others_refused():
    task = task_of([["O", "B-PER", "I-PER"], ["O"]])
    short = task.train.take([1])
    assert performance(task, short.labels, np.zeros((1, 1, 5)))["accuracy"] == 1
    with pytest.raises(ShapeError, match="one row per example"):
        performance(task, task.train.labels, np.zeros((2, 2, 5)))


def test_models_agree_on_tags_by_their_mean_probabilities():
    sure, torn = [[[0.0, 4.0]]], [[[1.0, 0.0]]]  # 0.98 and 0.27 for the second tag
    found = average(Problem.TAGGING, [np.array(sure), np.array(torn)])
    second = (np.exp(4) / (1 + np.exp(4)) + 1 / (1 + np.e)) / 2
    assert found.shape == (1, 1, 2)
    np.testing.assert_allclose(np.exp(found[0, 0]), [1 - second, second])


# ------------------------------------------------------------------------------------------ losses


def test_the_loss_is_the_mean_over_texts_of_the_mean_over_words():
    # Even odds for all words, ln 2, but for one with odds of 3 to 1, ln(4/3).
    outputs = torch.tensor([[[0.0, 0.0], [0.0, float(np.log(3))]], [[0.0, 0.0], [9.0, 0.0]]])
    targets = torch.tensor([[0, 1], [1, -1]])
    zero, one = torch.zeros(1), torch.ones(1)
    found = training_loss(Problem.TAGGING, outputs, targets, None, zero, one)
    expected = ((np.log(2) + np.log(4 / 3)) / 2 + np.log(2)) / 2
    assert float(found) == pytest.approx(expected)
    weights = torch.tensor([3.0, 1.0])
    weighed = training_loss(Problem.TAGGING, outputs, targets, weights, zero, one)
    assert float(weighed) == pytest.approx(((3 * np.log(2) + np.log(4 / 3)) / 2 + np.log(2)) / 2)


# ------------------------------------------------------------------------------------------- words


def test_a_head_sits_on_the_state_of_each_words_first_token(tiny_encoder):
    text = "the xyz was good"  # [CLS] the x ##y ##z was good [SEP]
    reading = EachWord().read(tiny_encoder, [text, "rain"], None)
    assert reading.extra[FIRST].tolist() == [[1, 2, 5, 6], [1, -1, -1, -1]]
    batch = tiny_encoder.collate(reading.tokens) | reading.extra
    hidden = tiny_encoder.hidden(batch)
    states = EachWord().states(tiny_encoder, batch)
    torch.testing.assert_close(states[0], hidden[0, [1, 2, 5, 6]])
    torch.testing.assert_close(states[1, 0], hidden[1, 1])
    frozen = EachWord().embed(tiny_encoder, [text, "rain"])
    np.testing.assert_allclose(frozen.states[:4], states[0].detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(frozen.states[4], states[1, 0].detach().numpy(), atol=1e-5)


def test_the_kind_decides_what_a_head_labels():
    assert isinstance(unit_of(Problem.TAGGING), EachWord)
    assert all(
        isinstance(unit_of(kind), WholeText) for kind in Problem if kind is not Problem.TAGGING
    )


def test_words_of_pairs_are_refused(tiny_encoder):
    with pytest.raises(ShapeError, match="second texts for 1 texts whose words are to be tagged"):
        EachWord().read(tiny_encoder, ["a"], ["b"])


def test_words_that_are_cut_off_are_outside_counted_and_not_learnt(tiny_bert, caplog):
    encoder = Encoder.load(EncoderConfig(model=str(tiny_bert), max_length=8), device="cpu")
    texts = ("the film was good and really old", "rain fell")  # 7 and 2 + 3 tokens, 6 fit
    task = task_of([["B-PER"] * 7, ["B-PER"] * 2])
    with seeded(0):
        model = HeadedEncoder(encoder, task)
    with torch.no_grad():
        model.head.bias[1] = 100.0  # whatever is read is a person
    outputs = model.predict(texts)
    assert predicted_labels(task, outputs).tolist() == [[1] * 6 + [0], [1, 1] + [0] * 5]
    assert caplog.messages == [
        "1 of 9 words stand behind the first 8 tokens of their text, or have no token: they get"
        " the first tag"
    ]
    reading = model.read(Examples(texts, None, task.train.labels))
    learnt = reading.labels(task.train.labels).tolist()
    assert learnt == [[1] * 6 + [-1], [1, 1] + [-1] * 5]
    assert caplog.messages[1].endswith("nothing is learnt of them")


def test_neither_order_nor_company_changes_a_words_outputs(tiny_encoder):
    task = toy_task(Problem.TAGGING)
    model = fine_tune_model(tiny_encoder, task)
    texts = task.test.texts
    together = model.predict(texts)
    for row in (0, 3, 7):
        alone = model.predict([texts[row]])[0]
        np.testing.assert_allclose(together[row, : len(alone)], alone, atol=1e-5)
    np.testing.assert_allclose(model.predict(texts[::-1])[::-1], together, atol=1e-5)


def fine_tune_model(encoder, task):
    with seeded(0):
        return HeadedEncoder(encoder, task)


def test_fine_tuning_gives_an_encoder_of_texts_and_span_f1(tiny_encoder):
    task = toy_task(Problem.TAGGING)
    tuned = fine_tune(tiny_encoder, task, QUICK)
    assert set(tuned.quality) == {"span_f1", "accuracy", "macro_f1"}
    assert tuned.head["weight"].shape == (5, tiny_encoder.width)
    before, after = (one.embed(["rain"]).last for one in (tiny_encoder, tuned.encoder))
    assert before.shape == after.shape
    assert (before != after).any()


def test_chunks_are_not_read_by_words(tiny_bert):
    """A word behind the first window counts as cut, also where texts are read in several."""
    encoder = Encoder.load(
        EncoderConfig(model=str(tiny_bert), max_length=8, max_chunks=4), device="cpu"
    )
    task = dataclasses.replace(toy_task(Problem.TAGGING))
    tuned = fine_tune(encoder, task, QUICK)
    assert np.isfinite(tuned.quality["span_f1"])
