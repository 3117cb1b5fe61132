"""A corpus as a source all the way on a tiny model: pool, ranking, comparison, a changed base."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from esm.app import app
from esm.arms import Arm, ValidationConfig
from esm.build import train_pool
from esm.comparison.config import ComparisonConfig
from esm.comparison.opening import open_comparison
from esm.comparison.run import compare_strategies
from esm.entry import TrainConfig
from esm.errors import PoolError, RankingError, TaskError
from esm.maps import MapForm
from esm.packing import pack_pool
from esm.pool import Pool
from esm.pool_filters import SourceFilters
from esm.rank import rank_sources
from esm.ranking import RankConfig
from esm.rebase import rebase_pool
from esm.scorers.registry import ScorerName
from esm.settings import EncoderConfig, FineTuneConfig, TransferConfig
from esm.storage import read_json
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Metric, Problem
from esm.validate import validate_ranking
from esm.verify import verify_pool
from tests.toy_folders import texts, write_target, write_task

pytestmark = pytest.mark.slow

CHEAP = TransferConfig(num_epochs=1, batch_size=16, learning_rate=1e-2, adapter_size=4)
FINE_TUNE = FineTuneConfig(num_epochs=2, learning_rate=1e-3)
# They ask for what a corpus does not have.
OF_LABELS = {"leep", "nce", "taskemb"}
# It asks for a table of other datasets' results.
OF_TRUTH = {"static"}


def settings(tiny_bert, **changes):
    return TrainConfig(
        encoder=EncoderConfig(model=str(tiny_bert), max_length=32),
        fine_tune=FINE_TUNE,
        anchors_per_task=20,
        lift_width=16,
        rank=4,
        **changes,
    )


def specs(folder):
    return [
        TaskSpec(location=str(folder / "posts.txt"), kind="corpus", language="en"),
        TaskSpec(location=str(folder / "cats")),
        TaskSpec(location=str(folder / "suns")),
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_bert):
    """A pool of a corpus and two labelled tasks, and a target."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "posts.txt").write_text("\n".join(texts(80, seed=77)), encoding="utf-8")
    write_task(folder / "cats", "cat")
    write_task(folder / "suns", "sun", seed=3)
    write_target(folder / "target")
    report = train_pool(
        specs(folder), folder / "pool", settings(tiny_bert, keep_models=True), device="cpu"
    )
    return folder, report, Pool.open(folder / "pool")


def target(folder):
    return TaskSpec(location=str(folder / "target"))


def test_a_corpus_is_an_entry_like_the_others_but_for_its_head(made):
    _, report, pool = made
    assert report.trained == ("cats", "posts", "suns")
    entry = pool.entry("posts")
    record = entry.record
    assert (record.problem, record.metric) == (Problem.CORPUS, Metric.PERPLEXITY)
    assert record.label_names == ()
    assert record.task.kind == "corpus"
    assert record.num_train == 80
    assert record.quality["perplexity"] < record.quality["perplexity_before"]
    assert record.quality["loss"] == pytest.approx(np.log(record.quality["perplexity"]))
    assert entry.load_map(MapForm.ANCHORED).width == 32
    assert record.maps[MapForm.ANCHORED].r2_source is not None
    with pytest.raises(PoolError, match=r"source posts has no head"):
        entry.load_head()
    vectors = entry.load_vectors()
    assert vectors.mean.any()
    assert not vectors.fisher.any()
    assert len(vectors.vocabulary) > 5
    assert len(entry.load_fingerprint(pool.fingerprint_key()).train) == 80


def test_its_map_predicts_its_tuned_encoder(made):
    _, _, pool = made
    fit = pool.entry("posts").record.maps[MapForm.ANCHORED]
    assert 0.5 < fit.r2_anchors <= 1


def test_the_same_command_again_trains_nothing_and_a_changed_corpus_is_named(
    made, tiny_bert, tmp_path
):
    folder, _, pool = made
    again = train_pool(
        specs(folder), pool.folder, settings(tiny_bert, keep_models=True), device="cpu"
    )
    assert again.present == ("cats", "posts", "suns")
    (tmp_path / "posts.txt").write_text("\n".join(texts(81, seed=78)), encoding="utf-8")
    changed = specs(folder)[0].model_copy(update={"location": str(tmp_path / "posts.txt")})
    config = settings(tiny_bert, keep_models=True)
    other = train_pool([changed], pool.folder, config, device="cpu")
    assert [skip.source for skip in other.skipped] == ["posts"]
    assert "other settings or other data" in other.skipped[0].reason
    with pytest.raises(PoolError, match="other settings or other data"):
        train_pool([changed], pool.folder, config, device="cpu", strict=True)


