"""A pool of fetched maps ranks, shows and validates as a trained one does, or says why not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from esm.common.errors import PoolError, RankingError
from esm.common.storage import read_json, write_json
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig, Pooling
from esm.inference.predict import predict_file
from esm.maps.forms import MapForm
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.hub.hub import Hub
from esm.pool.hub.pull import pull_pool
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.ranking.result import RankConfig
from esm.report.pool import pool_tables
from esm.scorers.logme import logme
from esm.tasks.load import load_target, load_targets, load_task
from esm.tasks.spec import TaskSpec
from esm.training.settings import FineTuneConfig
from esm.trials.plan import plan_validation
from esm.trials.run import dry_run, validate_ranking
from esm.trials.settings import ValidationConfig
from tests.hub_stand_in import hub_stand_in
from tests.published_maps import BASE, arrays, config, publish, publish_base
from tests.toy_folders import write_target, write_task

MAPS = {"some/ESM_1": 1, "some/ESM_2": 2, "some/ESM_3": 3, "some/ESM_4": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A pool of one map of each generation, as the Hub had them, and a target."""
    folder = tmp_path_factory.mktemp("pulled")
    with hub_stand_in() as hub:
        publish_base(hub)
        for name, generation in MAPS.items():
            publish(hub, name, config(generation), tags=(f"base_model:{BASE}",))
        pull_pool(BASE, folder / "pool", hub=Hub(hub.endpoint))
    return folder / "pool", TaskSpec(location=str(write_target(folder / "posts")))


@pytest.fixture(scope="module")
def ranking(world, tiny_bert):
    return rank_sources(world[1], Pool.open(world[0]), device="cpu", base=str(tiny_bert))


def copied(pool, folder, **base):
    """Return a copy of a pool with something else in its base model's identity."""
    shutil.copytree(pool, folder)
    document = read_json(folder / "pool.json")
    document["base"] |= base
    write_json(folder / "pool.json", document)
    return Pool.open(folder)


def test_all_generations_are_ranked_by_the_peers_pooling(world, ranking, tiny_bert):
    encoder = Encoder.load(
        EncoderConfig(model=str(tiny_bert), pooling=Pooling.POOLER, max_length=64), "cpu"
    )
    for name, task in load_target(world[1]).attributes.items():
        base = encoder.embed(task.train.texts).last.astype(np.float64)
        ranked = ranking.attributes[name]
        assert sorted(ranked.order) == sorted(MAPS)
        for line in ranked.ranking:
            weight, bias = arrays(int(line.source[-1]))
            weights = len(task.train) / (2 * np.bincount(task.train.labels)[task.train.labels])
            expected = logme(
                base @ weight.T + bias, task.train.labels, variant="full", weights=weights
            )
            assert line.score == pytest.approx(expected, abs=1e-5)
            assert line.r2 is None
            assert line.size == (None if line.source == "some/ESM_1" else 1000)


def test_a_ranking_says_which_maps_were_taken(ranking):
    assert RankConfig().form is None
    assert ranking.config.form is MapForm.PUBLISHED


def test_a_ranking_remembers_where_the_base_model_lies(world, ranking, tiny_bert, tmp_path):
    pool = Pool.open(world[0])
    assert ranking.base == str(tiny_bert)
    settings = ValidationConfig(strategy="features", top=1, controls=("none",), seeds=1)
    result = validate_ranking(ranking, settings, tmp_path / "run", device="cpu")
    assert set(result.winners.values()) == {"none"}  # the source's own data are not to be had
    (tmp_path / "new.jsonl").write_text('{"text": "the film was good"}')
    found = predict_file(tmp_path / "run", tmp_path / "new.jsonl", device="cpu")
    assert all(one.labels[0] is not None for one in found.attributes.values())
    # Of two folders that go by the base model's name, each has runs of its own.
    targets = load_targets(world[1])
    elsewhere = ranking.model_copy(update={"base": "other"})
    plans = [plan_validation(one, pool, targets, settings) for one in (ranking, elsewhere)]
    first, second = ({run.key.base for run in plan.trials} for plan in plans)
    assert not first & second


def test_no_source_with_such_a_licence(world):
    with pytest.raises(RankingError, match=r"none of the 4 sources of .* meets --licence gpl,mpl"):
        rank_sources(world[1], Pool.open(world[0]), RankConfig(licences=("gpl", "mpl")))


def test_the_weights_cannot_be_compared_and_that_is_said(world, tiny_bert, caplog):
    rank_sources(world[1], Pool.open(world[0]), device="cpu", base=str(tiny_bert))
    assert f"only name their base model '{BASE}'" in caplog.text


def test_another_base_model_is_refused(world, tmp_path, tiny_bert):
    pool = Pool.open(world[0])
    with pytest.raises(PoolError, match=f"'some/other' is not '{BASE}', for which the maps"):
        rank_sources(world[1], pool, base="some/other")
    other = copied(world[0], tmp_path / "pool", num_layers=12)
    with pytest.raises(PoolError, match="num_layers '2' instead of '12'"):
        rank_sources(world[1], other, base=str(tiny_bert))


