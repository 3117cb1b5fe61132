"""Which runs a validation makes, in which order, under which keys."""

import re
from dataclasses import replace

import pytest

from esm.common.errors import EsmError, PoolError, TaskError, ValidationError
from esm.common.records import build_settings
from esm.common.storage import read_json, write_json
from esm.encoder.settings import BaseIdentity, Pooling
from esm.ranking.aggregate import aggregate_rankings
from esm.ranking.diverse import DiverseSet, Pick
from esm.strategies.registry import strategy
from esm.strategies.settings import TransferConfig
from esm.tasks.load import load_targets, load_task
from esm.tasks.spec import SplitSpec, TaskSpec
from esm.tasks.task import Problem, SplitName, Texts, joint_hash
from esm.trials.plan import plan_validation
from esm.trials.settings import Arm, ValidationConfig
from tests.small_world import FINE_TUNE, SOURCES, make_world, ranked

IDENTITY = BaseIdentity(
    model="tiny",
    weights="w",
    pooling=Pooling.MEAN,
    max_length=32,
    precision="float32",
    width=32,
    num_layers=2,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), IDENTITY)


def plan_of(world, **settings):
    return plan_validation(world.ranking, world.pool, [world.target], ValidationConfig(**settings))


def arms_of(plan, attribute="harmful"):
    pairs = [(run.arm, run.source) for run in plan.trials if run.attribute == attribute]
    return list(dict.fromkeys(pairs))


def test_no_transfer_and_the_picks_come_first_for_each_attribute(world):
    plan = plan_of(world, top=2, seeds=2, random_sources=1)
    arms = arms_of(plan)
    assert arms[:3] == [(Arm.NONE, "none"), (Arm.PICK, "reviews"), (Arm.PICK, "moods")]
    assert arms[3][0] is Arm.RANDOM
    assert arms[3][1] in {"weather", "claims"}
    assert [run.attribute for run in plan.trials] == ["harmful"] * 8 + ["topic"] * 8
    assert [run.key.seed for run in plan.trials[:4]] == [0, 1, 0, 1]
    assert plan.num_train == {"harmful": 40, "topic": 40}
    assert plan.num_test == {"harmful": 24, "topic": 24}


def test_all_takes_every_source_once(world):
    plan = plan_of(world, top=1, controls=["all", "random", "none"], random_sources=2, seeds=1)
    arms = arms_of(plan)
    assert sorted(source for _, source in arms) == [
        "claims",
        "moods",
        "none",
        "reviews",
        "weather",
    ]
    assert [arm for arm, _ in arms] == [Arm.NONE, Arm.PICK, Arm.RANDOM, Arm.RANDOM, Arm.ALL]


def test_random_sources_depend_on_their_seed_alone(world):
    def drawn(**settings):
        plan = plan_of(world, top=1, random_sources=1, **settings)
        return [source for arm, source in arms_of(plan) if arm is Arm.RANDOM]

    assert drawn() == drawn(seeds=5, attributes=["topic", "harmful"])
    assert len({drawn(control_seed=seed)[0] for seed in range(12)}) > 1


def test_fewer_sources_than_asked_for_are_no_error(world):
    assert len(arms_of(plan_of(world, top=9, random_sources=9))) == 5


def test_every_run_has_its_own_key_and_one_configuration_per_attribute(world):
    plan = plan_of(world)
    assert len({run.key.content_hash() for run in plan.trials}) == len(plan.trials)
    assert len({run.key.config_hash() for run in plan.trials}) == 2


def test_keys_do_not_change_when_the_plan_grows(world):
    few = plan_of(world, top=1, seeds=1, controls=["none"], attributes=["topic"])
    many = plan_of(world, top=3, seeds=4, controls=["none", "all"])
    assert {run.key.content_hash() for run in few.trials} < {
        run.key.content_hash() for run in many.trials
    }


def test_source_seeds_take_turns_and_begin_with_the_pools(world):
    plan = plan_of(world, top=1, seeds=4, source_seeds=2, controls=["none"])
    first = FINE_TUNE.seed
    picks = [run.key for run in plan.trials if run.arm is Arm.PICK and run.attribute == "topic"]
    assert [key.source_seed for key in picks] == [first, first + 1, first, first + 1]
    assert {run.key.source_seed for run in plan.trials if run.arm is Arm.NONE} == {None}


