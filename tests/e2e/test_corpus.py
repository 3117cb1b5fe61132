"""A corpus among the sources of a pool: trained, listed, ranked, packed, validated, compared."""

from __future__ import annotations

import numpy as np
import pytest

from esm.common.errors import PoolError
from esm.encoder.settings import EncoderConfig
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pack import pack_pool
from esm.pool.pool import Pool
from esm.pool.verify import verify_pool
from esm.ranking.rank import rank_sources
from esm.ranking.result import RankConfig
from esm.report.pool import pool_tables
from esm.strategies.checks import source_lessons
from esm.strategies.protocol import Lesson, SourceTask
from esm.strategies.settings import TransferConfig
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Metric, Problem
from esm.training.settings import FineTuneConfig
from esm.trials.open import open_comparison
from esm.trials.run import compare_strategies, validate_ranking
from esm.trials.settings import Arm, ComparisonConfig, ValidationConfig
from tests.toy_folders import write_task
from tests.toy_tasks import toy_task

pytestmark = pytest.mark.slow

CHEAP = TransferConfig(num_epochs=1, batch_size=16, learning_rate=1e-2, adapter_size=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_bert):
    """A pool of a corpus and a labelled source, and a target."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = toy_task(Problem.CLASSIFICATION, seed=9, num_train=60).train.texts
    (folder / "wiki.txt").write_text("\n".join(texts), encoding="utf-8")
    write_task(folder / "cats", "cat")
    write_task(folder / "target", "target", seed=4)
    config = TrainConfig(
        encoder=EncoderConfig(model=str(tiny_bert), max_length=32),
        fine_tune=FineTuneConfig(num_epochs=1, learning_rate=1e-3),
        anchors_per_task=20,
        lift_width=16,
        rank=4,
    )
    specs = [
        TaskSpec(location=str(folder / "wiki.txt"), kind="corpus"),
        TaskSpec(location=str(folder / "cats")),
    ]
    train_pool(specs, folder / "pool", config, device="cpu")
    spec = TaskSpec(location=str(folder / "target"))
    return folder, spec, Pool.open(folder / "pool"), specs, config


def test_the_entry_has_a_map_and_no_head(made):
    folder, _, pool, *_ = made
    entry = pool.entry("wiki")
    record = entry.record
    assert (record.problem, record.metric) == (Problem.CORPUS, Metric.LOG_LIKELIHOOD)
    assert record.label_names == ()
    assert record.num_used == 54
    assert set(record.quality) == {"log_likelihood", "log_likelihood_before"}
    assert not (folder / "pool" / "sources" / "wiki" / "head.safetensors").exists()
    assert not entry.load_vectors().fisher.any()
    assert entry.load_vectors().mean.any()
    shown = str(pool_tables(pool, *pool.entries())[0].rows)
    before, after = (record.quality[name] for name in ("log_likelihood_before", "log_likelihood"))
    assert f"log_likelihood {before:.1f} → {after:.1f}" in shown


def test_training_again_leaves_it(made):
    folder, _, _, specs, config = made
    path = folder / "pool" / "sources" / "wiki" / "source.json"
    before = path.stat().st_mtime_ns
    train_pool(specs, folder / "pool", config, device="cpu")
    assert path.stat().st_mtime_ns == before


def test_it_is_ranked_like_any_other(made):
    _, spec, pool, *_ = made
    for scorer in ("fused", "logme", "probe", "knn", "textemb", "vocab", "size", "random"):
        found = rank_sources(spec, pool, RankConfig(scorer=scorer), device="cpu")
        (ranked,) = found.attributes.values()
        assert {line.source for line in ranked.ranking} == {"wiki", "cats"}
        assert np.isfinite([line.score for line in ranked.ranking]).all()


@pytest.mark.parametrize(
    ("scorer", "reason"), [("leep", "so that it has no head"), ("taskemb", "no Fisher information")]
)
def test_what_needs_labels_leaves_it_out_and_says_why(made, scorer, reason):
    _, spec, pool, *_ = made
    found = rank_sources(spec, pool, RankConfig(scorer=scorer), device="cpu")
    (ranked,) = found.attributes.values()
    assert [line.source for line in ranked.ranking] == ["cats"]
    (skip,) = ranked.skipped
    assert skip.source == "wiki"
    assert reason in skip.reason


def test_a_packed_pool_holds_it(made, tmp_path):
    _, spec, pool, *_ = made
    pack_pool(pool, tmp_path / "packed")
    packed = Pool.open(tmp_path / "packed")
    assert not verify_pool(packed).bad
    plain, again = (rank_sources(spec, one, device="cpu").attributes for one in (pool, packed))
    (ranked,), (same,) = plain.values(), again.values()
    assert ranked.order == same.order


def test_a_target_is_trained_after_it(made, tmp_path):
    _, spec, pool, *_ = made
    ranking = rank_sources(spec, pool, device="cpu")
    config = ValidationConfig(
        strategy="houlsby",
        top=1,
        sources=("wiki",),
        seeds=1,
        controls=(Arm.NONE,),
        transfer=CHEAP,
    )
    result = validate_ranking(ranking, config, tmp_path / "run", pool=pool, device="cpu")
    (found,) = result.attributes.values()
    assert "wiki" in {arm.source for arm in found.arms}
    assert not result.skipped


def test_a_comparison_starts_from_it_and_trains_no_labels_beside_it(made, tmp_path):
    _, spec, pool, *_ = made
    config = ComparisonConfig(
        strategies=("features", "multitask:sources"), sources=("wiki",), seeds=1, transfer=CHEAP
    )
    opened = open_comparison(spec, config, pool=pool, device="cpu")
    result = compare_strategies(opened, tmp_path / "c")
    (found,) = result.attributes.values()
    by_name = {one.strategy: one for one in found.strategies}
    assert by_name["features"].source == "wiki"
    assert by_name["features"].runs == 1
    assert result.failures == ()
    assert opened.plan.strategies == ("features",)


JOINT = ("multitask:sources", "sequential:sources", "fusion:sources", "stack:source")


@pytest.mark.parametrize("sources", [("wiki", "cats"), ("wiki",)])
def test_the_plan_says_which_strategies_go_without_it(made, sources):
    """What learns labels of sources gets the others; what starts from encoders gets it too."""
    _, spec, pool, *_ = made
    learning = (*JOINT, "prototype:sources")
    config = ComparisonConfig(
        strategies=("full", "ensemble:features", *learning),
        sources=sources,
        seeds=1,
        transfer=CHEAP,
    )
    plan = open_comparison(spec, config, pool=pool, device="cpu").plan
    used = {cell.strategy: (cell.source, *cell.sources) for cell in plan.trials}
    left_out = {skip.source: skip.reason for skip in plan.skipped}
    assert used.pop("full") == ("wiki",)
    assert used.pop("ensemble:features") == ("none", *sources)
    assert used == {name: ("none", "cats") for name in learning if "cats" in sources}
    for name in learning:
        assert left_out[f"wiki for {name}"] == "it is a corpus without labels to learn"
        if sources == ("wiki",):
            assert "each of these is a corpus without any" in left_out[name]


def test_what_it_made_is_a_base_model_for_which_maps_are_fitted_anew(made, tmp_path):
    _, spec, pool, specs, config = made
    kept = config.model_copy(update={"keep_models": True})
    train_pool(specs[:1], tmp_path / "kept", kept, device="cpu")
    adapted = str(tmp_path / "kept" / "sources" / "wiki" / "model")
    with pytest.raises(PoolError, match="a changed base is a new base"):
        rank_sources(spec, pool, device="cpu", base=adapted)
    changed = config.model_copy(update={"encoder": EncoderConfig(model=adapted, max_length=32)})
    train_pool(specs[1:], tmp_path / "anew", changed, device="cpu")
    anew = rank_sources(spec, Pool.open(tmp_path / "anew"), device="cpu")
    (ranked,) = anew.attributes.values()
    assert ranked.order == ["cats"]
    (before,) = rank_sources(spec, pool, device="cpu").attributes.values()
    assert ranked.base_score != before.base_score


def test_no_lesson_is_made_of_it():
    def source(task):
        return SourceTask(task.id, lambda: Lesson(task, task.train), lambda: None)

    labelled = toy_task(Problem.CLASSIFICATION)
    plain = type(labelled)(
        id="wiki",
        problem=Problem.CORPUS,
        metric=Metric.LOG_LIKELIHOOD,
        label_names=(),
        splits=labelled.splits,
    )
    found = [name for name, _ in source_lessons("x", [source(plain), source(labelled)])]
    assert found == [f"source {labelled.id}"]
