"""The benchmark of blind spots: its cases, its interval, its table."""

from __future__ import annotations

import pytest

from benchmarks.blind import LEVELS, WAYS, margin, posts, table, wilson


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (81, 100, 0.7222, 0.8749)],
)
def test_the_wilson_interval(right, count, low, high):
    """By hand: n successes of n give n / (n + z²), z² = 3.8415; Wilson's formula for 81 of 100."""
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("level", LEVELS)
def test_posts_are_balanced_and_the_cue_follows_the_label_as_often_as_the_level_says(level):
    texts, labels = posts(0, "endorsed", level, 400)
    assert labels.sum() == 200
    assert posts(0, "endorsed", level, 400)[0] == texts
    weather = ("rain", "fog", "frost", "storm", "sun is out", "snow")
    about_weather = [any(word in text.lower() for word in weather) for text in texts]
    follows = sum(about == (label == 0) for about, label in zip(about_weather, labels, strict=True))
    expected = {"none": 0.5, "partly": 0.75, "fully": 1.0}[level]
    assert follows / 400 == pytest.approx(expected, abs=0.08)


def test_the_margin_is_to_the_best_other_source_and_the_table_counts():
    def case(planted, other, level):
        scores = {"a": dict.fromkeys(WAYS, planted), "b": dict.fromkeys(WAYS, other)}
        scores["c"] = dict.fromkeys(WAYS, -9.0)
        return {"seed": 0, "level": level, "planted": "a", "scores": scores}

    rows = [case(0.5, 0.25, "none"), case(-1.0, -0.5, "none"), case(1.0, 0.0, "fully")]
    assert [margin(row, "delta") for row in rows] == [0.25, -0.5, 1.0]
    lines = table(rows).splitlines()
    assert lines[-3].startswith("| none | 2 | 50 % (9 to 91), -0.125 |")
    assert lines[-2] == "| partly | 0 | - | - | - | - |"
    assert lines[-1].startswith("| fully | 1 | 100 % (21 to 100), +1.000 |")