def test_anchored_maps_are_not_there(world, tiny_bert):
    config = RankConfig(form=MapForm.ANCHORED, strict=True)
    with pytest.raises(PoolError, match=r"no anchored map; expected one of published; try: --map"):
        rank_sources(world[1], Pool.open(world[0]), config, base=str(tiny_bert))


def test_a_target_of_the_publishers_dataset_is_left_out(world, tiny_bert, monkeypatch):
    target = load_target(world[1])
    monkeypatch.setattr("esm.ranking.rank.load_targets", lambda spec: (target,))
    spec = TaskSpec(location="owner/data", config="default")
    ranking = rank_sources(spec, Pool.open(world[0]), device="cpu", base=str(tiny_bert))
    for ranked in ranking.attributes.values():
        assert ranked.order == ["some/ESM_1"]
        (reason,) = {skip.reason for skip in ranked.skipped}
        assert reason.startswith("it was published by others, who may have trained it on test")


def test_sources_cannot_be_trained_into_it(world, tmp_path, tiny_bert):
    pool = copied(world[0], tmp_path / "pool", model=str(tiny_bert))
    task = TaskSpec(location=str(write_task(tmp_path / "cat")))
    with pytest.raises(PoolError, match="has no anchors: its maps come from the Hub"):
        train_pool([task], pool.folder, TrainConfig(), device="cpu")
    with pytest.raises(PoolError, match="has no anchors"):
        pool.lift()


def test_tables_show_what_is_known(world):
    pool = Pool.open(world[0])
    (table,) = pool_tables(pool, *pool.entries())
    assert [row[0] for row in table.rows] == sorted(MAPS)
    assert any("maps from the Hub" in line for line in table.notes)


@pytest.mark.slow
def test_a_source_is_made_again_as_its_publisher_says_or_its_arm_fails(
    world, ranking, tmp_path, monkeypatch
):
    pool = Pool.open(world[0])
    settings = ValidationConfig(strategy="features", top=4, controls=("none",), seeds=1)
    plan = plan_validation(ranking, pool, load_targets(world[1]), settings)
    assert len({run.key.source_hash for run in plan.trials}) == 5
    _, estimate = dry_run(ranking, settings, tmp_path / "run", pool=pool)
    assert estimate.fine_tunings == 4
    assert estimate.seconds > 0

    used = []
    rows = TaskSpec(location=str(write_task(tmp_path / "cat")))

    def fine_tune(base, task, config):
        used.append((task.id, config))
        return type("Tuned", (), {"encoder": base})

    monkeypatch.setattr("esm.tasks.load.load_task", lambda spec: load_task(rows))
    monkeypatch.setattr("esm.training.sources.tune_on_source", fine_tune)
    result = validate_ranking(ranking, settings, tmp_path / "run", pool=pool, device="cpu")
    assert {failure.source for failure in result.failures} == {"some/ESM_1"}
    assert "does not say where its data lie" in result.failures[0].reason
    assert {settings for _, settings in used} == {
        FineTuneConfig.paper().model_copy(
            update={"weight_decay": 0.01, "max_examples": 1000, "seed": 42}
        )
    }


# --------------------------------------------------------------------------------- command line


def esm(*arguments, code=0):
    result = CliRunner().invoke(app, ["--quiet", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.mark.slow
def test_the_command_line_pulls_lists_and_shows(tmp_path, monkeypatch):
    pool = tmp_path / "pool"
    with hub_stand_in() as hub:
        publish_base(hub)
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        for name in ("some/ESM_a", "some/ESM_b"):
            publish(hub, name, config(4, num_examples=ord(name[-1])))
        listed = json.loads(esm("pool", "ls", "--base", BASE, "--json"))
        assert [each["repo"] for each in listed["maps"]] == ["some/ESM_a", "some/ESM_b"]
        out = tmp_path / "report.csv"
        filters = ("--filter", "rows=98,task")
        report = esm(
            "pool", "pull", "--base", BASE, "--pool", pool, *filters, "--out", out, "--json"
        )
        assert json.loads(report)["left_out"] == {"rows": 1}
        assert out.read_text().splitlines()[1] == "some/ESM_b,fetched,"
        assert "were there" in esm("pool", "pull", "--base", BASE, "--pool", pool)
        esm(
            "pool", "pull", "--base", BASE, "--pool", tmp_path / "x", "--filter", "rows=999", code=1
        )
        esm("pool", "pull", "--base", BASE, "--pool", pool, "--filter", "rows=a", code=2)
    assert "some/ESM_b" in esm("show", pool)
    assert json.loads(esm("show", pool, "--json"))["manifest"]["lift"] is None


def test_the_command_line_writes_what_it_would_publish(world, tmp_path):
    arguments = ("pool", "push", "--pool", world[0], "--repo", "me", "--base", BASE)
    esm(*arguments, "--dry-run", code=2)
    esm(*arguments, "--out", tmp_path, code=2)
