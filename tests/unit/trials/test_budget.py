"""What fits into the time, in which order, and what is said of the rest."""

from __future__ import annotations

import pytest

from esm.common.errors import SettingError, ValidationError
from esm.trials.budget import arms, fit_plan, format_duration, leave_out, seconds_of
from esm.trials.costs import Costs
from esm.trials.encoders import MODELS_NAME, model_folder
from esm.trials.ledger import LEDGER_NAME, Ledger
from esm.trials.plan import plan_validation
from esm.trials.settings import Arm, ValidationConfig
from tests.small_world import make_world
from tests.unit.trials.test_plan import IDENTITY
from tests.unit.trials.test_validation import row_of

# The pool took 7.2 s for 24 rows and one epoch: 0.1 s per text and pass. A run that only embeds
# passes 40 + 24 texts once to judge them, and 40 to learn.
TUNE = 7.2
ARM = 2 * 104 * 0.1


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), IDENTITY)


def plan_of(world, **settings):
    usual = {"strategy": "features", "top": 2, "random_sources": 1, "seeds": 2}
    config = ValidationConfig(**(usual | settings))
    return plan_validation(world.ranking, world.pool, [world.target], config)


def fitted(world, out, seconds, **settings):
    plan = plan_of(world, **settings)
    costs = Costs(plan, out)
    return fit_plan(plan, costs, seconds), costs


def planned(plan):
    return [(arm[0].attribute, arm[0].arm, arm[0].source) for arm in arms(plan.trials)]


# ------------------------------------------------------------------------------------- durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("90m", 5400),
        ("45s", 45),
        ("1h30m", 5400),
        ("1h 30m 5s", 5405),
        ("0.5h", 1800),
        ("2H", 7200),
    ],
)
def test_durations(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "0s", "-1h", "1h30", "two hours", "1m2h", "1e3s"])
def test_what_is_no_duration_is_named(text):
    with pytest.raises(SettingError, match=r"budget '.*'; expected a duration such as 2h, 90m"):
        seconds_of(text)


@pytest.mark.parametrize("seconds", [1, 59, 60, 3600, 3661, 5400, 86_400])
def test_a_duration_is_written_as_it_is_read(seconds):
    assert seconds_of(format_duration(seconds)) == seconds


def test_a_part_of_a_second_is_rounded_up():
    assert (format_duration(59.2), format_duration(0.1), format_duration(0)) == ("1m", "1s", "0s")


# -------------------------------------------------------------------------------------- the order


def test_with_time_enough_everything_is_run_the_picks_first(world, tmp_path):
    plan, costs = fitted(world, tmp_path, 10_000, controls=("none", "random", "all"))
    whole = plan_of(world, controls=("none", "random", "all"))
    assert {run.key.content_hash() for run in plan.trials} == {
        run.key.content_hash() for run in whole.trials
    }
    assert plan.left_out == ()
    found = planned(plan)
    assert found[:6] == [
        ("harmful", Arm.NONE, "none"),
        ("harmful", Arm.PICK, "reviews"),
        ("topic", Arm.NONE, "none"),
        ("topic", Arm.PICK, "reviews"),
        ("harmful", Arm.PICK, "moods"),
        ("topic", Arm.PICK, "moods"),
    ]
    assert [arm for _, arm, _ in found[6:]] == [Arm.RANDOM] * 2 + [Arm.ALL] * 2
    assert costs.estimate(plan.trials).seconds == pytest.approx(
        costs.estimate(whole.trials).seconds
    )


def test_sources_that_were_named_come_before_the_controls(world, tmp_path):
    settings = {"top": 1, "sources": ("claims",), "attributes": ("topic",)}
    plan, _ = fitted(world, tmp_path, 10_000, controls=("none", "random", "all"), **settings)
    assert [arm for _, arm, _ in planned(plan)] == [
        Arm.NONE,
        Arm.PICK,
        Arm.NAMED,
        Arm.RANDOM,
        Arm.ALL,
    ]


# --------------------------------------------------------------------------------------- the time