def test_settings_are_resolved_before_they_enter_a_key():
    default = strategy("houlsby").settings(TransferConfig())
    assert default["num_epochs"] >= 1
    assert default["adapter_size"] == 64
    same = TransferConfig(num_epochs=default["num_epochs"])
    assert strategy("houlsby").settings(same) == default
    other = TransferConfig(num_epochs=default["num_epochs"] + 1)
    assert strategy("houlsby").settings(other) != default
    assert "adapter_size" not in strategy("full").settings(TransferConfig())
    assert strategy("features").settings(TransferConfig(num_epochs=9)) == {"class_weights": "auto"}


def test_an_attribute_that_the_strategy_cannot_learn_is_left_out_or_refused(world):
    tasks = world.target.attributes
    ranks = replace(tasks["topic"], problem=Problem.ORDINAL)
    target = replace(world.target, attributes={**tasks, "topic": ranks})
    ranking = world.ranking.model_copy(update={"target_hash": target.content_hash()})

    def plan(strict=False, **settings):
        config = ValidationConfig(strategy="prototype", **settings)
        return plan_validation(ranking, world.pool, [target], config, strict=strict)

    assert {run.attribute for run in plan().trials} == {"harmful"}
    (skipped,) = plan().skipped
    message = (
        r"the strategy prototype cannot learn posts/topic, whose labels are ranks; expected classes"
    )
    assert skipped.source == "posts/topic"
    assert re.match(message, skipped.reason)
    for settings in ({"strict": True}, {"attributes": ["topic"]}):
        with pytest.raises(ValidationError, match=message):
            plan(**settings)


@pytest.mark.parametrize("name", ["scratch", "tfidf"])
def test_a_strategy_that_starts_from_nothing_is_run_without_sources(world, name):
    plan = plan_of(world, strategy=name, seeds=2, controls=["random"], sources=["claims"])
    assert arms_of(plan) == [(Arm.NONE, "none")]
    assert len(plan.trials) == 2 * 2
    assert [(skip.source, skip.reason) for skip in plan.skipped] == [
        ("every source", f"{name} starts from no weights that a source could have tuned")
    ]


def test_unlabelled_texts_are_part_of_the_key_of_what_reads_them_and_of_no_other(world):
    tasks = world.target.attributes
    more = {name: replace(task, unlabelled=Texts(("new",))) for name, task in tasks.items()}
    target = replace(world.target, attributes=more)

    def keys(name):
        config = ValidationConfig(strategy=name)
        plans = [
            plan_validation(world.ranking, world.pool, [each], config)
            for each in (world.target, target)
        ]
        return [plan.trials[0].key.content_hash() for plan in plans]

    before, after = keys("dapt+features")
    assert before != after
    before, after = keys("features")
    assert before == after


def test_settings_of_another_strategy_are_refused(world):
    transfer = TransferConfig(own={"lora.rank": 4})
    assert (
        plan_of(world, strategy="lora", transfer=transfer).trials[0].key.transfer["lora.rank"] == 4
    )
    with pytest.raises(ValidationError, match=r"the setting 'lora\.rank' is of no strategy in use"):
        plan_of(world, strategy="full", transfer=transfer)


def test_the_sample_of_training_rows_is_part_of_the_plan(world):
    assert plan_of(world, max_train=10).num_train["harmful"] == 10
    assert plan_of(world, max_train=1000).num_train["harmful"] == 40


def test_an_unknown_attribute_is_named(world):
    message = r"attribute taste is not in the ranking; expected some of harmful, topic"
    with pytest.raises(ValidationError, match=message):
        plan_of(world, attributes=["topic", "taste"])


def test_a_target_that_has_changed_is_refused(world):
    target = replace(world.target, attributes={"topic": world.target.attributes["topic"]})
    with pytest.raises(ValidationError, match=r"rows of posts have changed .*esm rank again"):
        plan_validation(world.ranking, world.pool, [target], ValidationConfig())


