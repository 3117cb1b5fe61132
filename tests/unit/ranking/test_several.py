"""Several targets in one process: the rankings of one by one, base model and pool read once."""

from __future__ import annotations

import shutil

import pytest

from esm.common.errors import RankingError, TaskError
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool, Skipped
from esm.ranking.rank import rank_sources
from esm.ranking.result import RankConfig
from esm.ranking.several import rank_several
from esm.tasks.spec import TaskSpec
from esm.training.settings import FineTuneConfig
from tests.toy_folders import write_target, write_task

pytestmark = pytest.mark.slow


def spec(path, **changes):
    return TaskSpec(location=str(path), **changes)


@pytest.fixture(scope="module")
def world(tiny_bert, tmp_path_factory):
    """A pool of two sources, and two targets, one of which knows a single attribute."""
    folder = tmp_path_factory.mktemp("several")
    tasks = [write_task(folder / word, word, seed=i) for i, word in enumerate(("cat", "sun"))]
    settings = TrainConfig(
        encoder=EncoderConfig(model=str(tiny_bert), max_length=32),
        fine_tune=FineTuneConfig(num_epochs=1, learning_rate=1e-3),
        anchors_per_task=20,
        lift_width=24,
        rank=4,
    )
    train_pool([spec(path) for path in tasks], folder / "pool", settings, device="cpu")
    posts = write_target(folder / "posts")
    return folder / "pool", [spec(posts), spec(posts, id="cats", attributes=("cat",))]


def without_seconds(ranking):
    return {name: value for name, value in ranking.as_dict().items() if name != "seconds"}


def test_rankings_are_those_of_one_by_one(world):
    pool, specs = Pool.open(world[0]), world[1]
    alone = [without_seconds(rank_sources(one, pool, device="cpu")) for one in specs]
    together = [without_seconds(one) for one in rank_several(specs, pool, device="cpu")]
    assert [one["target"] for one in together] == ["posts", "cats"]
    assert together == alone


def test_base_model_and_entries_are_read_once(world, monkeypatch):
    loads, reads = [], []
    load, entries = Encoder.load, Pool.entries
    monkeypatch.setattr(Encoder, "load", lambda *args: loads.append(args) or load(*args))
    monkeypatch.setattr(
        Pool, "entries", lambda *args, **kw: reads.append(1) or entries(*args, **kw)
    )
    found = list(rank_several(world[1], Pool.open(world[0]), device="cpu"))
    assert len(found) == 2
    assert (len(loads), len(reads)) == (1, 1)


def test_a_target_that_fails_is_left_out_and_named(world, tmp_path):
    pool, (posts, cats) = Pool.open(world[0]), world[1]
    (tmp_path / "empty.csv").write_text("text,label\n", encoding="utf-8")
    bad = [
        spec(tmp_path / "missing.csv"),
        posts.model_copy(update={"id": "other", "attributes": ("no_such",)}),
        spec(tmp_path / "empty.csv"),
    ]
    found = list(rank_several([bad[0], posts, bad[1], bad[2], cats], pool, device="cpu"))
    assert [isinstance(one, Skipped) for one in found] == [True, False, True, True, False]
    named = [one.source for one in found if isinstance(one, Skipped)]
    assert named == [bad[0].location, "other", bad[2].location]
    assert "no_such" in found[2].reason
    with pytest.raises(TaskError, match="nothing at"):
        list(rank_several([posts, bad[0]], pool, RankConfig(strict=True), device="cpu"))
    with pytest.raises(RankingError, match="none of the 3 targets"):
        list(rank_several(bad, pool, device="cpu"))


def test_a_target_named_twice_is_refused_before_anything_is_computed(world, monkeypatch):
    monkeypatch.setattr(Encoder, "load", lambda *args: pytest.fail("loaded"))
    with pytest.raises(TaskError, match="posts is named twice"):
        list(rank_several([*world[1], world[1][0]], Pool.open(world[0]), device="cpu"))


def test_another_target_of_the_same_name_is_left_out(world, tmp_path):
    shutil.copytree(world[1][0].location, tmp_path / "posts")
    found = list(rank_several([world[1][0], spec(tmp_path / "posts")], Pool.open(world[0])))
    assert isinstance(found[1], Skipped)
    assert "called posts too" in found[1].reason