def test_what_does_not_fit_is_left_out_with_its_cost(world, tmp_path):
    # Both openings share one tuned source; the second pick of the first attribute fits as well.
    seconds = 4 * ARM + TUNE + ARM + TUNE + 1
    plan, costs = fitted(world, tmp_path, seconds)
    assert planned(plan)[4:] == [("harmful", Arm.PICK, "moods")]
    assert costs.estimate(plan.trials).seconds == pytest.approx(5 * ARM + 2 * TUNE)
    first = plan.left_out[0]
    assert (first.attribute, first.arm, first.source) == ("topic", Arm.PICK, "moods")
    assert first.runs == 2
    assert first.seconds == pytest.approx(ARM)  # its source is tuned for the other attribute
    assert first.reason == f"does not fit into the budget of {format_duration(seconds)}"
    assert [left.arm for left in plan.left_out] == [Arm.PICK, Arm.RANDOM, Arm.RANDOM]
    assert plan.left_out[1].seconds == pytest.approx(ARM + TUNE)
    # A budget as long as all of it leaves out nothing.
    everything = costs.estimate(plan_of(world).trials).seconds
    assert sum(left.seconds for left in plan.left_out) == pytest.approx(
        everything - 5 * ARM - 2 * TUNE
    )


def test_a_cheaper_arm_after_one_that_does_not_fit_may_fit(world, tmp_path):
    plan = plan_of(world)
    drawn = next(run for run in plan.trials if run.arm is Arm.RANDOM)
    model_folder(tmp_path / MODELS_NAME, drawn.key).mkdir(parents=True)
    found, _ = fitted(world, tmp_path, 4 * ARM + TUNE + ARM)
    assert planned(found)[4:] == [(drawn.attribute, Arm.RANDOM, drawn.source)]


def test_an_attribute_whose_first_pick_does_not_fit_is_left_out_whole(world, tmp_path):
    plan, _ = fitted(world, tmp_path, 2 * ARM + TUNE + ARM, seeds=2)
    assert {attribute for attribute, *_ in planned(plan)} == {"harmful"}
    assert list(plan.num_train) == list(plan.num_test) == ["harmful"]
    assert [left.source for left in plan.left_out if left.attribute == "topic"][:2] == [
        "none",
        "reviews",
    ]


def test_the_whole_of_an_arm_or_nothing(world, tmp_path):
    plan, _ = fitted(world, tmp_path, 5 * ARM + 2 * TUNE - 0.1)
    assert all(len(arm) == 2 for arm in arms(plan.trials))
    assert len(arms(plan.trials)) == 4


def test_too_little_time_for_anything_names_the_time_that_is_needed(world, tmp_path):
    message = (
        r"the budget of 10s is too short for any attribute; expected at least 49s, for none and"
        r" reviews on harmful \(4 runs\); try: fewer --seeds"
    )
    with pytest.raises(ValidationError, match=message):
        fitted(world, tmp_path, 10)
    assert 48 < 2 * ARM + TUNE <= 49


def test_finished_runs_cost_nothing(world, tmp_path):
    plan = plan_of(world)
    with Ledger(tmp_path / LEDGER_NAME) as ledger:
        for run in plan.trials:
            if run.arm in (Arm.NONE, Arm.PICK):
                # As slow as estimated, so that the rate stays: 40 + 64 passes of 0.1 s.
                row = row_of(run.key, 0.5).model_copy(
                    update={"strategy": "features", "seconds": 10.4}
                )
                ledger.record(row)
    found, costs = fitted(world, tmp_path, ARM + TUNE + 0.01)
    assert planned(found)[-1][1] is Arm.RANDOM
    assert costs.estimate(found.trials).done == 2 * 3 * 2  # attributes, arms, seeds
    assert len(found.left_out) == 1


def test_the_finished_runs_of_an_arm_that_is_left_out_stay(world, tmp_path):
    plan = plan_of(world, attributes=("topic",))
    begun = next(run for run in plan.trials if run.source == "moods")
    with Ledger(tmp_path / LEDGER_NAME) as ledger:
        ledger.record(
            row_of(begun.key, 0.5).model_copy(update={"strategy": "features", "seconds": 10.4})
        )
    costs = Costs(plan, tmp_path)
    waiting = [arm for arm in arms(plan.trials) if arm[0].source == "moods"]
    found = leave_out(plan, waiting, costs, "the budget of 1h was used up before")
    assert [run.key.seed for run in found.trials if run.source == "moods"] == [0]
    (left,) = found.left_out
    assert (left.runs, left.reason) == (1, "the budget of 1h was used up before")


def test_without_the_control_none_the_first_pick_opens(world, tmp_path):
    plan, _ = fitted(world, tmp_path, ARM + TUNE, controls=())
    assert planned(plan) == [("harmful", Arm.PICK, "reviews")]