def test_its_map_does_not_hang_on_what_else_is_trained(made, tiny_bert, tmp_path):
    """A pool that is stopped after one source and goes on has the same maps."""
    folder, _, pool = made
    train_pool(specs(folder)[::-1], tmp_path / "pool", settings(tiny_bert), device="cpu")
    first, second = (
        one.entry("posts").load_map(MapForm.ANCHORED).tensors()
        for one in (pool, Pool.open(tmp_path / "pool"))
    )
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_an_unusable_corpus_is_skipped_and_named_or_an_error(made, tiny_bert, tmp_path):
    folder, *_ = made
    (tmp_path / "same.txt").write_text("the cat runs\n" * 30, encoding="utf-8")
    given = [TaskSpec(location=str(tmp_path / "same.txt"), kind="corpus"), *specs(folder)[1:2]]
    report = train_pool(given, tmp_path / "pool", settings(tiny_bert), device="cpu")
    assert report.trained == ("cats",)
    assert "has 1 different text in 30" in report.skipped[0].reason
    with pytest.raises(TaskError, match="has 1 different text in 30"):
        train_pool(given, tmp_path / "other", settings(tiny_bert), device="cpu", strict=True)


@pytest.mark.parametrize("scorer", sorted({*ScorerName} - OF_LABELS - OF_TRUTH))
def test_it_is_ranked_by_every_scorer_that_needs_no_labels_of_it(made, scorer):
    folder, _, pool = made
    found = rank_sources(target(folder), pool, RankConfig(scorer=scorer), device="cpu")
    for ranking in found.attributes.values():
        assert {line.source for line in ranking.ranking} == {"cats", "posts", "suns"}
        assert np.isfinite([line.score for line in ranking.ranking]).all()


@pytest.mark.parametrize("scorer", sorted(OF_LABELS))
def test_it_is_skipped_with_a_reason_where_labels_are_needed(made, scorer):
    folder, _, pool = made
    config = RankConfig(scorer=scorer)
    found = rank_sources(target(folder), pool, config, device="cpu").attributes["cat"]
    assert {line.source for line in found.ranking} == {"cats", "suns"}
    ((source, reason),) = [(skip.source, skip.reason) for skip in found.skipped]
    assert source == "posts"
    assert "is a corpus without labels, so that it has no" in reason
    with pytest.raises((PoolError, RankingError), match="corpus without labels"):
        strict = RankConfig(scorer=scorer, strict=True)
        rank_sources(target(folder), pool, strict, device="cpu")


def test_packed_it_scores_the_same_and_is_whole(made, tmp_path):
    folder, _, pool = made
    pack_pool(pool, tmp_path / "packed")
    packed = Pool.open(tmp_path / "packed")
    for one in (pool, packed):
        report = verify_pool(one)
        assert (report.sources, report.faults) == (3, ())
    kept, was = (one.entry("posts").record.model_dump(exclude={"maps"}) for one in (packed, pool))
    assert kept == was
    before, after = (
        {
            line.source: line.score
            for line in rank_sources(target(folder), one, RankConfig(scorer="logme"), device="cpu")
            .attributes["dog"]
            .ranking
        }
        for one in (pool, packed)
    )
    assert before == pytest.approx(after, abs=1e-6)


def test_it_is_listed_by_its_kind_with_its_perplexity_before_and_after(made):
    _, _, pool = made
    entries, _ = pool.entries()

    def kept(*words):
        wanted = SourceFilters.parse(words)
        return [entry.id for entry in entries if wanted.keeps(entry.record)]

    assert kept("kind=corpus") == ["posts"]
    assert kept("metric=perplexity") == ["posts"]
    # A perplexity of 40 is no quality above 0.1.
    assert "posts" not in kept("quality=0.1")
    shown = CliRunner().invoke(app, ["pool", "ls", str(pool.folder), "--json"])
    listed = {one["id"]: one["quality"] for one in json.loads(shown.stdout)["sources"]}
    assert listed["posts"] == pool.entry("posts").record.quality


