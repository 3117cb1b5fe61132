from __future__ import annotations

from dataclasses import replace

from esm.report.table import plain
from esm.report.validation import plan_tables, validation_tables
from esm.trials.costs import Estimate
from esm.trials.settings import Arm
from esm.trials.trial import LeftOut
from tests.unit.report.test_results import validation
from tests.unit.trials.test_validation import plan_and_rows

COST = Estimate(
    done=1,
    pending=3,
    fine_tunings=1,
    seconds=4000.0,
    bytes=90_000_000,
    kept_bytes=90_000_000,
    free_bytes=50_000_000,
    basis="a guess",
)
LEFT = LeftOut(
    attribute="harmful",
    arm=Arm.RANDOM,
    source="c",
    runs=2,
    seconds=720.0,
    reason="does not fit into the budget of 2h",
)


def plan():
    return replace(plan_and_rows({"none": [0.5, 0.6], "a": [0.5, 0.6]})[0], left_out=(LEFT, LEFT))


def test_a_plan_says_what_it_costs_and_what_it_leaves_out():
    (table,) = plan_tables(plan(), COST)
    assert plain(table) == (
        "plan for posts\n"
        "attribute  arm   source  runs  training rows\n"
        "harmful    none  none       2             40\n"
        "harmful    pick  a          2             40\n"
        "4 runs, 1 of them done; 1 sources to fine-tune first\n"
        "about 1 h 7 min and 90.0 MB of disk, from a guess\n"
        "90.0 MB of disk stay taken; 50.0 MB are free\n"
        "the disk is too full: 40.0 MB are missing\n"
        "2 arms left out for want of time, about 24 min more:\n"
        "  harmful, random c: 2 runs, about 12 min; does not fit into the budget of 2h\n"
        "  harmful, random c: 2 runs, about 12 min; does not fit into the budget of 2h\n"
    )


def test_a_validation_names_what_it_left_out_and_who_chose_the_picks():
    found = validation().model_copy(update={"left_out": (LEFT,), "aggregate": True})
    below = plain(validation_tables(found)[-1])
    assert "1 arms left out for want of time, about 12 min more:" in below
    assert "harmful, random c: 2 runs" in below
    assert "rank (--wide): the place over all attributes, by which the picks were chosen" in below
    assert "want of time" not in plain(validation_tables(validation())[-1])
