"""The mark of trust and the flags of a ranked source."""

from __future__ import annotations

import pytest

from esm.ranking.leaks.overlap import Overlap
from esm.ranking.result import RankedSource
from esm.report.reliability import flag_notes, flags, licence_flag, trust, trust_note
from esm.scorers.base import EmbeddingKind
from tests.unit.report.test_results import ranking

LEAK = Overlap(texts=0.125, tests=None, num_texts=80, num_tests=0, other=0.0, flagged=True)
CLEAN = LEAK.model_copy(update={"texts": 0.0, "flagged": False})
SURE = {"gain_low": 0.1, "gain_high": 0.3, "top_probability": 0.97, "group": 1}


def source(**values):
    base = {"rank": 1, "source": "a", "score": 0.2, "gain": 0.2, "r2": 0.8, "size": 9}
    return RankedSource(**(base | {"licence": "MIT"} | values))


def of(bootstrap=0, reads=EmbeddingKind.MAPPED):
    plainly = ranking()
    config = plainly.config.model_copy(update={"bootstrap": bootstrap})
    return plainly.model_copy(update={"config": config, "reads": reads})


@pytest.mark.parametrize(
    ("values", "mark"),
    [
        (SURE, "high"),
        (SURE | {"gain_low": -0.3, "gain_high": -0.1}, "high"),  # it hurts, for sure
        (SURE | {"top_probability": 0.05}, "high"),  # not among the best, for sure
        (SURE | {"top_probability": 0.6}, "medium"),
        (SURE | {"r2": 0.5}, "high"),
        (SURE | {"r2": None}, "medium"),
        (SURE | {"gain_low": -0.01}, "low"),
        (SURE | {"r2": 0.49}, "low"),
        (SURE | {"overlap": LEAK}, "low"),
        (SURE | {"overlap": LEAK, "sibling": True}, "high"),
        ({}, "medium"),
        ({"r2": 0.5}, "medium"),
        ({"r2": 0.49}, "low"),
        ({"r2": None}, "-"),
    ],
)
def test_trust_of_a_source_with_a_map(values, mark):
    assert trust(of(200), source(**values)) == mark


def test_trust_where_no_map_is_scored():
    tuned = of(200, reads=EmbeddingKind.TUNED)
    assert trust(tuned, source(r2=-1.0, **SURE)) == "high"
    assert trust(tuned, source()) == "-"


def test_the_note_says_what_the_marks_mean():
    with_intervals, without = trust_note(of(200)), trust_note(of())
    assert "nine of ten draws agree whether it is in the top 3" in with_intervals
    assert "high takes --bootstrap 200" in without
    blind = of(reads=None).model_copy(update={"scorer": "size"})
    assert "R²" not in trust_note(blind)
    assert "bootstrap" not in trust_note(blind)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({}, "-"),
        ({"overlap": LEAK}, "leak 12 %"),
        ({"overlap": CLEAN}, "-"),
        ({"overlap": LEAK, "sibling": True}, "own data"),
        ({"licence": "CC BY-NC 4.0"}, "NC"),
        ({"licence": ""}, "licence?"),
        ({"licence": "see the page"}, "licence?"),
        (
            {"group": 1, "source": "b", "overlap": LEAK, "licence": ""},
            "leak 12 %, tied, licence?",
        ),
        ({"group": 1}, "-"),
    ],
)
def test_flags(values, shown):
    assert flags(source(**values), overlap_known=False, firsts=["a"]) == shown


def test_a_source_whose_texts_are_not_known_is_flagged_where_others_are_known():
    assert flags(source(), overlap_known=True) == "leak?"
    assert flags(source(overlap=CLEAN), overlap_known=True) == "-"


def test_flags_in_use_are_explained():
    assert flag_notes(["-", "-"]) == []
    (note,) = flag_notes(["leak 12 %, NC", "-"])
    assert note.startswith("flags: leak: ")
    assert "NC: its licence forbids commercial use" in note
    assert "tied" not in note
    assert [licence_flag(text) for text in ("MIT", "cc-by-nc-4.0", "")] == ["", "NC", "licence?"]
