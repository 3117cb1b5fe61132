"""Means, paired gains, standard errors and realised regret, worked by hand."""

import json
import re
import stat
from dataclasses import replace

import pytest

from esm.common.errors import StorageError, ValidationError
from esm.pool.pool import Skipped
from esm.ranking.aggregate import aggregate_rankings
from esm.ranking.result import RankConfig, Ranking
from esm.tasks.spec import TaskSpec
from esm.trials.ledger import RunKey, RunRow
from esm.trials.results import RESULT_NAME, Validation
from esm.trials.settings import Arm, ValidationConfig
from esm.trials.summary import Trials
from esm.trials.summary_sources import summarise_sources
from esm.trials.trial import Plan, Trial
from tests.small_world import ranked
from tests.unit.trials.test_plan import IDENTITY

RANKING = Ranking(
    target="posts",
    target_spec=TaskSpec(location="posts.csv"),
    target_hash="t",
    pool="pool",
    base_model="tiny",
    scorer="logme",
    config=RankConfig(),
    attributes={"harmful": ranked(["a", "b", "c"])},
    unusable={},
    cut=0,
    seconds=1.0,
)


def summarise(plan, ranking, rows, failed=()):
    return summarise_sources(Trials(plan, rows, failed), ranking)


def plan_and_rows(values, source_seeds=1, skipped=(), strategy="houlsby"):
    """A plan and its ledger from values by source: one number per seed, None for not run."""
    seeds = max(map(len, values.values()))
    config = ValidationConfig(seeds=seeds, source_seeds=source_seeds, strategy=strategy)
    runs, rows = [], {}
    for source, numbers in values.items():
        arm = Arm.NONE if source == "none" else Arm.PICK
        for seed, value in enumerate(numbers):
            key = RunKey(
                target="posts",
                attribute="harmful",
                target_hash="t",
                base="b",
                source=source,
                source_hash=None if source == "none" else source,
                source_seed=None if source == "none" else 7 + seed % source_seeds,
                strategy="houlsby",
                transfer={"num_epochs": 3},
                max_train=None,
                seed=seed,
            )
            runs.append(Trial((key,), arm=arm))
            if value is not None:
                rows[key.content_hash()] = row_of(key, value)
    plan = Plan(
        target="posts",
        config=config,
        trials=tuple(runs),
        num_train={"harmful": 40},
        num_test={"harmful": 24},
        label_names={"harmful": ("no", "yes")},
        skipped=tuple(skipped),
        pool="another pool",
        base=IDENTITY.model_copy(update={"model": "small"}),
        source_seconds={"a": 7.0, "b": 11.0, "c": 13.0},
    )
    return plan, rows


def row_of(key, value):
    return RunRow(
        key=key.content_hash(),
        target="posts",
        attribute="harmful",
        source=key.source,
        strategy="houlsby",
        seed=key.seed,
        source_seed=key.source_seed,
        fold=key.fold,
        metric="macro_f1",
        value=value,
        metrics={"macro_f1": value, "accuracy": value + 0.1},
        trained_parameters=50,
        total_parameters=1000,
        stored_parameters=52,
        num_train=40,
        num_test=24,
        seconds=2.0,
        config_hash="c",
    )


def arms_of(plan, rows):
    result = summarise(plan, RANKING, rows)
    return {arm.source: arm for arm in result.attributes["harmful"].arms}


def test_mean_and_standard_error_over_seeds():
    arm = arms_of(*plan_and_rows({"a": [0.5, 0.7]}))["a"]
    assert arm.mean == pytest.approx(0.6)
    assert arm.standard_error == pytest.approx(0.1)  # sd 0.1414 over sqrt 2
    assert arm.metrics == pytest.approx({"macro_f1": 0.6, "accuracy": 0.7})
    assert arm.gain is None
    assert (arm.rank, arm.predicted_gain) == (1, pytest.approx(0.09))
    assert arm.trained_share == pytest.approx(0.05)
    assert arm.seconds == 2.0


