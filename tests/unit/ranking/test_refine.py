"""Refinement: maps screen, deltas score; a source that maps cannot see is found among many."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from esm import logme
from esm.common.errors import MapError, RankingError, SettingError
from esm.common.storage import load_tensors, read_json, save_tensors, write_json
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.maps.delta.delta import DELTA_NAME, Delta
from esm.maps.delta.encoder import with_delta
from esm.maps.forms import MapForm
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool
from esm.ranking import refine
from esm.ranking.rank import rank_sources
from esm.ranking.refine import Refinement
from esm.ranking.result import RankConfig, Ranking
from esm.report.ranking import ranking_tables
from esm.report.table import plain
from esm.report.why import why_tables
from esm.scorers.registry import ScorerName
from esm.scorers.source import Source
from esm.scorers.target import TargetAttribute
from esm.tasks.load import load_target
from esm.tasks.spec import SplitSpec, TaskSpec
from esm.tasks.splits.draw import draw_by_class
from esm.tasks.task import Examples, Metric, Problem, SplitName, Task, TaskMetadata
from esm.training.class_weights import balance_weights
from esm.training.settings import FineTuneConfig
from tests.toy_folders import write_target, write_task

WIDTH = 16


# ------------------------------------------------------------------- the search, on made-up numbers


@dataclass
class Entry:
    """As much of an entry as the search looks at."""

    id: str
    has_tuned: bool = True
    model_folder: None = None


class Texts:
    """Embeddings of 400 texts; what each source was asked for is counted."""

    def __init__(self, labels, planted=(), broken=()):
        self.labels, self.planted, self.broken = labels, planted, broken
        self.asked: dict[str, int] = {}
        self.base = np.random.default_rng(0).standard_normal((len(labels), WIDTH)).astype("f4")
        self.lifted = None
        self.parameters = 10**6

    def __len__(self):
        return len(self.labels)

    def tokens(self, rows):
        return 10 * len(rows)

    def tuned(self, entry, rows):
        if entry.id in self.broken:
            raise MapError(f"the delta of {entry.id} is damaged")
        self.asked[entry.id] = self.asked.get(entry.id, 0) + len(rows)
        seed = [ord(letter) for letter in entry.id]
        found = np.random.default_rng(seed).standard_normal((len(self), WIDTH))
        if entry.id in self.planted:
            found[:, 0] += 1.5 * self.labels
        return found.astype(np.float32)[rows]


def a_fold(texts):
    labels, rows = texts.labels, np.arange(len(texts))
    examples = Examples(tuple(f"text {row}" for row in rows), None, labels)
    task = Task(
        id="posts",
        problem=Problem.CLASSIFICATION,
        metric=Metric.MACRO_F1,
        label_names=("no", "yes"),
        splits={SplitName.TRAIN: examples},
        metadata=TaskMetadata(),
    )
    return TargetAttribute(task, examples, rows, texts, balance_weights(labels))


def the_labels():
    return (np.random.default_rng(1).random(400) < 0.2).astype(np.int64)


def many(count, planted):
    """Sources whose maps put the planted ones last."""
    names = sorted([*(f"noise-{place}" for place in range(count - len(planted))), *planted])
    scores = {name: -2.0 if name in planted else -1.0 + i / count for i, name in enumerate(names)}
    return [
        (Source(Entry(name), MapForm.ANCHORED, None), np.array([scores[name]])) for name in names
    ]


def outcome(texts, sources, config=None):
    config = config or RankConfig()
    folds = [a_fold(texts)]
    return Refinement(texts, {"posts": folds}, config).refine("posts", folds, sources)


def order(found):
    return [source.id for source, _ in found.scored]


@pytest.fixture
def little(monkeypatch):
    """A cost at which 40 sources are scored on all rows: 40 x 3,000 tokens x 10^6 weights."""
    monkeypatch.setattr(refine, "MOST_COST", 40 * 3000 * 10**6)


@pytest.mark.slow
def test_a_source_that_maps_cannot_see_is_found_among_five_hundred(little):
    texts = Texts(the_labels(), planted=("planted",))
    found = outcome(texts, many(500, ("planted",)))
    assert order(found)[0] == "planted"
    rounds = [(one.sources, one.rows) for one in found.record.rounds]
    assert rounds == [(500, 48), (250, 96), (125, 192), (63, 300)]
    assert len(texts.asked) == 500  # every source had its chance
    # Rows are embedded once: 500 x 48 + 250 x 48 + 125 x 96 + 63 x 108.
    assert sum(texts.asked.values()) == 24_000 + 12_000 + 12_000 + 6_804


@pytest.mark.slow
def test_the_order_of_the_pool_does_not_matter(little):
    sources = many(120, ("planted", "other"))
    shuffled = [sources[i] for i in np.random.default_rng(3).permutation(len(sources))]
    one, two = (
        outcome(Texts(the_labels(), planted=("planted", "other")), given)
        for given in (sources, shuffled)
    )
    assert order(one) == order(two)
    assert one.record == two.record


def test_all_are_scored_on_all_rows_where_that_is_cheap(little):
    found = outcome(Texts(the_labels()), many(40, ()))
    assert [(one.sources, one.rows) for one in found.record.rounds] == [(40, 300)]
    more = outcome(Texts(the_labels()), many(41, ()))
    assert [one.sources for one in more.record.rounds] == [41, 21, 11, 6]
    whole = outcome(Texts(the_labels()), many(41, ()), RankConfig(refine="all"))
    assert [(one.sources, one.rows) for one in whole.record.rounds] == [(41, 300)]


def test_the_best_so_many(little):
    found = outcome(Texts(the_labels(), planted=("a",)), many(64, ("a",)), RankConfig(refine=1))
    assert [(one.sources, one.rows) for one in found.record.rounds] == [
        (64, 48),
        (16, 96),
        (4, 192),
        (1, 300),
    ]
    assert order(found) == ["a"]
    assert outcome(Texts(the_labels()), many(4, ()), RankConfig(refine="none")) is None


def test_scores_are_those_of_the_plain_way(little):
    """The oracle: logme of the embeddings of the rows that the draw names."""
    texts = Texts(the_labels(), planted=("planted",))
    found = outcome(texts, many(10, ("planted",)))
    labels = texts.labels
    membership = np.stack([labels == 0, labels == 1, labels < 0], axis=1)
    rows = np.sort(draw_by_class([membership], 300, 0))
    weights = balance_weights(labels[rows])
    for source, (score,) in found.scored:
        embedded = texts.tuned(source.entry, np.arange(400))[rows]
        expected = logme(embedded, labels[rows], variant="full", weights=weights)
        assert score == pytest.approx(expected, abs=1e-9)
    expected = logme(texts.base[rows], labels[rows], variant="full", weights=weights)
    assert found.record.base_score == pytest.approx(expected, abs=1e-9)


def test_every_beginning_of_the_draw_has_the_rare_class():
    labels = np.zeros(1000, dtype=np.int64)
    labels[[5, 300, 999]] = 1
    drawn = draw_by_class([np.stack([labels == 0, labels == 1], axis=1)], 100, 0)
    assert len(set(drawn)) == 100
    assert labels[drawn[:6]].sum() == 3


def test_a_draw_for_two_attributes_takes_turns():
    rare = np.zeros((90, 2), dtype=bool)
    rare[:, 0] = True
    rare[:5] = [False, True]
    other = np.zeros((90, 3), dtype=bool)
    other[np.arange(30), np.arange(30) % 3] = True  # the last 60 rows lack it
    drawn = draw_by_class([rare, other], 24, 0)
    assert rare[drawn, 1].sum() == 5
    assert other[drawn].sum(axis=0).min() >= 4


def test_a_damaged_delta_is_skipped_and_named(little):
    texts = Texts(the_labels(), planted=("planted",), broken=("noise-3",))
    found = outcome(texts, many(100, ("planted",)))
    assert order(found)[0] == "planted"
    assert [(skip.source, skip.reason) for skip in found.record.skipped] == [
        ("noise-3", "the delta of noise-3 is damaged")
    ]
    with pytest.raises(MapError, match="noise-3"):
        outcome(texts, many(100, ("planted",)), RankConfig(strict=True))


def test_where_nothing_can_be_refined_the_ranking_says_why():
    everyone = tuple(source.id for source, _ in many(5, ()))
    texts = Texts(the_labels(), broken=everyone)
    folds = [a_fold(texts)]
    refinement = Refinement(texts, {"posts": folds}, RankConfig())
    assert refinement.refine("posts", folds, many(5, ())) is None
    (remark,) = refinement.remarks
    assert "none of 5 deltas can be used (noise-0: the delta of noise-0 is damaged)" in remark
    one_class = Texts(np.zeros(400, dtype=np.int64))
    folds = [a_fold(one_class)]
    refinement = Refinement(one_class, {"posts": folds}, RankConfig())
    assert refinement.refine("posts", folds, many(5, ())) is None
    assert "posts is ranked by maps alone: in the rows drawn" in refinement.remarks[0]


def test_sources_without_a_delta_are_counted():
    sources = many(6, ("planted",))
    for source, _ in sources[:2]:
        source.entry.has_tuned = False
    found = outcome(Texts(the_labels(), planted=("planted",)), sources)
    assert (found.record.sources, found.record.without) == (4, 2)


# ---------------------------------------------------------------------------- a pool, the whole way


@pytest.fixture(scope="module")
def world(tiny_bert, tmp_path_factory):
    """A pool of three sources with deltas, and a target of two attributes."""
    folder = tmp_path_factory.mktemp("world")
    words = ("cat", "dog", "sun")
    tasks = [write_task(folder / word, word, seed=i, rows=200) for i, word in enumerate(words)]
    settings = TrainConfig(
        encoder=EncoderConfig(model=str(tiny_bert), max_length=32),
        fine_tune=FineTuneConfig(num_epochs=4, learning_rate=3e-3),
        anchors_per_task=20,
        lift_width=24,
        rank=4,
        delta=20_000,
    )
    specs = [TaskSpec(location=str(path)) for path in tasks]
    train_pool(specs, folder / "pool", settings, device="cpu")
    return folder / "pool", TaskSpec(location=str(write_target(folder / "posts", rows=120)))


@pytest.fixture
def pool(world, tmp_path):
    shutil.copytree(world[0], tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


def forget_delta(pool, source):
    folder = pool.entry(source).folder
    (folder / DELTA_NAME).unlink()
    record = read_json(folder / "source.json") | {"delta": None}
    write_json(folder / "source.json", record)


slow = pytest.mark.slow


@slow
def test_lines_are_scored_on_deltas(world, tmp_path):
    """The oracle: the delta added to a copy of the base, all rows embedded, logme."""
    pool = Pool.open(world[0])
    ranking = rank_sources(world[1], pool, device="cpu")
    plain_maps = rank_sources(world[1], pool, RankConfig(refine="none"), device="cpu")
    base = Encoder.load(EncoderConfig(model=pool.manifest.base.model, max_length=32), "cpu")
    for name, task in load_target(world[1]).attributes.items():
        found, by_map = ranking.attributes[name], plain_maps.attributes[name]
        assert found.refined.rounds[0].sources == found.refined.sources == 3
        weights = balance_weights(task.train.labels)
        known = {line.source: line.score for line in by_map.ranking}
        for line in found.ranking:
            tuned = with_delta(base, pool.entry(line.source).load_delta())
            rows = tuned.embed(task.train.texts).last
            expected = logme(rows, task.train.labels, variant="full", weights=weights)
            assert line.score == pytest.approx(expected, abs=1e-5)
            assert line.gain == pytest.approx(line.score - found.refined.base_score)
            assert line.map_score == pytest.approx(known[line.source])
            assert line.scored_by == "delta"
        assert found.order[0] == name  # cat for cat, dog for dog
        assert all(line.scored_by == "" for line in by_map.ranking)
    ranking.save(tmp_path / "ranking.json")
    assert Ranking.load(tmp_path / "ranking.json") == ranking
    table = ranking_tables(ranking)[0]
    assert "scored by" in table.columns
    assert "the first 3 scored again on embeddings by their deltas" in plain(table)
    assert "score by its map" in plain(why_tables(ranking, "cat")[0])


@slow
def test_two_groups_where_some_have_no_delta(world, pool):
    forget_delta(pool, "cat")
    (pool.entry("sun").folder / DELTA_NAME).write_bytes(b"half")
    ranking = rank_sources(world[1], pool, RankConfig(aggregate=True), device="cpu")
    plain_maps = rank_sources(world[1], pool, RankConfig(refine="none"), device="cpu")
    for name, found in ranking.attributes.items():
        assert [line.scored_by for line in found.ranking] == ["delta", "map", "map"]
        assert [line.rank for line in found.ranking] == [1, 2, 3]
        assert found.order[0] == "dog"
        rest = [source for source in plain_maps.attributes[name].order if source != "dog"]
        assert found.order[1:] == rest
        assert (found.refined.without, len(found.refined.skipped)) == (1, 1)
        scores = [row["score"] for row in ranking.records() if row["target"].endswith(name)]
        assert scores == [-1, -2, -3]  # what esm evaluate orders by
    text = plain(ranking_tables(ranking)[1])
    assert "below them the others by their maps, not to be compared" in text
    assert "1 of these have no delta" in text
    assert "sun could not be refined" in text and "truncated" in text
    with pytest.raises(MapError, match="truncated"):
        rank_sources(world[1], pool, RankConfig(strict=True), device="cpu")


@slow
def test_folds_bootstrap_and_a_diverse_set(world):
    target = world[1].model_copy(update={"split": SplitSpec(method="k-fold", folds=3)})
    settings = RankConfig(bootstrap=50, diverse=2)
    ranking = rank_sources(target, Pool.open(world[0]), settings, device="cpu")
    for found in ranking.attributes.values():
        assert [len(one) for one in found.by_fold] == [3, 3, 3]
        assert all(line.gain_low <= line.gain_high for line in found.ranking)
        assert len(found.diverse.picks) == 2
        assert found.diverse.picks[0].source == found.order[0]


@slow
def test_other_scorers_are_not_refined(world):
    pool = Pool.open(world[0])
    found = rank_sources(world[1], pool, RankConfig(scorer=ScorerName.KNN), device="cpu")
    assert all(ranked.refined is None for ranked in found.attributes.values())
    for wanted in ("all", 3):
        with pytest.raises(SettingError, match=r"--refine .* for scorer knn"):
            rank_sources(
                world[1], pool, RankConfig(scorer=ScorerName.KNN, refine=wanted), device="cpu"
            )


@slow
def test_the_scorer_on_deltas_alone(world, pool):
    forget_delta(pool, "sun")
    found = rank_sources(
        world[1], pool, RankConfig(scorer=ScorerName.TUNED_LOGME), device="cpu"
    ).attributes["cat"]
    assert found.order[0] == "cat"
    assert [skip.source for skip in found.skipped] == ["sun"]
    assert "neither a delta nor its tuned encoder" in found.skipped[0].reason
    for word in ("cat", "dog"):
        forget_delta(pool, word)
    with pytest.raises(RankingError, match="neither a delta"):
        rank_sources(world[1], pool, RankConfig(scorer=ScorerName.TUNED_LOGME), device="cpu")


def noisy_copy(pool, source, name, *, map_of):
    """Another entry whose delta is drawn anew, and whose map is another source's."""
    origin = pool.entry(source).folder
    folder = pool.source_folder(name)
    shutil.copytree(origin, folder)
    shutil.rmtree(folder / "anchored")
    shutil.copytree(pool.entry(map_of).folder / "anchored", folder / "anchored")
    tensors = load_tensors(folder / DELTA_NAME)
    rng = np.random.default_rng([ord(letter) for letter in name])
    changed = {
        key: rng.permutation(array, axis=1) if array.ndim == 2 and "LayerNorm" not in key else array
        for key, array in tensors.items()
    }
    save_tensors(folder / DELTA_NAME, changed)
    record = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    delta = Delta.from_tensors(changed, where=name, base=None)
    record |= {"id": name, "delta": record["delta"] | {"hash": delta.content_hash}}
    write_json(folder / "source.json", record)


@slow
def test_a_planted_source_with_the_worst_map_is_found_by_halving(world, pool, monkeypatch):
    """40 noisy copies with the best map of all, and one source that has really learned it."""
    for place in range(40):
        noisy_copy(pool, "sun", f"noise-{place}", map_of="cat")
    shutil.rmtree(pool.entry("cat").folder / "anchored")
    shutil.copytree(pool.entry("sun").folder / "anchored", pool.entry("cat").folder / "anchored")
    monkeypatch.setattr(refine, "MOST_COST", 0)
    by_map = rank_sources(world[1], pool, RankConfig(refine="none"), device="cpu")
    assert by_map.attributes["cat"].order.index("cat") >= 39
    found = rank_sources(world[1], pool, device="cpu").attributes["cat"]
    assert found.order[0] == "cat"
    assert [one.rows for one in found.refined.rounds] == [48, 96, 120]
    assert found.refined.rounds[0].sources == 43
