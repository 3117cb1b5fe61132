"""Tagging all the way on a tiny model: sources, ranking, validation, comparison, predictions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esm.common.errors import ValidationError
from esm.encoder.settings import EncoderConfig
from esm.inference.export import export_run
from esm.inference.predict import predict_file
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.strategies.checks import source_lessons
from esm.strategies.protocol import SourceTask
from esm.strategies.settings import TransferConfig
from esm.tasks.spec import TaskSpec
from esm.tasks.tagging import words_of
from esm.tasks.task import Metric, Problem
from esm.training.settings import FineTuneConfig
from esm.trials.open import open_comparison
from esm.trials.results import Validation
from esm.trials.run import compare_strategies, validate_ranking
from esm.trials.settings import Arm, ComparisonConfig, ValidationConfig
from esm.trials.winners import StartEncoders, winners
from tests.toy_folders import write_task
from tests.toy_tasks import toy_task

pytestmark = pytest.mark.slow

# Not all texts hold the same types of spans: else whole texts would tell nothing of them.
WITHOUT_TOPIC = "".join(f"\n{word}\tO\nwas\tO\ncold\tB-mood\n" for word in ("rain", "sun", "it"))

CHEAP = TransferConfig(num_epochs=2, batch_size=16, learning_rate=1e-2, adapter_size=4)


def conll(examples, names):
    lines = []
    for text, row in zip(examples.texts, examples.labels, strict=True):
        words = words_of(text)
        lines += [f"{w}\t{names[c]}" for w, c in zip(words, row[: len(words)], strict=True)]
        lines.append("")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_bert):
    """A pool of a tagging and a text source, and a target of words in CoNLL files."""
    folder = tmp_path_factory.mktemp("tagging")
    target = toy_task(Problem.TAGGING, num_train=48)
    (folder / "posts.conll").write_text(
        conll(target.train, target.label_names) + WITHOUT_TOPIC, encoding="utf-8"
    )
    test = conll(target.test, target.label_names)
    (folder / "posts-test.conll").write_text(test, encoding="utf-8")
    other = toy_task(Problem.TAGGING, seed=5, num_train=40)
    (folder / "spans.conll").write_text(
        conll(other.train, other.label_names) + WITHOUT_TOPIC, encoding="utf-8"
    )
    write_task(folder / "cats", "cat")
    config = TrainConfig(
        encoder=EncoderConfig(model=str(tiny_bert), max_length=32),
        fine_tune=FineTuneConfig(num_epochs=1, learning_rate=1e-3),
        anchors_per_task=20,
        lift_width=16,
        rank=4,
    )
    specs = [TaskSpec(location=str(folder / name)) for name in ("spans.conll", "cats")]
    train_pool(specs, folder / "pool", config, device="cpu")
    spec = TaskSpec(location=str(folder / "posts.conll"), test=str(folder / "posts-test.conll"))
    pool = Pool.open(folder / "pool")
    return folder, spec, pool, rank_sources(spec, pool, device="cpu")


@pytest.fixture(scope="module")
def run(made):
    folder, _, pool, ranking = made
    config = ValidationConfig(
        strategy="houlsby", top=1, seeds=2, controls=(Arm.NONE,), transfer=CHEAP
    )
    result = validate_ranking(ranking, config, folder / "run", pool=pool, device="cpu")
    return folder / "run", result


def test_a_tagging_source_has_its_kind_its_metric_and_a_map(made):
    _, _, pool, _ = made
    entry = pool.entry("spans")
    assert entry.record.problem is Problem.TAGGING
    assert entry.record.metric is Metric.SPAN_F1
    assert set(entry.record.quality) == {"span_f1", "accuracy", "macro_f1"}
    assert entry.record.label_names[0] == "O"
    assert entry.load_head()["weight"].shape == (5, 32)
    assert entry.load_vectors().fisher.any()


def test_sources_are_ranked_for_tags(made):
    *_, ranking = made
    (found,) = ranking.attributes.values()
    assert list(ranking.attributes) == ["tags"]
    assert found.metric == "span_f1"
    assert {line.source for line in found.ranking} == {"spans", "cats"}
    assert np.isfinite([line.score for line in found.ranking]).all()


@pytest.mark.parametrize("scorer", ["knn", "taskemb", "vocab"])
def test_other_scorers_see_the_same_view(made, scorer):
    from esm.ranking.result import RankConfig

    _, spec, pool, _ = made
    found = rank_sources(spec, pool, RankConfig(scorer=scorer), device="cpu")
    assert len(found.attributes["tags"].ranking) == 2


def test_validation_judges_by_span_f1(run):
    _, result = run
    found = result.attributes["tags"]
    assert found.metric == "span_f1"
    assert all(0 <= arm.mean <= 1 for arm in found.arms)


def test_a_strategy_that_cannot_tag_is_refused_before_anything_is_trained(made, tmp_path):
    _, _, pool, ranking = made
    config = ValidationConfig(strategy="features", top=1, seeds=1, controls=(Arm.NONE,))
    message = (
        r"features cannot learn posts/tags, whose labels are tags of words; expected classes or"
        r" ranks or amounts or sets; try: another --strategy"
    )
    with pytest.raises(ValidationError, match=message):
        validate_ranking(ranking, config, tmp_path / "run", pool=pool, device="cpu")


def test_predictions_are_a_tag_per_word_and_those_of_the_trained_models(run, tmp_path):
    folder, _ = run
    words = [["the", "film", "was", "very", "good"], ["rain"], []]
    path = tmp_path / "new.jsonl"
    pd.DataFrame({"tokens": words}).to_json(path, orient="records", lines=True)
    found = predict_file(folder, path, device="cpu")
    tags = found.attributes["tags"]
    assert [None if row is None else len(row) for row in tags.labels] == [5, 1, None]
    assert tags.confidence is None
    plain = tmp_path / "plain.csv"
    plain.write_text("tokens\nthe film  was very good\nrain\n", encoding="utf-8")
    assert predict_file(folder, plain, device="cpu").attributes["tags"].labels == tags.labels[:2]
    for suffix in ("csv", "jsonl", "parquet"):
        found.write(tmp_path / f"out.{suffix}")
    written = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert written["tokens"] == words[0]
    assert written["tags"] == list(tags.labels[0])
    validation = Validation.load(folder)
    (winner,) = winners(folder, validation, ["tags"])
    encoders = StartEncoders(folder, validation, "cpu")
    outputs = [
        one.restore(encoders.encoder(one.record)).predict(["the film was very good", "rain"])
        for one in winner.models
    ]
    chances = [np.exp(o) / np.exp(o).sum(axis=-1, keepdims=True) for o in outputs]
    codes = np.mean(chances, axis=0).argmax(axis=-1)
    names = winner.record.label_names
    assert tags.labels[0] == tuple(names[code] for code in codes[0])


def test_an_export_is_refused(run, tmp_path):
    with pytest.raises(ValidationError, match=r"tags has a tag for each word: .* try: esm predict"):
        export_run(run[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_comparison_leaves_out_what_cannot_tag(made, tiny_bert, tmp_path):
    _, spec, *_ = made
    config = ComparisonConfig(
        strategies=("head", "lora", "knn", "multitask", "ca-mtl"),
        seeds=1,
        transfer=TransferConfig(num_epochs=1, own={"lora.rank": 2}),
    )
    base = EncoderConfig(model=str(tiny_bert), max_length=32)
    opened = open_comparison(spec, config, base=base, device="cpu")
    result = compare_strategies(opened, tmp_path / "c")
    found = result.attributes["tags"]
    assert {one.strategy for one in found.strategies} == {"head", "lora"}
    reasons = {skip.source.split(" on ")[0]: skip.reason for skip in result.skipped}
    for name in ("knn", "multitask", "ca-mtl"):
        assert "cannot learn posts/tags, whose labels are tags of words" in reasons[name]
    labels = predict_file(tmp_path / "c", TaskSpec(location=str(spec.location)), device="cpu")
    assert labels.attributes["tags"].labels[0] is not None


def test_sources_that_tag_words_are_not_trained_beside_texts():
    def source(problem):
        from esm.strategies.protocol import Lesson

        task = toy_task(problem)
        return SourceTask(problem.value, lambda: Lesson(task, task.train), lambda: None)

    both = [source(Problem.TAGGING), source(Problem.CLASSIFICATION)]
    assert [name for name, _ in source_lessons("x", both)] == ["source classification"]
    with pytest.raises(ValidationError, match="none of the 1 sources of x labels texts"):
        dict(source_lessons("x", both[:1]))
