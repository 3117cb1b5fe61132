"""The benchmark against hf-dataset-selector: figures and tables from answers, jobs, materials."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.diverse import judge, regret
from benchmarks.jobs import Side
from benchmarks.materials import identity_of_width, write_published, write_target
from benchmarks.scoring import score_maps
from benchmarks.speed import Case, full, quick
from benchmarks.speed_table import (
    COMPRESSED,
    DENSE,
    WIDE,
    case_figures,
    cases_table,
    line_through,
    ratio,
    targets_table,
)
from benchmarks.synthetic import draw_compressed, draw_low_rank, write_bundle
from esm.common.errors import SettingError
from esm.maps.files import load_map
from esm.maps.forms import MapForm

MINE = {
    "first": {"wall": 1.0, "cpu": 1.5},
    "total": {"wall": 3.0, "cpu": 4.5},
    "maps": 5,
    "bytes": 100.0,
    "scores": [0.5, 0.25],
    "scores_50_updates": [0.5, 0.375],
    "direct": [0.5],
}
THEIRS = {"per_map": {"wall": 2.0, "cpu": 2.5}, "maps": 2, "scores": [0.5, 0.5]}


def test_a_further_map_costs_what_all_took_beyond_the_first():
    found = case_figures(MINE, THEIRS)
    assert found["first_seconds"] == 1.0
    assert found["seconds_per_map"] == 0.5
    assert found["cpu_per_map"] == 0.75
    assert found["peer_seconds_per_map"] == 2.0
    assert found["difference_to_peer"] == 0.25
    assert found["difference_to_peer_50_updates"] == 0.125
    assert found["difference_to_reference"] == 0.0


def test_maps_that_the_peer_cannot_read_have_no_figures_of_it():
    assert "peer_seconds_per_map" not in case_figures(MINE, None)


def test_the_ratio_is_that_of_a_whole_pool():
    # The peer: 11 maps of 2 s; we: 1 s for the first and 10 of 0.5 s.
    assert ratio(case_figures(MINE, THEIRS), 2.0, maps=11) == pytest.approx(22 / 6)


def test_the_line_goes_through_both_measurements_and_needs_two():
    line = line_through((2, 4), (10.0, 14.0))
    assert [line(0), line(2), line(4), line(100)] == [6.0, 10.0, 14.0, 206.0]
    with pytest.raises(ValueError, match="both measurements"):
        line_through((3, 3), (1.0, 2.0))


def found_figures(peer_seconds):
    theirs = {**THEIRS, "per_map": {"wall": peer_seconds, "cpu": 0.0}}
    cases = [
        {
            **case_figures(MINE, None if form == WIDE else theirs),
            "form": form,
            "width": 768,
            "examples": 1000,
            "classes": 4,
            "maps": 5,
            "peer_maps": 0 if form == WIDE else 2,
        }
        for form in (COMPRESSED, DENSE, WIDE)
    ]
    return {
        "cases": cases,
        "rank": 16,
        "job": {
            "texts": 1000,
            "maps": 1500,
            "ours": {"seconds": 10.0},
            "peer": {"seconds": 600.0},
        },
        "stream": {"maps": 100_000, "seconds": 250.0, "memory": {"anonymous": 1e9, "mapped": 0}},
    }


def test_targets_say_what_is_met_and_what_is_not():
    lines = targets_table(found_figures(peer_seconds=60.0)).splitlines()[2:]
    met = {line.split("|")[1].strip().partition(",")[0]: line.split("|")[-2] for line in lines}
    assert met["low-rank"].strip() == "yes"  # 60 / 0.5 is 120, less a bit for the first map
    assert met["whole job"].strip() == "yes"
    assert met["100"].strip() == "**no**"  # 100,000 maps in 250 s
    assert len(lines) == 8
    slow = targets_table(found_figures(peer_seconds=1.0))
    assert slow.count("**no**") == 4


def test_the_table_of_cases_leaves_out_what_was_not_measured():
    table = cases_table(found_figures(60.0)["cases"]).splitlines()
    assert len(table) == 5
    cells = [cell.strip() for cell in table[-1].split("|")]
    assert cells[1] == WIDE
    assert cells[5] == cells[8] == cells[9] == ""


def test_plans_hold_the_settings_of_the_targets():
    for plan in (quick(), full()):
        assert sorted(c.form for c in plan.goals) == sorted([COMPRESSED, DENSE, WIDE])
        assert {(c.width, c.examples, c.classes) for c in plan.goals} == {(768, 1000, 4)}
        assert all(case.peer_maps <= case.maps for case in (*plan.goals, *plan.grid))
        assert max(plan.job_peer_maps) <= plan.job_maps
    shapes = {(c.form, c.width, c.examples, c.classes) for c in full().grid}
    for form in (COMPRESSED, DENSE):
        for width in (384, 768):
            for n in (1000, 10_000):
                assert {(form, width, n, k) for k in (2, 5, 77)} <= shapes


def test_the_peer_is_given_the_same_values(tmp_path):
    ((folder),) = write_published(draw_compressed(1, 12, 3, 0), tmp_path, identity_of_width(12))
    (ours,) = draw_compressed(1, 12, 3, 0)
    theirs, _ = load_map(Path(folder))
    described = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    assert described["version"] == "0.2.1"  # of which the peer takes the names of the tensors
    base = np.random.default_rng(0).standard_normal((7, 12))
    np.testing.assert_allclose(theirs.apply(base), ours.apply(base), atol=1e-6)


@pytest.mark.parametrize("form", [COMPRESSED, DENSE, WIDE])
def test_our_side_scores_as_the_direct_computation_does(form, tmp_path):
    case = Case(form, 24, 60, 3, 4, 0, 2)
    job = write_target(tmp_path, case.examples, case.width, case.classes)
    maps = list(draw_low_rank(4, 24, 24, 4, 0)) if form == WIDE else list(case.draw(4))
    if form == COMPRESSED:
        maps = list(draw_compressed(4, 24, 4, 0))
    write_bundle(maps, tmp_path / "bundle")
    kind = MapForm.ANCHORED if form == WIDE else MapForm.PUBLISHED
    if form != WIDE:
        del job["lifted"]
    question = {"name": "x", "bundle": str(tmp_path / "bundle"), "form": kind, **job}
    found = score_maps({"cases": [{**question, "compare": 2, "direct": 2}]})["x"]
    assert found["maps"] == 4
    np.testing.assert_allclose(found["scores"], found["direct"], atol=1e-9)
    assert len(found["scores_50_updates"]) == 2


def test_a_job_is_done_in_a_process_of_its_own_and_its_failure_is_told(tmp_path):
    side = Side("ours", Path(sys.executable), "benchmarks.no_such_module", 1)
    with pytest.raises(SettingError, match="no_such_module"):
        side.do({"kind": "maps"}, tmp_path / "work")


def test_sets_are_judged_by_their_best_member():
    assert regret(np.array([0.5, 0.8, 1.0]), [0, 1]) == pytest.approx(20)


def test_a_doubled_pool_wastes_picks_of_the_plain_top_but_not_of_a_diverse_set():
    names = ["a", "b", "c", "d", "e", "f"]
    scores = pd.DataFrame(
        {
            "target": "t",
            "selector": "logme",
            "source": names,
            "score": [0.6, 0.59, 0.58, 0.57, 0.56, 0.55],
        }
    )
    truth = {"t": dict(zip(names, [0.5, 0.6, 1.0, 0.4, 0.4, 0.4], strict=True))}
    alignments = pd.DataFrame({"target": [], "source": [], "other": [], "alignment": []})
    judged = judge(truth, scores, alignments)
    three = judged[(judged.k == 3) & (judged.reliability == 0.7)].set_index("pool")
    assert three.loc["measured", "top"] == three.loc["measured", "diverse"] == 0
    assert three.loc["doubled", "top"] == pytest.approx(40)  # a, a and b
    assert three.loc["doubled", "diverse"] == 0  # a, b and c
