"""Real runs on tiny models: results, resumption, failures."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest

import esm.training.finetune
import esm.trials.run
import esm.trials.worker
from esm.common.errors import (
    BusyError,
    EncoderError,
    PoolError,
    RankingError,
    StorageError,
    TaskError,
    ValidationError,
)
from esm.common.storage import folder_lock, read_json, write_json
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.inference.predict import predict_file
from esm.metrics.evaluate import evaluate_rankings
from esm.ranking.result import ranking_table
from esm.strategies.features import Features
from esm.strategies.settings import TransferConfig
from esm.tasks.load import load_targets
from esm.tasks.spec import SplitSpec
from esm.tasks.task import joint_hash
from esm.trials.encoders import MODELS_NAME
from esm.trials.ledger import LEDGER_NAME, Ledger
from esm.trials.models import TRAINED_NAME, ModelStore
from esm.trials.results import RESULT_NAME, Validation, is_run, results_table
from esm.trials.run import dry_run, validate_ranking
from esm.trials.settings import Arm, ValidationConfig
from esm.trials.winners import winners
from tests.paths import ROOT
from tests.small_world import SOURCES, make_world

pytestmark = pytest.mark.slow

CHEAP = ValidationConfig(
    strategy="features", attributes=("harmful",), top=2, random_sources=1, seeds=2
)


@pytest.fixture(scope="module")
def _made(tmp_path_factory, tiny_bert):
    config = EncoderConfig(model=str(tiny_bert), max_length=32)
    identity = Encoder.load(config, device="cpu").identity
    folder = tmp_path_factory.mktemp("world")
    return folder, make_world(folder, identity)


@pytest.fixture
def world(_made):
    """The shared world; tests that spoil it make their own."""
    return _made[1]


@pytest.fixture(scope="module")
def reference(_made, tmp_path_factory):
    """An uninterrupted validation, its folder and its values by key."""
    out = tmp_path_factory.mktemp("reference")
    result = validate_ranking(_made[1].ranking, CHEAP, out, device="cpu")
    return out, result, values_of(out)


@pytest.fixture
def no_fine_tuning(monkeypatch):
    """Fail where a source would be fine-tuned."""

    def refuse(*arguments):
        raise AssertionError("fine-tuned although a tuned encoder was there")

    monkeypatch.setattr(esm.training.finetune, "fine_tune", refuse)


def own_world(tmp_path, identity):
    return make_world(tmp_path / "own", identity)


def values_of(out):
    with Ledger(out / LEDGER_NAME) as ledger:
        return {row.key: (row.source, row.seed, row.metrics) for row in ledger.rows()}


# ----------------------------------------------------------------------------------- results


def test_every_arm_is_trained_and_compared_with_no_transfer(reference):
    out, result, _ = reference
    found = result.attributes["harmful"]
    assert [arm.arm for arm in found.arms] == [Arm.NONE, Arm.PICK, Arm.PICK, Arm.RANDOM]
    assert (result.planned, result.finished) == (8, 8)
    with Ledger(out / LEDGER_NAME) as ledger:
        rows = ledger.rows()
    for arm in found.arms:
        values = [row.value for row in rows if row.source == arm.source]
        assert arm.mean == pytest.approx(sum(values) / 2)
        assert arm.runs == 2
        assert 0 < arm.trained_share < 0.1
    none, pick = found.arms[:2]
    assert none.gain is None
    assert pick.gain == pytest.approx(pick.mean - none.mean)
    assert set(pick.metrics) == {"macro_f1", "accuracy", "matthews"}
    assert set(rows[0].versions) == {"esm-transfer", "torch", "transformers", "python"}


@pytest.mark.parametrize("name", ["lora", "head", "prototype", "dapt+features"])
def test_strategies_go_all_the_way_to_labels(world, tmp_path, name):
    changes = {
        "strategy": name,
        "top": 1,
        "controls": (Arm.NONE,),
        "seeds": 1,
        "transfer": TransferConfig(num_epochs=1, own=OWN[name]),
    }
    config = CHEAP.model_copy(update=changes)
    result = validate_ranking(world.ranking, config, tmp_path / "run", device="cpu")
    assert (result.finished, len(result.failures)) == (2, 0)
    with Ledger(tmp_path / "run" / LEDGER_NAME) as ledger:
        rows = ledger.rows()
    for row in rows:
        assert row.strategy == name
        assert row.stored_parameters > 0
        assert row.peak_memory is None or row.peak_memory > 1e6
    arm = result.attributes["harmful"].arms[0]
    assert arm.stored_parameters == rows[0].stored_parameters
    assert arm.remarks == rows[0].remarks
    assert bool(arm.remarks) is name.startswith("dapt")
    posts = tmp_path / "new.csv"
    posts.write_text("text\nthe film was good\na bad team\n", encoding="utf-8")
    found = predict_file(tmp_path / "run", posts, device="cpu")
    assert set(found.attributes["harmful"].labels) <= {"no", "yes"}


OWN = {
    "lora": {"lora.rank": 2},
    "head": {},
    "prototype": {},
    "dapt+features": {"dapt.epochs": 1},
}


def test_a_strategy_that_no_source_can_help_fine_tunes_none(world, tmp_path, no_fine_tuning):
    config = CHEAP.model_copy(update={"strategy": "tfidf", "seeds": 1})
    result = validate_ranking(world.ranking, config, tmp_path, device="cpu")
    assert [arm.source for arm in result.attributes["harmful"].arms] == ["none"]
    assert result.skipped[0].source == "every source"


def test_every_run_counts_its_test_rows_by_true_and_predicted_class(reference):
    out, result, _ = reference
    with Ledger(out / LEDGER_NAME) as ledger:
        rows = ledger.rows()
    for row in rows:
        hits = sum(row.confusion[i][i] for i in range(2))
        assert hits / row.num_test == pytest.approx(row.metrics["accuracy"])
    found = result.attributes["harmful"]
    assert found.label_names == ("no", "yes")
    for arm in found.arms:
        f1 = [of_class.f1 for of_class in arm.classes]
        assert sum(f1) / 2 == pytest.approx(arm.metrics["macro_f1"])
        assert [of_class.support for of_class in arm.classes] == [12, 12]


def test_realised_regret_says_over_which_sources(reference):
    _, result, _ = reference
    found = result.attributes["harmful"]
    means = {arm.source: arm.mean for arm in found.arms if arm.source != "none"}
    assert set(found.measured) == set(means)
    best = max(means.values())
    expected = 100 * (best - means["reviews"]) / best  # reviews is ranked first
    assert found.regret == {"regret@1": pytest.approx(expected)}


def test_what_derives_from_the_target_is_private(reference):
    out, result, _ = reference
    for path in out.rglob("*"):
        derived = path.is_file() and path.name != ".lock"
        assert not derived or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Validation.load(out) == result


def test_only_the_models_of_the_winner_are_kept(reference):
    out, result, _ = reference
    arms = {arm.source: arm.mean for arm in result.attributes["harmful"].arms}
    winner = max(arms, key=lambda source: (arms[source], source == "none"))
    assert result.winners == {"harmful": winner}
    (won,) = winners(out, result)
    assert [trained.record.key.seed for trained in won.models] == [0, 1]
    assert len(ModelStore(out).models()) == 2
    assert won.record.text_columns == ("text",)
    tuned = {trained.record.tuned for trained in won.models} - {None}
    assert {path.name for path in (out / MODELS_NAME).glob("*")} == tuned


def test_the_winner_labels_new_texts_as_it_labelled_the_test_rows(reference, world, tmp_path):
    out, result, values = reference
    task = world.target.attributes["harmful"]
    table = pd.DataFrame({"text": task.test.texts})
    table.to_csv(tmp_path / "new.csv", index=False)
    found = predict_file(out, tmp_path / "new.csv", device="cpu").attributes["harmful"]
    truth = [task.label_names[label] for label in task.test.labels]
    right = sum(a == b for a, b in zip(found.labels, truth, strict=True)) / len(truth)
    accuracies = [
        metrics["accuracy"]
        for source, _, metrics in values.values()
        if source == result.winners["harmful"]
    ]
    assert min(accuracies) - 0.1 <= right <= max(accuracies) + 0.1
    assert found.summary["calibration"]["accuracy"] == pytest.approx(right)


def test_fine_tuning_the_sources_is_counted_apart(reference, world):
    _, result, _ = reference
    assert result.pool == str(world.pool.folder)
    assert result.source_seconds == pytest.approx(3 * 7.2)  # two picks and a random source


def test_a_run_is_a_results_table(reference, world):
    out, result, _ = reference
    assert is_run(out)
    assert not is_run(out / LEDGER_NAME)
    judged = evaluate_rankings(ranking_table(world.ranking), results_table(out), ks=[1])
    found = judged.targets["posts/harmful"]["regret@1"]
    assert found == pytest.approx(result.attributes["harmful"].regret["regret@1"])
    assert results_table(Path("table.csv")) == Path("table.csv")


@pytest.mark.slow
def test_adapters_on_a_sample_of_the_rows_with_varied_source_seeds(world, tmp_path):
    config = ValidationConfig(
        attributes=("topic",),
        top=1,
        controls=("none",),
        seeds=2,
        source_seeds=2,
        transfer=TransferConfig(num_epochs=1, batch_size=8, adapter_size=4),
        max_train=12,
    )
    result = validate_ranking(world.ranking, config, tmp_path, device="cpu", keep_models=True)
    found = result.attributes["topic"]
    assert (found.num_train, found.num_test) == (12, 24)
    assert 0 < found.arms[0].trained_share < 0.5
    assert result.settings["num_epochs"] == 1
    assert len(list((tmp_path / MODELS_NAME).iterdir())) == 2
    assert len(ModelStore(tmp_path).models()) == 4
    with Ledger(tmp_path / LEDGER_NAME) as ledger:
        assert {row.num_train for row in ledger.rows()} == {12}
        assert [row.source_seed for row in ledger.rows()] == [None, None, 0, 1]


# --------------------------------------------------------------------------------- resumption


def test_the_same_command_again_trains_nothing(reference, world, no_fine_tuning):
    out, result, values = reference
    again = validate_ranking(world.ranking, CHEAP, out, device="cpu")
    assert again == result
    assert values_of(out) == values


def test_an_interrupted_run_goes_on_where_it_stopped(reference, world, tmp_path, monkeypatch):
    _, result, values = reference
    judge, judged = esm.trials.worker._judge, []

    def interrupted(*arguments):
        judged.append(arguments)
        if len(judged) == 4:
            raise KeyboardInterrupt
        return judge(*arguments)

    monkeypatch.setattr(esm.trials.worker, "_judge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        validate_ranking(world.ranking, CHEAP, tmp_path, device="cpu")
    assert Validation.load(tmp_path).finished == 3
    assert len(list((tmp_path / MODELS_NAME).iterdir())) == 1
    assert dry_run(world.ranking, CHEAP, tmp_path)[1].done == 3
    again = validate_ranking(world.ranking, CHEAP, tmp_path, device="cpu")
    assert len(judged) == 4 + 5
    assert values_of(tmp_path) == values
    assert again.keys == result.keys


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(reference, world, tmp_path):
    _, _, values = reference
    world.ranking.save(tmp_path / "ranking.json")
    out = tmp_path / "run"
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from esm.ranking.result import Ranking
        from esm.trials.run import validate_ranking
        from tests.unit.trials.test_validate import CHEAP

        ranking, out = map(Path, sys.argv[1:])
        validate_ranking(Ranking.load(ranking), CHEAP, out, device="cpu")
    """)
    command = [sys.executable, "-c", program, str(tmp_path / "ranking.json"), str(out)]
    child = subprocess.Popen(command, cwd=ROOT)
    try:
        # Not the ledger itself: a look could get in the way of the process that is making it.
        wait_until(lambda: finished(out) >= 3, child)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    before = values_of(out)
    assert before.items() <= values.items()
    validate_ranking(world.ranking, CHEAP, out, device="cpu")
    assert values_of(out) == values
    assert not [path for path in out.rglob("*") if path.name.startswith(".tmp-")]