def test_a_source_that_left_the_pool_is_skipped_and_named(tmp_path):
    world = make_world(tmp_path, IDENTITY)
    (world.pool.source_folder("reviews") / "source.json").write_text("{}")
    plan = plan_of(world, top=2)
    assert [skip.source for skip in plan.skipped] == ["reviews"]
    assert "reviews" not in {run.source for run in plan.trials}
    with pytest.raises(PoolError, match=r"source\.json"):
        plan_validation(world.ranking, world.pool, [world.target], ValidationConfig(), strict=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 3, "source_seeds": 2}, "2 source seeds do not divide 3 seeds"),
        ({"controls": ["pick"]}, "picks are no controls"),
        ({"controls": ["nothing"]}, "'none', 'random' or 'all'"),
        ({"strategy": "magic"}, "strategy = 'magic'; expected one of houlsby"),
        ({"top": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(EsmError, match=message):
        build_settings(ValidationConfig, settings)


def test_named_sources_are_trained_with_whatever_their_rank(world):
    order = world.ranking.attributes["topic"].order
    config = ValidationConfig(
        attributes=("topic",), top=1, sources=(order[-1],), controls=("none", "all"), seeds=1
    )
    plan = plan_validation(world.ranking, world.pool, [world.target], config)
    arms = [(run.arm, run.source) for run in plan.trials]
    assert arms[:3] == [(Arm.NONE, "none"), (Arm.PICK, order[0]), (Arm.NAMED, order[-1])]
    assert [source for arm, source in arms if arm is Arm.ALL] == order[1:-1]
    with pytest.raises(ValidationError, match="source moon is not in the ranking"):
        unknown = config.model_copy(update={"sources": ("moon",)})
        plan_validation(world.ranking, world.pool, [world.target], unknown)


# ------------------------------------------------------------------ attributes without test rows


def without_test_rows(world, *names):
    """The world's target and ranking, some attributes of which lack test rows."""
    attributes = {
        name: replace(task, splits={SplitName.TRAIN: task.train}) if name in names else task
        for name, task in world.target.attributes.items()
    }
    target = replace(world.target, attributes=attributes)
    return target, world.ranking.model_copy(update={"target_hash": target.content_hash()})


def test_an_attribute_without_test_rows_is_left_out_and_named(world):
    target, ranking = without_test_rows(world, "harmful")
    plan = plan_validation(ranking, world.pool, [target], ValidationConfig())
    assert list(plan.num_train) == list(plan.num_test) == ["topic"]
    assert {run.attribute for run in plan.trials} == {"topic"}
    (skip,) = plan.skipped
    assert skip.source == "posts/harmful"
    assert "no test rows" in skip.reason
    assert "--test FILE" in skip.reason
    assert "--test-split" in skip.reason


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (("harmful",), {"attributes": ("topic", "harmful")}),
        (("harmful",), {"strict": True}),
        (("harmful", "topic"), {}),
    ],
)
def test_but_not_if_it_was_named_or_none_is_left(world, names, settings):
    target, ranking = without_test_rows(world, *names)
    strict = settings.pop("strict", False)
    message = rf"attribute {', '.join(names)} has no test rows; .*--test FILE.*--test-split"
    with pytest.raises(TaskError, match=message):
        plan_validation(ranking, world.pool, [target], ValidationConfig(**settings), strict=strict)


# ------------------------------------------------------------------------------- another pool


def test_the_plan_names_the_pool_that_is_used(world, tmp_path):
    other = make_world(tmp_path, IDENTITY.model_copy(update={"model": "other"})).pool
    plan = plan_validation(world.ranking, other, [world.target], ValidationConfig())
    assert (plan.pool, plan.base.model) == (str(other.folder), "other")
    assert plan.source_seconds == dict.fromkeys(SOURCES, 7.2)


# --------------------------------------------------------------------------------------- folds


def in_folds(tmp_path, **split):
    """The world, its target in folds, and a ranking of it."""
    world = make_world(tmp_path, IDENTITY)
    spec = world.ranking.target_spec.model_copy(
        update={"split": SplitSpec(method="k-fold", **split)}
    )
    targets = load_targets(spec)
    update = {"target_spec": spec, "target_hash": joint_hash(targets)}
    return world.ranking.model_copy(update=update), world.pool, targets


def test_every_arm_runs_with_every_seed_on_every_fold(tmp_path):
    ranking, pool, targets = in_folds(tmp_path, folds=4, repeats=2)
    plan = plan_validation(
        ranking, pool, targets, ValidationConfig(top=1, seeds=2, controls=("none",))
    )
    assert plan.folds == 8
    picks = [run.key for run in plan.trials if run.arm is Arm.PICK and run.attribute == "topic"]
    assert [(key.seed, key.fold) for key in picks] == [(s, f) for s in (0, 1) for f in range(8)]
    assert plan.trials[0].as_dict()["fold"] == 0
    # 64 rows of the file and its test file together, in four folds.
    assert (plan.num_train["topic"], plan.num_test["topic"]) == (48, 16)
    assert plan.test_to_train["topic"] == pytest.approx(1 / 3, abs=0.01)
    assert len({run.key.content_hash() for run in plan.trials}) == len(plan.trials) == 2 * 2 * 16
    assert len({run.key.config_hash() for run in plan.trials}) == 2


