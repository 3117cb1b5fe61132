"""Every scorer through a ranking: the same numbers as computed plainly, and who is left out."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from esm.common.errors import EncoderError, PoolError, RankingError, SettingError, TaskError
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.maps.forms import MapForm
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool
from esm.pool.vectors import VECTORS_NAME
from esm.ranking.rank import rank_sources
from esm.ranking.result import Balance, RankConfig, Ranking
from esm.report.ranking import ranking_tables
from esm.report.table import plain
from esm.scorers.base import EmbeddingKind
from esm.scorers.hscore import hscore
from esm.scorers.leep import leep
from esm.scorers.logme import LogME, logme
from esm.scorers.nce import nce
from esm.scorers.registry import ScorerName
from esm.tasks.load import load_target
from esm.tasks.spec import SplitSpec, TaskSpec
from esm.training.class_weights import balance_weights
from esm.training.settings import FineTuneConfig
from tests.toy_folders import write_target, write_task

pytestmark = pytest.mark.slow

RESULTS = {"sst2": {"cat": 0.2, "dog": 0.6, "sun": 0.6}, "posts/cat": {"cat": 1.0}}


@pytest.fixture(scope="module")
def world(tiny_bert, tmp_path_factory):
    """A pool of three sources with their tuned encoders, and a target of two attributes."""
    folder = tmp_path_factory.mktemp("world")
    words = ("cat", "dog", "sun")
    tasks = [
        write_task(folder / word, word, seed=i, rows=60 + 10 * i) for i, word in enumerate(words)
    ]
    settings = TrainConfig(
        encoder=EncoderConfig(model=str(tiny_bert), max_length=32),
        fine_tune=FineTuneConfig(num_epochs=1, learning_rate=1e-3),
        anchors_per_task=20,
        lift_width=24,
        rank=4,
        delta="none",
        keep_models=True,
    )
    specs = [TaskSpec(location=str(path)) for path in tasks]
    train_pool(specs, folder / "pool", settings, device="cpu")
    return folder / "pool", TaskSpec(location=str(write_target(folder / "posts")))


@pytest.fixture
def pool(world, tmp_path):
    """A copy of the pool that a test may damage."""
    shutil.copytree(world[0], tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


def ranked(world, scorer, pool=None, *, results=None, **settings):
    results = RESULTS if scorer is ScorerName.STATIC else results
    opened = Pool.open(world[0]) if pool is None else pool
    config = RankConfig(scorer=scorer, **{"refine": "none", **settings})
    return rank_sources(world[1], opened, config, device="cpu", results=results)


@pytest.mark.parametrize("scorer", list(ScorerName))
def test_every_scorer_ranks_all_sources_and_says_what_its_numbers_are(world, scorer, tmp_path):
    ranking = ranked(world, scorer)
    assert ranking.scorer == ranking.config.scorer == scorer
    for found in ranking.attributes.values():
        assert sorted(found.order) == ["cat", "dog", "sun"]
        assert found.examples in (80, 64)
        for line in found.ranking:
            gained = found.base_score is not None
            assert (line.gain is not None) == gained
            if gained:
                assert line.gain == pytest.approx(line.score - found.base_score)
    ranking.save(tmp_path / "ranking.json")
    assert Ranking.load(tmp_path / "ranking.json") == ranking
    table = ranking_tables(ranking)[0]
    assert ranking.unit in plain(table)
    assert ("predicted gain" in table.columns) == gained
    assert ("map R²" in table.columns) == (ranking.reads is EmbeddingKind.MAPPED)


def tuned_rows(world, source):
    """Embed the training rows of `cat` by a kept encoder, as loaded from its folder."""
    pool = Pool.open(world[0])
    folder = pool.entry(source).model_folder
    encoder = Encoder.load(EncoderConfig(model=str(folder), max_length=32), "cpu")
    task = load_target(world[1]).attributes["cat"]
    return encoder.embed(task.train.texts).last.astype(np.float64), task.train.labels


def scores(ranking, attribute="cat"):
    return {line.source: line.score for line in ranking.attributes[attribute].ranking}


def test_logme_of_tuned_encoders(world):
    found = scores(ranked(world, ScorerName.TUNED_LOGME))
    for source, score in found.items():
        rows, labels = tuned_rows(world, source)
        expected = logme(rows, labels, variant="full", weights=balance_weights(labels))
        assert score == pytest.approx(expected, abs=1e-5)


def test_hscore_reads_tuned_encoders_and_maps_where_asked(world):
    found = scores(ranked(world, ScorerName.HSCORE))
    for source, score in found.items():
        assert score == pytest.approx(hscore(*tuned_rows(world, source)), abs=1e-4)
    mapped = scores(ranked(world, ScorerName.HSCORE, embeddings=EmbeddingKind.MAPPED))
    assert all(abs(mapped[source] - score) > 1e-4 for source, score in found.items())


def test_heads_are_applied_to_tuned_embeddings_where_all_encoders_were_kept(world, pool):
    rankings = [ranked(world, name) for name in (ScorerName.LEEP, ScorerName.NCE)]
    assert {ranking.reads for ranking in rankings} == {EmbeddingKind.TUNED}
    for source in ("cat", "dog", "sun"):
        rows, labels = tuned_rows(world, source)
        head = Pool.open(world[0]).entry(source).load_head()
        logits = rows @ head["weight"].T + head["bias"]
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected = leep(probabilities, labels), nce(logits.argmax(1), labels)
        found = [scores(ranking)[source] for ranking in rankings]
        assert found == pytest.approx(expected, abs=1e-5)
    shutil.rmtree(pool.entry("cat").folder / "model")
    fallen_back = ranked(world, ScorerName.LEEP, pool)
    assert fallen_back.reads is EmbeddingKind.MAPPED
    assert len(scores(fallen_back)) == 3
    assert "anchored maps, leep (nats per example), higher is better" in plain(
        ranking_tables(fallen_back)[0]
    )


def test_blind_orders(world):
    sizes = ranked(world, ScorerName.SIZE)
    assert sizes.attributes["cat"].order == ["sun", "dog", "cat"]
    assert ranking_tables(sizes)[0].rows[0][:3] == ("1", "sun", "80")
    assert ranked(world, ScorerName.RANDOM).attributes["cat"].order == ["cat", "dog", "sun"]
    static = ranked(world, ScorerName.STATIC)
    assert scores(static) == {"cat": 0.2, "dog": 0.6, "sun": 0.6}
    assert static.attributes["cat"].order == ["dog", "sun", "cat"]


def test_orders_that_read_no_embedding_embed_nothing(world, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("embedded")

    monkeypatch.setattr(Encoder, "embed", refuse)
    monkeypatch.setattr("esm.encoder.cache.EmbeddingCache.embed", refuse)
    for scorer in (ScorerName.SIZE, ScorerName.RANDOM, ScorerName.STATIC, ScorerName.VOCAB):
        assert ranked(world, scorer).cut == 0


# ------------------------------------------------------------------------------- who is left out


@pytest.mark.parametrize(
    ("scorer", "remove", "reason"),
    [
        (ScorerName.TUNED_LOGME, "model", "keeps neither a delta nor its tuned encoder"),
        (ScorerName.FROZEN, "model", "--replace"),
        (ScorerName.TEXTEMB, VECTORS_NAME, "has no vectors"),
        (ScorerName.VOCAB, VECTORS_NAME, "without training again"),
        (ScorerName.NCE, "head.safetensors", "has no head"),
        (ScorerName.LOGME, "anchored", "no file"),
    ],
)
def test_a_source_that_lacks_what_is_needed_is_named(world, pool, scorer, remove, reason):
    def take_away(source):
        path = pool.entry(source).folder / remove
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    take_away("dog")
    for found in ranked(world, scorer, pool).attributes.values():
        assert sorted(found.order) == ["cat", "sun"]
        assert [skip.source for skip in found.skipped] == ["dog"]
        assert reason in found.skipped[0].reason
    with pytest.raises((PoolError, OSError), match=reason):
        ranked(world, scorer, pool, strict=True)
    for source in ("cat", "sun"):
        take_away(source)
    with pytest.raises(RankingError, match=r"no source could be scored .*at least one source, wit"):
        ranked(world, scorer, pool)


def test_a_damaged_encoder_is_named(world, pool):
    (pool.entry("dog").folder / "model" / "model.safetensors").write_bytes(b"half")
    found = ranked(world, ScorerName.TUNED_LOGME, pool).attributes["cat"]
    assert sorted(found.order) == ["cat", "sun"]
    assert [skip.source for skip in found.skipped] == ["dog"]
    with pytest.raises(EncoderError):
        ranked(world, ScorerName.TUNED_LOGME, pool, strict=True)


def test_settings_that_do_not_go_together(world):
    with pytest.raises(SettingError, match="--balance on for scorer leep"):
        ranked(world, ScorerName.LEEP, balance=Balance.ON)
    with pytest.raises(SettingError, match="without measured results"):
        rank_sources(world[1], Pool.open(world[0]), RankConfig(scorer=ScorerName.STATIC))
    assert not ranked(world, ScorerName.LEEP).attributes["cat"].balanced
    assert ranked(world, ScorerName.KNN).attributes["cat"].balanced


def test_amounts_cannot_be_ranked_by_scores_of_classes(world, tmp_path):
    path = tmp_path / "prices.csv"
    rows = "\n".join(f"the cat number {i} runs,{i * 1.5}" for i in range(40))
    path.write_text(f"text,price\n{rows}\n", encoding="utf-8")
    target = TaskSpec(location=str(path), attributes=("price",))
    for scorer in (ScorerName.LEEP, ScorerName.NCE, ScorerName.HSCORE):
        with pytest.raises(TaskError, match=f"for which {scorer} is not defined"):
            ranked((world[0], target), scorer)
    for scorer in (ScorerName.PROBE, ScorerName.KNN, ScorerName.TASKEMB):
        assert len(ranked((world[0], target), scorer).attributes["price"].ranking) == 3


# ------------------------------------------------------------------------------- all at once


class AllAtOnce(LogME):
    """LogME of the whole pool in one call, as an engine would do it."""

    def score_all(self, folds, sources):
        self.calls.append([source.id for source in sources])
        return {**super().score_all(folds, sources), "sun": np.full(len(folds), np.nan)}


def test_a_scorer_may_score_all_sources_at_once(world, monkeypatch):
    spec = world[1].model_copy(update={"split": SplitSpec(method="k-fold", folds=2)})
    one_by_one = ranked((world[0], spec), ScorerName.LOGME)
    AllAtOnce.calls = []
    monkeypatch.setattr("esm.ranking.rank.make_scorer", lambda *_, **__: AllAtOnce())
    at_once = ranked((world[0], spec), ScorerName.LOGME)
    assert AllAtOnce.calls == [["cat", "dog", "sun"]] * 2  # two attributes
    for name, found in at_once.attributes.items():
        expected = scores(one_by_one, name)
        for line in found.ranking:
            assert line.score == pytest.approx(expected[line.source], abs=1e-9)
        assert [skip.source for skip in found.skipped] == ["sun"]
        assert len(found.by_fold) == 2


def test_scores_do_not_depend_on_what_else_is_in_the_pool(world, pool):
    """Nor on the order of sources, nor on what was embedded before."""
    shutil.rmtree(pool.source_folder("cat"))
    for scorer in (ScorerName.PROBE, ScorerName.TUNED_LOGME, ScorerName.KNN, ScorerName.TASKEMB):
        alone, together = (scores(ranked(world, scorer, one)) for one in (pool, None))
        assert alone == pytest.approx({name: together[name] for name in alone}, abs=1e-9)


def test_dense_maps_too(world, pool, tiny_bert):
    settings = TrainConfig(
        encoder=EncoderConfig(model=str(tiny_bert), max_length=32),
        fine_tune=FineTuneConfig(num_epochs=1, learning_rate=1e-3),
        forms=tuple(MapForm),
        rank=4,
        delta="none",
        keep_models=True,
    )
    specs = [entry.record.task for entry in pool.entries()[0]]
    assert train_pool(specs, pool.folder, settings, device="cpu").completed == ("cat", "dog", "sun")
    for scorer in (ScorerName.LOGME, ScorerName.PROBE, ScorerName.LEEP):
        ranking = ranked(
            world,
            scorer,
            pool,
            form=MapForm.PUBLISHED,
            **({"embeddings": EmbeddingKind.MAPPED} if scorer is ScorerName.LEEP else {}),
        )
        assert ranking.config.form is MapForm.PUBLISHED
        assert len(scores(ranking)) == 3