@pytest.mark.parametrize("strategy", ["full", "houlsby"])
def test_a_validation_tunes_on_the_corpus_first(made, tmp_path, strategy):
    folder, _, pool = made
    ranking = rank_sources(target(folder), pool, RankConfig(scorer="size"), device="cpu")
    config = ValidationConfig(
        attributes=("cat",),
        strategy=strategy,
        top=1,
        sources=("posts",),
        seeds=2,
        source_seeds=2,  # the second is tuned anew
        controls=(Arm.NONE,),
        transfer=CHEAP,
    )
    result = validate_ranking(ranking, config, tmp_path / "run", pool=pool, device="cpu")
    assert result.failures == ()
    arms = {arm.source: arm for arm in result.attributes["cat"].arms}
    assert arms["posts"].runs == 2
    assert 0 <= arms["posts"].mean <= 1


def test_strategies_that_learn_the_labels_of_sources_go_without_it(made, tmp_path):
    folder, _, pool = made
    joint = (
        "multitask:sources",
        "sequential:sources",
        "fusion:sources",
        "stack:source",
        "prototype:sources",
    )
    config = ComparisonConfig(
        attributes=("cat",),
        strategies=("full", "ensemble:features", *joint),
        sources=("posts", "cats"),
        seeds=1,
        transfer=CHEAP,
    )
    plan = open_comparison(target(folder), config, pool=pool, device="cpu").plan
    used = {cell.strategy: (cell.source, *cell.sources) for cell in plan.cells}
    assert used["full"] == ("posts",)
    assert used["ensemble:features"] == ("none", "posts", "cats")
    assert all(used[name] == ("none", "cats") for name in joint)
    left_out = {skip.source: skip.reason for skip in plan.skipped}
    for name in joint:
        assert left_out[f"posts for {name}"] == "it is a corpus without labels to learn"
    alone = config.model_copy(update={"sources": ("posts",)})
    opened = open_comparison(target(folder), alone, pool=pool, device="cpu").plan
    assert set(opened.strategies) == {"full", "ensemble:features"}
    refused = {skip.source: skip.reason for skip in opened.skipped}
    for name in joint:
        assert "each of these is a corpus without any" in refused[name]


def test_a_comparison_starts_from_the_corpus(made, tmp_path):
    folder, _, pool = made
    config = ComparisonConfig(
        attributes=("cat",),
        strategies=("full", "houlsby", "ensemble:features"),
        sources=("posts",),
        seeds=1,
        transfer=CHEAP,
    )
    opened = open_comparison(target(folder), config, pool=pool, device="cpu")
    found = compare_strategies(opened, tmp_path / "run")
    assert not found.failures
    assert set(opened.plan.strategies) == {"full", "houlsby", "ensemble:features"}


# ------------------------------------------------------------------------------ a changed base


def test_a_changed_base_is_refused_by_its_pool_which_says_what_to_do(made, tiny_bert):
    folder, _, pool = made
    adapted = EncoderConfig(model=str(pool.entry("posts").model_folder), max_length=32)
    config = settings(tiny_bert).model_copy(update={"encoder": adapted})
    with pytest.raises(PoolError, match=r"a changed base is a new base.*esm pool rebase"):
        train_pool(specs(folder), pool.folder, config, device="cpu")


@pytest.fixture(scope="module")
def rebased(made, tmp_path_factory):
    _, _, pool = made
    adapted = EncoderConfig(model=str(pool.entry("posts").model_folder))
    folder = tmp_path_factory.mktemp("rebased") / "pool"
    return adapted, rebase_pool(pool, folder, adapted, device="cpu"), Pool.open(folder)