def test_the_gain_is_paired_by_seed():
    # Differences 0.1 and 0.1: no error, although both arms vary by 0.2.
    arms = arms_of(*plan_and_rows({"none": [0.4, 0.6], "a": [0.5, 0.7]}))
    assert arms["a"].gain == pytest.approx(0.1)
    assert arms["a"].gain_standard_error == pytest.approx(0, abs=1e-12)
    assert arms["none"].gain is None
    assert arms["none"].rank is None


def test_only_seeds_that_both_arms_have_are_compared():
    arms = arms_of(*plan_and_rows({"none": [0.4, None], "a": [0.5, 0.9]}))
    assert arms["a"].mean == pytest.approx(0.7)
    assert arms["a"].gain == pytest.approx(0.1)
    assert arms["a"].gain_standard_error is None


def test_one_seed_has_no_standard_error():
    assert arms_of(*plan_and_rows({"a": [0.5]}))["a"].standard_error is None


def test_runs_of_one_tuned_source_count_as_one_when_its_seed_is_varied():
    # Source seeds alternate: 7, 8, 7, 8. Their means are 0.5 and 0.7.
    plan, rows = plan_and_rows(
        {"none": [0.4, 0.4, 0.4, 0.4], "a": [0.4, 0.6, 0.6, 0.8]}, source_seeds=2
    )
    arms = arms_of(plan, rows)
    assert arms["a"].mean == pytest.approx(0.6)
    assert arms["a"].standard_error == pytest.approx(0.1)
    assert arms["a"].gain_standard_error == pytest.approx(0.1)
    assert arms["none"].standard_error == pytest.approx(0)


def test_the_result_says_which_variance_its_standard_error_holds():
    fixed = summarise(*_with_ranking(plan_and_rows({"a": [0.5, 0.7]})))
    assert "training seed of the source is fixed" in fixed.standard_error
    varied = summarise(*_with_ranking(plan_and_rows({"a": [0.5, 0.7]}, source_seeds=2)))
    assert "holds both variances" in varied.standard_error


@pytest.mark.parametrize(
    ("strategy", "varies"),
    [
        ("houlsby", "adapters"),
        ("full", r"order of the rows, dropout, head\)"),
        ("features", "folds"),
    ],
)
@pytest.mark.parametrize("source_seeds", [1, 2])
def test_what_a_seed_varies_is_the_strategys_to_say(strategy, varies, source_seeds):
    plan, rows = plan_and_rows({"a": [0.5, 0.7]}, source_seeds, strategy=strategy)
    assert re.search(rf"seeds \(.*{varies}", summarise(plan, RANKING, rows).standard_error)


def test_the_pool_and_base_model_are_those_that_were_used():
    result = summarise(*_with_ranking(plan_and_rows({"a": [0.5]})))
    assert (result.pool, result.base_model) == ("another pool", "small")


def test_sources_are_fine_tuned_once_per_training_seed():
    values = {"none": [0.1] * 4, "a": [0.5] * 4, "b": [0.5, None, 0.5, None], "c": [None] * 4}
    plan, rows = plan_and_rows(values, source_seeds=2)
    # a with both of its seeds, b with one of them, c never.
    assert summarise(plan, RANKING, rows).source_seconds == pytest.approx(2 * 7.0 + 11.0)


def _with_ranking(plan_and_rows):
    plan, rows = plan_and_rows
    return plan, RANKING, rows


def test_realised_regret_is_over_the_measured_sources():
    plan, rows = plan_and_rows({"none": [0.9], "a": [0.4], "b": [0.8], "c": [0.2]})
    found = summarise(plan, RANKING, rows).attributes["harmful"]
    assert found.measured == ("a", "b", "c")
    # a is ranked first and gives half of b; k = 3 would be all of them.
    assert found.regret == {"regret@1": pytest.approx(50)}


def test_a_source_without_all_its_runs_is_not_measured():
    plan, rows = plan_and_rows({"a": [0.4, 0.4], "b": [0.8, None], "c": [0.2, 0.2]})
    found = summarise(plan, RANKING, rows).attributes["harmful"]
    assert found.measured == ("a", "c")
    assert found.regret == {"regret@1": 0}
    assert [arm.source for arm in found.arms] == ["a", "b", "c"]


