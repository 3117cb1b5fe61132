import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from esm.cli.demo.tasks import (
    SOURCE_TEST_ROWS,
    SOURCE_TRAIN_ROWS,
    TARGET_TEST_ROWS,
    TARGET_TRAIN_ROWS,
    write_demo_tasks,
)
from esm.tasks.load import load_target, load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Metric, Problem, SplitName
from tests.paths import ROOT


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo_tasks(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def sources(demo):
    return {path.name: load_task(TaskSpec(location=str(path))) for path in demo.sources}


@pytest.fixture(scope="module")
def target(demo):
    return load_target(TaskSpec(location=str(demo.target)))


def words(texts):
    return Counter(word for text in texts for word in re.findall(r"\w+", text.lower()))


def bag_of_words_f1(train, test):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
    predicted = model.fit(train.texts, train.labels).predict(test.texts)
    return f1_score(test.labels, predicted, average="macro")


def contents(folder: Path):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_seed_writes_the_same_bytes(demo, tmp_path):
    write_demo_tasks(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(demo.target.parent)
    write_demo_tasks(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(demo.target.parent)


def test_another_seed_writes_other_texts(demo, tmp_path):
    other = write_demo_tasks(tmp_path, seed=1)
    for mine, theirs in zip(
        (*demo.sources, demo.target), (*other.sources, other.target), strict=True
    ):
        texts = [
            pq.read_table(path / "train.parquet")["text"].to_pylist() for path in (mine, theirs)
        ]
        assert len(set(texts[0]) & set(texts[1])) < 0.1 * len(texts[0])


def test_planted_sources_and_controls_are_among_the_sources(demo, sources, target):
    assert set(demo.planted) == set(target.attributes)
    assert set(demo.planted.values()) <= sources.keys()
    assert set(demo.controls.values()) <= sources.keys()
    assert not set(demo.controls.values()) & set(demo.planted.values())
    assert demo.validated in demo.planted


def test_sources_are_balanced_and_of_equal_size(sources):
    for task in sources.values():
        assert (task.problem, task.metric) == (Problem.CLASSIFICATION, Metric.MACRO_F1)
        assert set(task.splits) == {SplitName.TRAIN, SplitName.TEST}
        assert (len(task.train), len(task.test)) == (SOURCE_TRAIN_ROWS, SOURCE_TEST_ROWS)
        fair = len(task.train) / len(task.label_names)
        for count in Counter(task.train.labels.tolist()).values():
            assert 0.85 * fair < count < 1.15 * fair


def test_the_target_is_balanced_and_partly_unannotated(demo, target):
    for split, rows in (("train", TARGET_TRAIN_ROWS), ("test", TARGET_TEST_ROWS)):
        columns = pq.read_table(demo.target / f"{split}.parquet").to_pydict()
        assert len(columns["text"]) == rows
        assert None not in columns["endorsed"]
        for told, advised in zip(columns["first_hand"], columns["home_remedy"], strict=True):
            assert (told is None) != (advised is None)
    for task in target.attributes.values():
        assert task.label_names == ("no", "yes")
        assert 0.4 < task.train.labels.mean() < 0.6
        assert 0.4 < task.test.labels.mean() < 0.6


def test_no_text_occurs_twice_anywhere(demo):
    texts = [
        " ".join(re.findall(r"\w+", text.lower()))
        for folder in (*demo.sources, demo.target)
        for split in ("train", "test")
        for text in pq.read_table(folder / f"{split}.parquet")["text"].to_pylist()
    ]
    assert len(set(texts)) == len(texts)


def test_the_wording_is_varied(sources, target):
    posts = target.attributes["endorsed"].train.texts
    everything = [text for task in sources.values() for text in task.train.texts] + [*posts]
    assert len(words(posts)) > 250
    assert len(words(everything)) > 500
    lengths = [len(text.split()) for text in everything]
    assert min(lengths) >= 4
    assert max(lengths) <= 50


@pytest.mark.parametrize("attribute", ["endorsed", "first_hand", "home_remedy"])
def test_the_words_of_a_post_do_not_give_its_labels_away(target, attribute):
    task = target.attributes[attribute]
    assert bag_of_words_f1(task.train, task.test) < 0.7


def test_labels_follow_the_text_with_some_noise(sources):
    task = sources["travel-witness"]
    assert task.label_names == ("hearsay", "first-hand")
    told = [row for row, text in enumerate(task.train.texts) if "i tried it while" in text]
    assert 0.8 < task.train.labels[told].mean() <= 1.0


def test_the_controls_share_the_planted_sources_vocabulary(demo, sources):
    planted = words(sources[demo.planted[demo.validated]].train.texts)
    for control in demo.controls.values():
        used = words(sources[control].train.texts)
        shared = sum(count for word, count in used.items() if word in planted)
        assert shared / used.total() > 0.95


def test_only_the_shuffled_control_cannot_be_learned_from_words(demo, sources):
    learnable = sources[demo.controls["shared vocabulary"]]
    assert bag_of_words_f1(learnable.train, learnable.test) > 0.8
    shuffled = sources[demo.controls["shuffled labels"]]
    assert bag_of_words_f1(shuffled.train, shuffled.test) < 0.62


def test_the_example_csv_is_what_the_generator_writes(demo):
    example = ROOT / "data" / "remedy-posts.csv"
    written = pd.read_parquet(demo.target / "train.parquet")
    pd.testing.assert_frame_equal(pd.read_csv(example), written, check_dtype=False)


def test_the_new_posts_are_texts_of_test_rows_without_their_labels(demo):
    new = pd.read_csv(ROOT / "data" / "new-remedy-posts.csv")
    unseen = pd.read_parquet(demo.target / "test.parquet")["text"].head(len(new))
    assert list(new.columns) == ["id", "text"]
    assert new["text"].tolist() == unseen.tolist()