def test_for_a_changed_base_all_maps_are_refitted(made, rebased, tiny_bert, tmp_path):
    folder, _, pool = made
    _, report, new = rebased
    assert report.trained == ("cats", "posts", "suns")
    assert new.manifest.base.weights != pool.manifest.base.weights
    assert new.manifest.base.max_length == pool.manifest.base.max_length
    assert new.manifest.anchors == pool.manifest.anchors
    for source in report.trained:
        before, after = (
            one.entry(source).load_map(MapForm.ANCHORED).tensors() for one in (pool, new)
        )
        assert any(not np.array_equal(before[name], after[name]) for name in before)
        assert new.entry(source).record.fine_tune == FINE_TUNE
    # They are those of a pool that was trained from that base in the first place.
    encoder = EncoderConfig(model=str(pool.entry("posts").model_folder), max_length=32)
    config = settings(tiny_bert).model_copy(update={"encoder": encoder})
    train_pool(specs(folder), tmp_path / "fresh", config, device="cpu")
    fresh = Pool.open(tmp_path / "fresh").entry("suns").load_map(MapForm.ANCHORED).tensors()
    refitted = new.entry("suns").load_map(MapForm.ANCHORED).tensors()
    assert all(np.array_equal(fresh[name], refitted[name]) for name in fresh)


def test_it_is_said_that_the_maps_do_not_hold_and_a_second_call_goes_on(made, rebased, monkeypatch):
    _, _, pool = made
    adapted, _, new = rebased
    said = []
    monkeypatch.setattr("esm.rebase.note", said.append)
    again = rebase_pool(pool, new.folder, adapted, device="cpu")
    assert again.present == ("cats", "posts", "suns")
    assert "the 3 maps of" in said[0]
    assert "do not hold for it" in said[0]


def test_sources_keep_their_own_settings(made, tiny_bert, tmp_path):
    folder, _, pool = made
    other = settings(tiny_bert).model_copy(
        update={
            "fine_tune": FINE_TUNE.model_copy(update={"num_epochs": 1}),
            "forms": (MapForm.PUBLISHED,),
        }
    )
    train_pool(specs(folder)[1:2], tmp_path / "pool", settings(tiny_bert), device="cpu")
    train_pool(specs(folder)[2:], tmp_path / "pool", other, device="cpu")
    adapted = EncoderConfig(model=str(pool.entry("posts").model_folder))
    rebase_pool(Pool.open(tmp_path / "pool"), tmp_path / "new", adapted, device="cpu")
    new = Pool.open(tmp_path / "new")
    assert new.entry("cats").record.fine_tune.num_epochs == 2
    assert set(new.entry("cats").record.maps) == {MapForm.ANCHORED}
    assert new.entry("suns").record.fine_tune.num_epochs == 1
    assert set(new.entry("suns").record.maps) == {MapForm.PUBLISHED}


def test_what_cannot_be_rebased_is_refused(made, tiny_bert, tmp_path):
    _, _, pool = made
    adapted = EncoderConfig(model=str(pool.entry("posts").model_folder))
    with pytest.raises(PoolError, match="expected another folder"):
        rebase_pool(pool, pool.folder, adapted, device="cpu")
    same = EncoderConfig(model=str(tiny_bert))
    with pytest.raises(PoolError, match=r"is the one that pool .* was built with"):
        rebase_pool(pool, tmp_path / "new", same, device="cpu")
    assert not (tmp_path / "new").exists()


def test_the_verbs_do_the_same(made, tiny_bert, tmp_path):
    folder, _, _ = made
    run = CliRunner().invoke
    cheap = ["--epochs", "1", "--anchors-per-task", "20", "--lift-width", "16", "--rank", "4"]
    base = ["--base", str(tiny_bert), "--max-length", "32", "--device", "cpu", "--json"]
    corpus = ["train", str(folder / "posts.txt"), "--kind", "corpus", "--keep-models"]
    made_pool = run(app, [*corpus, "--pool", str(tmp_path / "pool"), *cheap, *base])
    assert made_pool.exit_code == 0, made_pool.output
    assert json.loads(made_pool.stdout)["trained"] == ["posts"]
    entry = tmp_path / "pool" / "sources" / "posts"
    assert not (entry / "head.safetensors").exists()
    assert read_json(entry / "source.json")["problem"] == "corpus"
    changed = ["pool", "rebase", str(tmp_path / "pool"), "--base", str(entry / "model")]
    place = ["--pool", str(tmp_path / "new"), "--device", "cpu", "--json"]
    rebased = run(app, [*changed, *place])
    assert rebased.exit_code == 0, rebased.output
    assert json.loads(rebased.stdout)["trained"] == ["posts"]
    lacking = run(app, ["pool", "rebase", str(tmp_path / "pool"), *place])
    assert lacking.exit_code == 2
    assert Path(tmp_path / "new" / "pool.json").is_file()