def test_nothing_finished_yet():
    plan, rows = plan_and_rows({"none": [None], "a": [None]})
    result = summarise(plan, RANKING, rows)
    assert (result.planned, result.finished, result.keys) == (2, 0, ())
    assert result.attributes["harmful"].arms == ()
    assert result.attributes["harmful"].regret == {}


def test_failures_are_counted_by_arm_and_reason():
    plan, rows = plan_and_rows({"none": [0.4, 0.4], "a": [None, None]})
    failed = [(run, "no such file") for run in plan.trials if run.source == "a"]
    (failure,) = summarise(plan, RANKING, rows, failed).failures
    assert (failure.source, failure.runs, failure.reason) == ("a", 2, "no such file")


def test_the_record_comes_back_as_it_was_and_is_private(tmp_path):
    plan, rows = plan_and_rows({"none": [0.4], "a": [0.5]}, skipped=[Skipped("gone", "deleted")])
    result = summarise(plan, RANKING, rows, [(plan.trials[0], "reason")])
    result.save(tmp_path)
    assert Validation.load(tmp_path) == result
    assert stat.S_IMODE((tmp_path / RESULT_NAME).stat().st_mode) == 0o600
    assert result.as_dict()["attributes"]["harmful"]["arms"][1]["arm"] == "pick"


def test_a_record_that_was_edited_is_refused(tmp_path):
    plan, rows = plan_and_rows({"a": [0.5]})
    content = summarise(plan, RANKING, rows).as_dict() | {"colour": "red"}
    (tmp_path / RESULT_NAME).write_text(json.dumps(content))
    with pytest.raises(ValidationError, match=r"validation\.json: colour: .*; expected a file"):
        Validation.load(tmp_path)
    with pytest.raises(StorageError, match=r"no result of a run in .*elsewhere; expected a folder"):
        Validation.load(tmp_path / "elsewhere")


def test_confusions_are_summed_and_classes_averaged_over_runs():
    plan, rows = plan_and_rows({"none": [0.4, 0.6], "a": [0.5, 0.7]})
    confusions = {("none", 0): [[5, 5], [2, 12]], ("none", 1): [[8, 2], [4, 10]]}
    rows = {
        key: row.model_copy(update={"confusion": confusions.get((row.source, row.seed))})
        for key, row in rows.items()
    }
    found = summarise(plan, RANKING, rows).attributes["harmful"]
    none, pick = found.arms
    assert found.label_names == ("no", "yes")
    assert none.confusion == [[13, 7], [6, 22]]
    assert [result.name for result in none.classes] == ["no", "yes"]
    assert none.classes[0].recall == pytest.approx((5 / 10 + 8 / 10) / 2)
    assert none.classes[0].support == 10
    assert (pick.confusion, pick.classes) == (None, ())


def test_the_winner_has_the_highest_mean_and_is_none_of_equals():
    def winner(values):
        return summarise(*_with_ranking(plan_and_rows(values))).winners.get("harmful")

    assert winner({"none": [0.4], "a": [0.5], "b": [0.6]}) == "b"
    assert winner({"a": [0.5], "none": [0.5], "b": [0.4]}) == "none"
    assert winner({"a": [None]}) is None


# --------------------------------------------------------------------------------------- folds


def folded(values, by_fold=()):
    """A plan over folds, its ledger and its ranking; values by source: a row per seed."""
    seeds, folds = len(values["none"]), len(values["none"][0])
    runs, rows = [], {}
    plan, _ = plan_and_rows({source: [None] for source in values})
    for first in plan.trials:
        for seed, of_seed in enumerate(values[first.source]):
            for fold, value in enumerate(of_seed):
                key = first.key.model_copy(update={"seed": seed, "fold": fold})
                runs.append(Trial((key,), arm=first.arm))
                if value is not None:
                    rows[key.content_hash()] = row_of(key, value)
    plan = replace(
        plan,
        trials=tuple(runs),
        config=ValidationConfig(seeds=seeds),
        folds=folds,
        test_to_train={"harmful": 0.5},
    )
    attribute = RANKING.attributes["harmful"].model_copy(update={"by_fold": by_fold})
    return plan, RANKING.model_copy(update={"attributes": {"harmful": attribute}}), rows


