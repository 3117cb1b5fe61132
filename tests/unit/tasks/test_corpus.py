"""Texts without labels as a source: how they are read, what training on them gives."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch

from esm.common.errors import EncoderError, TaskError
from esm.common.runtime import seeded
from esm.tasks.load import load_target, load_task
from esm.tasks.spec import SplitSpec, TaskSpec
from esm.tasks.task import Metric, Problem, SplitName, Texts
from esm.training.language_model import LanguageModel, held_out_loss
from esm.training.settings import FineTuneConfig
from esm.training.sources import tune_on_source
from tests.toy_tasks import toy_task

LINES = ["the food was good", "", "  ", "a bad film, slow", "the food was good", "vaccine"]


def corpus(path, **settings):
    return TaskSpec(location=str(path), kind="corpus", **settings)


# ---------------------------------------------------------------------------------------- reading


def test_a_text_file_holds_a_text_per_line(tmp_path):
    path = tmp_path / "posts.txt"
    path.write_text("\r\n".join(LINES) + "\r\n", encoding="utf-8")
    task = load_task(corpus(path, language="en"))
    assert (task.id, task.problem, task.metric) == ("posts", Problem.CORPUS, Metric.LOG_LIKELIHOOD)
    assert task.train.texts == (LINES[0], LINES[3], LINES[4], LINES[5])
    assert task.train.labels.tolist() == [0, 0, 0, 0]
    assert task.label_names == ()
    assert task.dropped == {"empty text": 2}
    assert task.metadata.language == "en"
    assert list(task.splits) == [SplitName.TRAIN]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_of_a_table_the_text_column_is_taken_and_no_other(tmp_path, suffix):
    rows = pd.DataFrame({"text": ["one text here", "another text", None], "label": [0, 1, 1]})
    path = tmp_path / f"posts.{suffix}"
    if suffix == "csv":
        rows.to_csv(path, index=False)
    elif suffix == "jsonl":
        rows.to_json(path, orient="records", lines=True)
    else:
        rows.to_parquet(path)
    task = load_task(corpus(path))
    assert task.train.texts == ("one text here", "another text")
    assert task.text_columns == ("text",)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no split was stored


def test_a_task_folder_says_so_itself(tmp_path):
    folder = tmp_path / "posts"
    folder.mkdir()
    described = {"id": "own", "task_type": "corpus", "language": "sk", "license": "CC0-1.0"}
    (folder / "task.json").write_text(json.dumps(described), encoding="utf-8")
    pd.DataFrame({"text": ["jeden text", "druhý text"]}).to_parquet(folder / "train.parquet")
    task = load_task(TaskSpec(location=str(folder)))
    assert (task.id, task.problem, task.metadata.license) == ("own", Problem.CORPUS, "CC0-1.0")


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("one\none\n", {}, "has 1 different text in 2 training rows; expected at least two"),
        ("", {}, "is empty"),
        (" \n\n", {}, "is empty"),
        ("one\ntwo\n", {"attributes": ("label",)}, "attribute label of the corpus posts"),
        ("one\ntwo\n", {"test": "more.txt"}, "a file of test rows of the corpus|no file more.txt"),
        ("one\ntwo\n", {"split": SplitSpec(method="k-fold")}, "the split k-fold of the corpus"),
        ("one\ntwo\n", {"text": "words"}, "no column 'words'"),
    ],
)
def test_what_makes_no_corpus_is_refused(tmp_path, content, settings, message):
    path = tmp_path / "posts.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TaskError, match=message):
        load_task(corpus(path, **settings))


def test_another_encoding_is_read_or_named(tmp_path):
    path = tmp_path / "posts.txt"
    path.write_bytes("čítal som to\nžiadny liek\n".encode("cp1250"))
    assert load_task(corpus(path, encoding="cp1250")).train.texts[0] == "čítal som to"
    with pytest.raises(TaskError, match="utf-8"):
        load_task(corpus(path, encoding="utf-8"))


def test_a_corpus_is_no_target_and_no_kind_of_a_column(tmp_path):
    path = tmp_path / "posts.txt"
    path.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(TaskError, match="posts is a corpus: texts without labels"):
        load_target(corpus(path))
    table = tmp_path / "posts.csv"
    pd.DataFrame({"text": ["a b c", "d e f"], "label": [0, 1]}).to_csv(table, index=False)
    spec = TaskSpec(location=str(table), columns={"label": {"kind": "corpus"}})
    with pytest.raises(TaskError, match="kind 'corpus' of column 'label'"):
        load_target(spec)


# ----------------------------------------------------------------------------------------- tuning


def texts_alone(**settings):
    """The toy texts, whose words hang together, as a corpus."""
    task = toy_task(Problem.CLASSIFICATION, **settings)
    rows = task.train
    frame = type(rows)(rows.texts, None, torch.zeros(len(rows), dtype=torch.int64).numpy())
    return type(task)(
        id="posts",
        problem=Problem.CORPUS,
        metric=Metric.LOG_LIKELIHOOD,
        label_names=(),
        splits={SplitName.TRAIN: frame},
    )


def test_training_lowers_the_loss_on_texts_it_has_not_seen(tiny_encoder):
    task = texts_alone(num_train=120)
    config = FineTuneConfig(num_epochs=20, learning_rate=3e-3, batch_size=16)
    before = {name: weight.clone() for name, weight in tiny_encoder.model.named_parameters()}
    tuned = tune_on_source(tiny_encoder, task, config)
    found = tuned.quality
    assert set(found) == {"log_likelihood", "log_likelihood_before"}
    assert 0 > found["log_likelihood"] > found["log_likelihood_before"] + 0.5
    assert tuned.head == {}
    assert tuned.examples == 108  # a tenth is held out
    for name, weight in tiny_encoder.model.named_parameters():
        assert torch.equal(weight, before[name])
    changed = dict(tuned.encoder.model.named_parameters())
    assert any(not torch.equal(changed[name], before[name]) for name in before)


def test_the_same_seed_gives_the_same_weights(tiny_encoder):
    task, config = texts_alone(num_train=30), FineTuneConfig(num_epochs=1, learning_rate=1e-3)
    first, second, other = (
        tune_on_source(tiny_encoder, task, config.model_copy(update={"seed": seed}))
        for seed in (3, 3, 4)
    )
    assert first.quality == second.quality
    weights = [dict(one.encoder.model.named_parameters()) for one in (first, second, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_the_held_out_loss_is_that_of_all_tokens_not_of_batches(tiny_encoder):
    texts = ("the food was very good and the film was bad", *("vaccine",) * 16)
    with seeded(0):
        model = LanguageModel(tiny_encoder, 0.5).eval()
    tokens = tiny_encoder.tokenize(texts)
    losses = []
    with seeded(5), torch.no_grad():
        for batch in (tokens[:16], tokens[16:]):
            losses += model.token_losses(tiny_encoder.collate(batch)).tolist()
    found = held_out_loss(model, Texts(texts), 5)
    assert found == pytest.approx(sum(losses) / len(losses))
    assert found == held_out_loss(model, Texts(texts), 5) != held_out_loss(model, Texts(texts), 6)


def test_an_architecture_without_a_language_model_is_refused(tmp_path):
    from esm.encoder.encoder import Encoder
    from esm.encoder.settings import EncoderConfig
    from tests.tiny_models import save_tiny

    save_tiny("t5", tmp_path)
    encoder = Encoder.load(EncoderConfig(model=str(tmp_path), max_length=32), device="cpu")
    with pytest.raises(EncoderError, match="no language-model head that is known"):
        tune_on_source(encoder, texts_alone(num_train=20), FineTuneConfig(num_epochs=1))
