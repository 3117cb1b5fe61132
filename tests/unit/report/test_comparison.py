"""The tables of a comparison: marks of the best, costs, what strategies measured of themselves."""

from __future__ import annotations

import pytest

from esm.pool.pool import Skipped
from esm.report.comparison import comparison_tables
from esm.report.table import plain
from esm.trials.lines import ComparisonFailure, CurvePoint, StrategyResult, StrategyTotals
from esm.trials.results import AttributeComparison, Comparison


def a_result(strategy, mean, **more):
    values = {
        "source": "none",
        "runs": 2,
        "planned": 2,
        "standard_error": 0.012,
        "metrics": {"macro_f1": mean},
        "train": 0.95,
        "unseen": 0.75,
        "unseen_rows": "test rows",
        "gap": 0.2,
    }
    return StrategyResult(strategy=strategy, mean=mean, **(values | more))


def totals(strategy, **more):
    values = {
        "together": False,
        "trained_parameters": 1_200_000,
        "stored_parameters": 1_300_000,
        "trained_share": 0.054,
        "seconds": 90.0,
        "megabytes": 5.2,
        "megabytes_per_attribute": 2.6,
        "next_megabytes": 0.004,
        "next_seconds": 45.0,
        "peak_memory": 1_500_000_000,
        "remarks": (),
    }
    return StrategyTotals(strategy=strategy, **(values | more))


def comparison():
    harmful = AttributeComparison(
        metric="macro_f1",
        num_train=300,
        num_test=120,
        strategies=(
            a_result("full", 0.75, is_tied=True, p_against_best=0.21),
            a_result("multitask", 0.76, is_best=True, gain=0.01, gain_standard_error=0.02),
            a_result("head", 0.6, p_against_best=0.0012),
            a_result("lora", 0.7, runs=1, standard_error=None),
            a_result(
                "gpt",
                0.5,
                outside=True,
                runs=1,
                planned=1,
                train=None,
                unseen=None,
                gap=None,
                standard_error=None,
                unseen_rows="",
                p_against_best=0.0002,
            ),
        ),
        best="multitask",
        curve=(
            CurvePoint(strategy="full", examples=50, runs=2, mean=0.5, standard_error=0.02),
            CurvePoint(strategy="full", examples=300, runs=2, mean=0.75, standard_error=0.012),
        ),
    )
    chain = {
        "seed": 0,
        "fold": None,
        "attributes": ["a", "b"],
        "order": ["a", "b"],
        "after_step": [{"a": 0.8}, {"a": 0.65, "b": 0.7}],
        "forgetting": {"a": 0.15},
        "mean_forgetting": 0.15,
    }
    data = {
        "seed": 0,
        "fold": None,
        "attributes": ["a", "b"],
        "data": {
            "annotations": 600,
            "used": 390,
            "updates": 1600,
            "candidates": 3200,
            "used_share": 0.65,
            "by_task": {"a": 0.7, "b": 0.3},
        },
    }
    weights = {
        "seed": 0,
        "fold": None,
        "attributes": ["a"],
        "adapters": ["source reviews", "a"],
        "fusion_weights": {"a": {"source reviews": 0.25, "a": 0.75}},
    }
    return Comparison(
        target="posts",
        base_model="offline",
        pool="",
        strategies=("full", "multitask", "head", "lora"),
        outside=("gpt",),
        settings={},
        seeds=2,
        folds=0,
        standard_error="over seeds",
        test="paired bootstrap",
        planned=8,
        finished=7,
        failures=(
            ComparisonFailure(
                strategy="lora", attributes=("harmful",), runs=1, reason="it diverged"
            ),
        ),
        skipped=(Skipped("ensemble", "no source"),),
        attributes={"harmful": harmful},
        totals=(
            totals("full", remarks=("half of it was guessed",)),
            totals("sequential", reports=(chain,)),
            totals("ca-mtl", reports=(data,)),
            totals("fusion", reports=(weights,)),
        ),
        models={},
        keys=(),
        seconds=400.0,
    )


@pytest.fixture
def found():
    return comparison()


def test_everything_is_shown(found):
    tables = comparison_tables(found)
    text = "\n".join(plain(table, wide=True) for table in tables)
    overview = plain(tables[0], wide=True).splitlines()[2].split("  ")
    cells = [cell.strip() for cell in overview if cell.strip()]
    assert cells == [
        "harmful",
        "300",
        "macro_f1",
        "75.0 ± 1.2 ~",
        "76.0 ± 1.2 *",
        "60.0 ± 1.2",
        "70.0 (1/2)",
        "50.0",
    ]
    for line in (
        "gpt (outside)",
        "0.0012",
        "+1.0 ± 2.0",
        "macro_f1 by training rows",
        "what 1 attribute cost",
        "1.5 GB",
        "full: half of it was guessed",
        "sequential: what is forgotten",
        "+15.0",
        "65.0 % of the 600 annotations were used for updates at least once; 1600 of 3200",
        "fusion: what is taken from which adapter",
        "p: paired bootstrap",
        "lora on harmful: 1 failed: it diverged",
        "ensemble: no source",
        "unseen (--wide): test rows; gap: train - unseen",
    ):
        assert line in text, line


def test_rows_for_programs(found):
    rows = found.records()
    assert [(row["strategy"], row["examples"]) for row in rows] == [
        ("full", 300),
        ("multitask", 300),
        ("head", 300),
        ("lora", 300),
        ("gpt", 300),
        ("full", 50),
    ]
    assert rows[0]["test_macro_f1"] == 0.75


def test_a_comparison_over_a_test_that_lost_a_class_says_so():
    found = comparison()
    note = "rows left out because no training row has their label: 28 of 50 test rows: Reliabel 28"
    harmful = next(iter(found.attributes.values()))
    lost = harmful.model_copy(update={"untested": ("no",), "data_notes": (note,)})
    tables = comparison_tables(found.model_copy(update={"attributes": {"harmful": lost}}))
    assert "harmful is judged without class 'no': no test row has it" in plain(tables[0])
    assert any(note in plain(table) for table in tables[1:])