def test_the_standard_error_over_folds_is_the_corrected_one():
    # Fold means 0.1, 0.2, 0.3: variance 0.01; times 1/3 + 1/2 of Nadeau and Bengio.
    values = {"none": [[0.0, 0.1, 0.2], [0.2, 0.3, 0.4]], "a": [[0.1, 0.3, 0.5]] * 2}
    arms = {arm.source: arm for arm in summarise(*folded(values)).attributes["harmful"].arms}
    assert arms["none"].mean == pytest.approx(0.2)
    assert arms["none"].standard_error == pytest.approx((0.01 * (1 / 3 + 1 / 2)) ** 0.5)
    # Gains with the same fold and seed: 0.1, 0.2, 0.3 and -0.1, 0, 0.1; fold means 0, 0.1, 0.2.
    assert arms["a"].gain == pytest.approx(0.1)
    assert arms["a"].gain_standard_error == pytest.approx((0.01 * (1 / 3 + 1 / 2)) ** 0.5)
    assert arms["a"].runs == 6


def test_a_single_fold_has_no_standard_error():
    values = {"none": [[0.2, None]], "a": [[0.3, None]]}
    result = summarise(*folded(values))
    arm = result.attributes["harmful"].arms[1]
    assert (arm.gain, arm.gain_standard_error) == (pytest.approx(0.1), None)
    assert result.attributes["harmful"].measured == ()


def test_the_gain_of_each_folds_own_choice():
    values = {
        "none": [[0.5, 0.5, 0.5]],
        "a": [[0.9, 0.6, 0.6]],
        "b": [[0.4, 0.7, 0.6]],
        "c": [[0.5, 0.5, None]],
    }
    # c is not measured in all folds: the first fold takes b, the second a, the third a.
    orders = (("c", "b", "a"), ("a", "b", "c"), ("a", "c", "b"))
    result = summarise(*folded(values, orders))
    found = result.attributes["harmful"]
    assert found.measured == ("a", "b")
    assert found.out_of_fold.picks == {"a": 2, "b": 1}
    # Gains -0.1, 0.1, 0.1: mean 1/30, variance 0.04 / 3.
    assert found.out_of_fold.gain == pytest.approx(1 / 30)
    expected = (0.04 / 3 * (1 / 3 + 1 / 2)) ** 0.5
    assert found.out_of_fold.standard_error == pytest.approx(expected)
    assert Validation.model_validate(result.as_dict()) == result


def test_the_folds_own_choice_waits_for_all_folds():
    values = {"none": [[0.5, None]], "a": [[0.9, 0.6]]}
    found = summarise(*folded(values, (("a",), ("a",)))).attributes["harmful"]
    assert found.measured == ("a",)
    assert found.out_of_fold is None
    fixed = summarise(*_with_ranking(plan_and_rows({"none": [0.4], "a": [0.5]})))
    assert fixed.attributes["harmful"].out_of_fold is None


def test_the_result_says_how_the_error_over_folds_was_made():
    result = summarise(*folded({"none": [[0.1, 0.2]], "a": [[0.3, 0.4]]}))
    assert result.folds == 2
    assert "over 2 folds" in result.standard_error
    assert "Nadeau and Bengio 2003" in result.standard_error


def test_rank_and_regret_are_those_of_the_aggregate_where_it_chose_the_picks():
    attributes = {"harmful": ranked(["a", "b", "c"]), "topic": ranked(["c", "b", "a"])}
    ranking = RANKING.model_copy(
        update={
            "attributes": attributes,
            "aggregate": aggregate_rankings(attributes | {"more": ranked(["b", "c", "a"])}),
        }
    )
    plan, rows = plan_and_rows({"none": [0.4], "a": [0.8], "b": [0.6], "c": [0.5]})
    result = summarise(plan, ranking, rows)
    found = result.attributes["harmful"]
    # Mean ranks: b 5/3, c 2, a 7/3. The first of them stays 25 % behind the best.
    assert [arm.rank for arm in found.arms] == [None, 3, 1, 2]
    assert found.arms[1].predicted_gain == pytest.approx(0.09)
    assert found.regret["regret@1"] == pytest.approx(25.0)
    assert result.aggregate
    assert not summarise(plan, RANKING, rows).aggregate