def finished(out):
    return Validation.load(out).finished if (out / RESULT_NAME).is_file() else 0


def wait_until(happened, child, seconds=120):
    end = time.monotonic() + seconds
    while not happened():
        assert child.poll() is None, "the child ended by itself"
        assert time.monotonic() < end, "the child did nothing"
        time.sleep(0.01)


def test_models_of_the_winner_that_are_gone_are_trained_again(reference, world, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(reference[0], out)
    before = predictions_of(out)
    shutil.rmtree(out / TRAINED_NAME)
    shutil.rmtree(out / MODELS_NAME, ignore_errors=True)
    with pytest.raises(ValidationError, match=r"0 of the 2 trained models.*it trains what is miss"):
        predictions_of(out)
    again = validate_ranking(world.ranking, CHEAP, out, device="cpu")
    assert again == reference[1]
    assert values_of(out) == reference[2]
    assert predictions_of(out) == before


def predictions_of(out):
    path = out.parent / "new.csv"
    pd.DataFrame({"text": ["the film was good", "the vaccine was bad"]}).to_csv(path, index=False)
    return predict_file(out, path, device="cpu").attributes["harmful"].confidence.tolist()


def test_models_that_were_kept_stay_where_nothing_is_run(reference, world, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(reference[0], out)
    kept = out / MODELS_NAME / "kept"
    kept.mkdir(parents=True)
    validate_ranking(world.ranking, CHEAP, out, device="cpu")
    assert kept.is_dir()


def test_another_strategy_in_the_same_folder_is_kept_apart(reference, world, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(reference[0], out)
    config = CHEAP.model_copy(update={"max_train": 20, "top": 1, "controls": (Arm.NONE,)})
    result = validate_ranking(world.ranking, config, out, device="cpu")
    assert result.finished == 4
    assert len(values_of(out)) == 12
    assert len(results_table(out)) == 4
    with (
        Ledger(out / LEDGER_NAME) as ledger,
        pytest.raises(RankingError, match=r"results mixes config_hash .* for posts/harmful"),
    ):
        evaluate_rankings(ranking_table(world.ranking), ledger.to_truth())


def test_a_tuned_encoder_that_the_pool_keeps_is_used(_made, tiny_encoder, tmp_path, no_fine_tuning):
    world = own_world(tmp_path, tiny_encoder.identity)
    for source in SOURCES:
        tiny_encoder.save(world.pool.source_folder(source) / "model")
    result = validate_ranking(world.ranking, CHEAP, tmp_path / "run", device="cpu")
    # The kept encoders are the base model's weights here: no gain at all.
    assert {arm.gain for arm in result.attributes["harmful"].arms} == {None, 0.0}


# ----------------------------------------------------------------------------------- failures


def test_bad_sources_are_skipped_and_named_and_the_rest_goes_on(tmp_path, tiny_encoder):
    world = own_world(tmp_path, tiny_encoder.identity)
    for path in (tmp_path / "own").glob("reviews*"):
        path.unlink()
    moods = tmp_path / "own" / "moods.csv"
    table = pd.read_csv(moods)
    table["label"] = table["label"].iloc[::-1].to_numpy()
    table.to_csv(moods, index=False)
    result = validate_ranking(world.ranking, CHEAP, tmp_path / "run", device="cpu")
    gone, changed = result.failures
    assert (gone.source, gone.arm, gone.runs) == ("reviews", Arm.PICK, 2)
    assert "reviews.csv" in gone.reason
    assert (changed.source, changed.runs) == ("moods", 2)
    assert "rows of source moods have changed" in changed.reason
    assert result.finished == 4
    assert len(result.attributes["harmful"].measured) == 1
    with pytest.raises(TaskError, match=r"reviews\.csv"):
        validate_ranking(world.ranking, CHEAP, tmp_path / "run", device="cpu", strict=True)


def test_nothing_but_failures_is_an_error(tmp_path, tiny_encoder):
    world = own_world(tmp_path, tiny_encoder.identity)
    (tmp_path / "own" / "reviews.csv").unlink()
    config = CHEAP.model_copy(update={"top": 1, "controls": ()})
    with pytest.raises(ValidationError, match=r"all 2 runs failed; the first: .*reviews\.csv"):
        validate_ranking(world.ranking, config, tmp_path / "run", device="cpu")


def test_a_base_model_with_other_weights_is_refused(tmp_path, tiny_encoder):
    other = tiny_encoder.identity.model_copy(update={"weights": "0" * 64})
    world = own_world(tmp_path, other)
    with pytest.raises(PoolError, match="is not the one pool"):
        validate_ranking(world.ranking, CHEAP, tmp_path / "run", device="cpu")


@pytest.fixture
def unknown_architecture(tiny_bert, tmp_path):
    """A world whose base model is of a kind for which no adapter is known."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    config = read_json(folder / "config.json") | {"model_type": "megatron-bert"}
    write_json(folder / "config.json", config)
    encoder = Encoder.load(EncoderConfig(model=str(tiny_bert), max_length=32), device="cpu")
    return make_world(
        tmp_path / "own", encoder.identity.model_copy(update={"model": str(folder)})
    ).ranking


def test_a_dry_run_refuses_a_base_model_that_the_strategy_cannot_train(
    unknown_architecture, tmp_path
):
    config = CHEAP.model_copy(update={"strategy": "houlsby"})
    with pytest.raises(EncoderError, match="no adapter is known for the architecture 'megatron"):
        dry_run(unknown_architecture, config, tmp_path / "run")
    assert dry_run(unknown_architecture, CHEAP, tmp_path / "run")[1].pending == 8


def test_a_base_model_that_the_strategy_cannot_train_is_refused_before_any_run(
    world, tmp_path, monkeypatch, no_fine_tuning
):
    def refuse(*arguments):
        raise EncoderError("no adapter is known")

    monkeypatch.setattr(Features, "check", refuse)
    with pytest.raises(EncoderError, match="no adapter is known"):
        validate_ranking(world.ranking, CHEAP, tmp_path, device="cpu")


def test_two_processes_in_one_folder(world, tmp_path):
    with folder_lock(tmp_path), pytest.raises(BusyError, match="written by another process"):
        validate_ranking(world.ranking, CHEAP, tmp_path, device="cpu")


def test_a_dry_run_writes_nothing(world, tmp_path):
    plan, cost = dry_run(world.ranking, CHEAP, tmp_path / "run")
    assert (len(plan.trials), cost.pending) == (8, 8)
    assert cost.seconds > 0
    assert "guess" not in cost.basis
    assert not (tmp_path / "run").exists()


def test_a_dry_run_without_the_base_model_guesses(tmp_path, tiny_encoder):
    gone = tiny_encoder.identity.model_copy(update={"model": str(tmp_path / "gone")})
    ranking = own_world(tmp_path, gone).ranking
    config = CHEAP.model_copy(update={"strategy": "houlsby"})
    assert "guessed vocabulary" in dry_run(ranking, config, tmp_path / "run")[1].basis


# --------------------------------------------------------------------------------------- folds


def test_folds_are_trained_and_judged_each_on_its_own_rows(world, tmp_path):
    how = SplitSpec(method="k-fold", folds=2, repeats=2)
    spec = world.ranking.target_spec.model_copy(update={"split": how})
    targets = load_targets(spec)
    ranked = world.ranking.attributes["harmful"]
    ranked = ranked.model_copy(update={"by_fold": (("moods", *SOURCES),) * 4})
    ranking = world.ranking.model_copy(
        update={
            "target_spec": spec,
            "target_hash": joint_hash(targets),
            "attributes": {"harmful": ranked},
        }
    )
    config = CHEAP.model_copy(update={"seeds": 1, "controls": (Arm.NONE,)})
    result = validate_ranking(ranking, config, tmp_path, device="cpu")
    found = result.attributes["harmful"]
    assert (result.planned, result.finished, result.folds) == (12, 12, 4)
    assert (found.num_train, found.num_test) == (32, 32)
    with Ledger(tmp_path / LEDGER_NAME) as ledger:
        rows = {(row.source, row.fold): row for row in ledger.rows()}
        truth = ledger.to_truth()
    assert {fold for _, fold in rows} == {0, 1, 2, 3}
    none, pick = found.arms[:2]
    gains = [rows["reviews", fold].value - rows["none", fold].value for fold in range(4)]
    assert pick.gain == pytest.approx(sum(gains) / 4)
    assert none.runs == 4
    spread = pd.Series(gains).std() * (1 / 4 + 1) ** 0.5  # as many test as training rows
    assert pick.gain_standard_error == pytest.approx(spread)
    (winner,) = winners(tmp_path, result)  # the models of all folds vote on new texts
    assert sorted(trained.record.key.fold for trained in winner.models) == [0, 1, 2, 3]
    path = tmp_path / "new.csv"
    pd.DataFrame({"text": ["the film was good"]}).to_csv(path, index=False)
    told = predict_file(tmp_path, path, device="cpu").attributes["harmful"].summary
    assert (told["models"], told["calibration"]["rows"]) == (4, 4 * 32)
    assert found.out_of_fold.picks == {"moods": 4}
    assert found.out_of_fold.gain == pytest.approx(found.arms[2].gain)
    judged = evaluate_rankings(ranking_table(ranking), truth, ks=[1])
    assert judged.targets["posts/harmful"]["regret@1"] == pytest.approx(found.regret["regret@1"])
    again = validate_ranking(ranking, config, tmp_path, device="cpu")
    assert again == result


# -------------------------------------------------------------------------------- time and disk


def test_a_budget_runs_the_picks_and_names_the_rest(reference, world, tmp_path):
    # A run passes 104 texts once, at 7.2 s / (3 x 24 rows); two sources are tuned in 7.2 s each.
    found = validate_ranking(world.ranking, CHEAP, tmp_path, device="cpu", budget=80.0)
    assert [arm.arm for arm in found.attributes["harmful"].arms] == [Arm.NONE, Arm.PICK, Arm.PICK]
    (left,) = found.left_out
    assert (left.arm, left.runs) == (Arm.RANDOM, 2)
    assert left.reason == "does not fit into the budget of 1m20s"
    assert (found.finished, found.planned) == (6, 6)
    assert Validation.load(tmp_path) == found
    # What is finished costs nothing, and its rate is now known: the rest fits as well.
    again = validate_ranking(world.ranking, CHEAP, tmp_path, device="cpu", budget=80.0)
    assert again.left_out == ()
    assert values_of(tmp_path) == reference[2]


def test_a_dry_run_fits_the_plan_as_well(world, tmp_path):
    plan, cost = dry_run(world.ranking, CHEAP, tmp_path / "run", budget=80.0, keep_models=True)
    assert (cost.pending, len(plan.left_out)) == (6, 1)
    assert cost.seconds < 80
    assert cost.kept_bytes == cost.bytes > 0
    with pytest.raises(ValidationError, match="budget of 5s is too short for any attribute"):
        dry_run(world.ranking, CHEAP, tmp_path / "run", budget=5.0)


@pytest.fixture
def slow_clock(monkeypatch):
    """An hour passes whenever a run is measured."""
    late = []
    judge = esm.trials.worker._judge

    def measured(*arguments):
        late.append(3600)
        return judge(*arguments)

    monkeypatch.setattr(esm.trials.worker, "_judge", measured)
    now = time.monotonic
    monkeypatch.setattr(esm.trials.run.time, "monotonic", lambda: now() + sum(late))


def test_no_arm_is_begun_when_the_time_is_over(world, tmp_path, slow_clock):
    found = validate_ranking(world.ranking, CHEAP, tmp_path, device="cpu", budget=7000.0)
    (none,) = found.attributes["harmful"].arms
    assert (none.arm, none.runs) == (Arm.NONE, 2)  # an arm is finished once it is begun
    assert [left.arm for left in found.left_out] == [Arm.PICK, Arm.PICK, Arm.RANDOM]
    assert {left.reason for left in found.left_out} == {"the budget of 1h56m40s was used up before"}
    assert sum(left.seconds for left in found.left_out) > 3 * 7.2


def test_a_budget_that_is_over_before_the_first_run_is_an_error(world, tmp_path, monkeypatch):
    monkeypatch.setattr(esm.trials.run.Clock, "is_over", lambda clock: True)
    with pytest.raises(ValidationError, match="budget of 1h was used up before the first run"):
        validate_ranking(world.ranking, CHEAP, tmp_path, device="cpu", budget=3600.0)


def test_a_full_disk_is_noticed_before_anything_is_tuned(
    world, tmp_path, monkeypatch, no_fine_tuning
):
    monkeypatch.setattr("esm.trials.costs._free_bytes", lambda out: 1000)
    with pytest.raises(
        StorageError, match=r"encoders tuned on 3 sources need .*, where 0\.0 MB are free"
    ):
        validate_ranking(world.ranking, CHEAP, tmp_path, device="cpu")
    assert dry_run(world.ranking, CHEAP, tmp_path)[1].missing_bytes > 0