def test_a_target_whose_folds_have_changed_is_refused(tmp_path):
    ranking, pool, _ = in_folds(tmp_path, folds=4)
    other = load_targets(
        ranking.target_spec.model_copy(update={"split": SplitSpec(method="k-fold", seed=1)})
    )
    with pytest.raises(ValidationError, match="have changed since it was ranked"):
        plan_validation(ranking, pool, other, ValidationConfig())


def test_a_sibling_that_has_seen_test_texts_since_the_ranking_is_left_out(tmp_path):
    world = make_world(tmp_path, IDENTITY)
    path = world.pool.source_folder("reviews") / "source.json"
    record = read_json(path)
    record["task"]["location"] = world.ranking.target_spec.test
    record["task"]["attributes"] = ["topic"]
    record["task"]["split"]["method"] = "k-fold"
    spec = TaskSpec.model_validate(record["task"])
    write_json(path, record | {"task_hash": load_task(spec).content_hash()})
    plan = plan_of(world, attributes=("harmful",), top=2)
    assert "reviews" not in {run.source for run in plan.trials}
    (skip,) = plan.skipped
    assert skip.source == "reviews"
    assert skip.reason == "harmful: its training rows hold 24 test texts of the target"


# ------------------------------------------------------------------------- over all attributes


def over_all(world, **orders):
    """The world's ranking with these orders, aggregated."""
    attributes = {name: ranked(order) for name, order in orders.items()}
    update = {"attributes": attributes, "aggregate": aggregate_rankings(attributes)}
    return world.ranking.model_copy(update=update)


def test_the_picks_of_the_aggregate_are_those_of_every_attribute(world):
    ranking = over_all(
        world,
        harmful=["reviews", "moods", "weather", "claims"],
        topic=["claims", "moods", "weather", "reviews"],
    )
    config = ValidationConfig(top=1, controls=("none", "all"), seeds=1)
    plan = plan_validation(ranking, world.pool, [world.target], config)
    # Mean ranks: moods 2, then claims, reviews (2.5) and weather (3).
    for name in ("harmful", "topic"):
        assert arms_of(plan, name)[:2] == [(Arm.NONE, "none"), (Arm.PICK, "moods")]
        assert [source for arm, source in arms_of(plan, name) if arm is Arm.ALL] == [
            "claims",
            "reviews",
            "weather",
        ]
    assert plan.skipped == ()


def test_a_pick_that_cannot_serve_an_attribute_is_named_and_not_replaced(world):
    ranking = over_all(
        world,
        harmful=["reviews", "moods", "weather", "claims"],
        topic=["moods", "claims"],
    )
    config = ValidationConfig(top=2, controls=(), seeds=1)
    plan = plan_validation(ranking, world.pool, [world.target], config)
    # Mean ranks: moods 1.5, reviews (1 + 4) / 2.
    assert arms_of(plan, "harmful") == [(Arm.PICK, "moods"), (Arm.PICK, "reviews")]
    assert arms_of(plan, "topic") == [(Arm.PICK, "moods")]
    (skip,) = plan.skipped
    assert skip.source == "posts/topic"
    assert skip.reason == "reviews, place 2 over all attributes, is not ranked for this one"


def with_set(world, *sources):
    """The world's ranking, in which harmful has this diverse set."""
    picks = tuple(Pick(source=source, adds=0.5) for source in sources)
    found = world.ranking.attributes["harmful"].model_copy(
        update={"diverse": DiverseSet(picks=picks, passed_over=())}
    )
    update = {"attributes": {**world.ranking.attributes, "harmful": found}}
    return world.ranking.model_copy(update=update)


@pytest.mark.parametrize(
    ("top", "picks"),
    [
        (1, ["claims"]),
        (2, ["claims", "moods"]),
        (3, ["claims", "moods", "reviews"]),  # the set is filled up with the best
    ],
)
def test_the_picks_of_an_attribute_are_its_diverse_set(world, top, picks):
    ranking = with_set(world, "claims", "moods")
    config = ValidationConfig(top=top, controls=("all",), seeds=1)
    plan = plan_validation(ranking, world.pool, [world.target], config)
    assert [source for arm, source in arms_of(plan) if arm is Arm.PICK] == picks
    rest = [source for source in ("reviews", "moods", "weather", "claims") if source not in picks]
    assert [source for arm, source in arms_of(plan) if arm is Arm.ALL] == rest
    plain = [source for arm, source in arms_of(plan, "topic") if arm is Arm.PICK]
    assert plain == ranking.attributes["topic"].order[:top]


def test_what_the_rows_lack_is_in_the_plan(world):
    assert plan_of(world).data_notes == {"harmful": (), "topic": ()}
    assert plan_of(world).untested == {"harmful": (), "topic": ()}
