"""A changed base model: the pool says so, and its maps are fitted anew in another pool."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from esm.common.errors import PoolError
from esm.common.storage import read_json, write_json
from esm.encoder.settings import EncoderConfig
from esm.maps.forms import MapForm
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool
from esm.pool.rebase import rebase_pool
from esm.tasks.spec import TaskSpec
from esm.training.settings import FineTuneConfig
from tests.toy_folders import texts, write_task

pytestmark = pytest.mark.slow

FINE_TUNE = FineTuneConfig(num_epochs=2, learning_rate=1e-3)


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
    """A pool of a corpus, whose tuned encoder is the changed base, and two labelled tasks."""
    folder = tmp_path_factory.mktemp("rebase")
    (folder / "posts.txt").write_text("\n".join(texts(80, seed=77)), encoding="utf-8")
    write_task(folder / "cats", "cat")
    write_task(folder / "suns", "sun", seed=3)
    train_pool(specs(folder), folder / "pool", settings(tiny_bert, keep_models=True), device="cpu")
    return folder, Pool.open(folder / "pool")


def test_a_changed_base_is_refused_by_its_pool_which_says_what_to_do(made, tiny_bert):
    folder, pool = made
    adapted = EncoderConfig(model=str(pool.entry("posts").model_folder), max_length=32)
    config = settings(tiny_bert).model_copy(update={"encoder": adapted})
    with pytest.raises(PoolError, match=r"a changed base is a new base.*esm pool rebase"):
        train_pool(specs(folder), pool.folder, config, device="cpu")


@pytest.fixture(scope="module")
def rebased(made, tmp_path_factory):
    _, pool = made
    adapted = EncoderConfig(model=str(pool.entry("posts").model_folder))
    folder = tmp_path_factory.mktemp("rebased") / "pool"
    return adapted, rebase_pool(pool, folder, adapted, device="cpu"), Pool.open(folder)


def test_for_a_changed_base_all_maps_are_refitted(made, rebased, tiny_bert, tmp_path):
    folder, pool = made
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


def test_it_is_said_that_the_maps_do_not_hold_and_a_second_call_goes_on(made, rebased, caplog):
    _, pool = made
    adapted, _, new = rebased
    caplog.set_level("INFO")
    again = rebase_pool(pool, new.folder, adapted, device="cpu")
    assert again.present == ("cats", "posts", "suns")
    assert "the 3 maps of" in caplog.messages[0]
    assert "do not hold for it" in caplog.messages[0]


def test_sources_keep_their_own_settings(made, tiny_bert, tmp_path):
    folder, pool = made
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


def test_a_source_that_cannot_be_read_again_is_named_or_an_error(made, tiny_bert, tmp_path):
    folder, pool = made
    given = specs(folder)[1:]
    train_pool(given, tmp_path / "pool", settings(tiny_bert), device="cpu")
    path = tmp_path / "pool" / "sources" / "suns" / "source.json"
    write_json(path, read_json(path) | {"task": None})
    adapted = EncoderConfig(model=str(pool.entry("posts").model_folder))
    old = Pool.open(tmp_path / "pool")
    report = rebase_pool(old, tmp_path / "new", adapted, device="cpu")
    assert report.trained == ("cats",)
    assert [skip.source for skip in report.skipped] == ["suns"]
    assert "does not say where its data lie" in report.skipped[0].reason
    with pytest.raises(PoolError, match="source suns cannot be made again"):
        rebase_pool(old, tmp_path / "other", adapted, device="cpu", strict=True)


def test_what_cannot_be_rebased_is_refused(made, tiny_bert, tmp_path):
    _, pool = made
    adapted = EncoderConfig(model=str(pool.entry("posts").model_folder))
    with pytest.raises(PoolError, match="expected another folder"):
        rebase_pool(pool, pool.folder, adapted, device="cpu")
    same = EncoderConfig(model=str(tiny_bert))
    with pytest.raises(PoolError, match=r"is the one that pool .* was built with"):
        rebase_pool(pool, tmp_path / "new", same, device="cpu")
    assert not (tmp_path / "new").exists()


def test_the_verbs_do_the_same(made, tiny_bert, tmp_path):
    folder, _ = made
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
    assert json.loads(run(app, [*changed, *place]).stdout)["present"] == ["posts"]
    lacking = run(app, ["pool", "rebase", str(tmp_path / "pool"), *place])
    assert lacking.exit_code == 2
