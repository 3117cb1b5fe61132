"""Intervals on the lines of a ranking made of arrays: order of the sources, folds, weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from esm.common.errors import SettingError
from esm.ranking.intervals import check_bootstrap, with_intervals
from esm.ranking.result import RankConfig, RankedSource
from esm.scorers.base import EmbeddingKind, Evidence
from esm.scorers.logme import LogME
from esm.scorers.size import Size
from tests.evidence import record_of, source_of, target_of

SCORER = LogME("tuned-logme", EmbeddingKind.TUNED)


def made(balanced=False):
    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.3).astype(np.int64)
    base = rng.standard_normal((60, 5)).astype(np.float32)
    sources = [
        source_of(record_of(name), tuned=base + (shift * labels[:, None]).astype(np.float32))
        for name, shift in (("cat", 0.6), ("dog", 0.3), ("sun", 0.2))
    ]
    return target_of(labels, base, balanced=balanced), sources


def lines_of(folds, sources, config):
    lines = []
    for rank, source in enumerate(sources, start=1):
        score, base = (
            float(np.mean([SCORER.score(Evidence(fold, one)) for fold in folds]))
            for one in (source, None)
        )
        lines.append(
            RankedSource(
                rank=rank, source=source.id, score=score, gain=score - base, r2=None, size=None
            )
        )
    found = with_intervals(lines, sources, folds, SCORER, config)
    return {line.source: line for line in found}


@pytest.mark.parametrize("balanced", [False, True])
def test_intervals_do_not_depend_on_the_order_of_the_sources(balanced):
    target, sources = made(balanced)
    config = RankConfig(bootstrap=200, top_k=2)
    first = lines_of([target], sources, config)
    again = lines_of([target], sources[::-1], config)
    for name, line in first.items():
        assert line.gain_low < line.gain < line.gain_high
        assert again[name].gain_low == pytest.approx(line.gain_low, rel=1e-9)
        assert again[name].gain_high == pytest.approx(line.gain_high, rel=1e-9)
        assert again[name].group == line.group
    assert sum(line.top_probability for line in first.values()) == pytest.approx(2)


def test_the_same_fold_twice_is_as_sure_as_once():
    target, sources = made()
    config = RankConfig(bootstrap=200)
    once, twice = lines_of([target], sources, config), lines_of([target] * 2, sources, config)
    for name, line in once.items():
        assert twice[name].gain_low == pytest.approx(line.gain_low, rel=1e-9)


def test_rows_of_one_text_are_one_example():
    target, sources = made()
    rows = np.repeat(target.rows[:30], 2)
    doubled = replace(target, rows=rows, examples=target.examples, weights=None)
    labels = np.repeat(target.labels[:30], 2)
    doubled = replace(doubled, examples=replace(target.examples, labels=labels))
    config = RankConfig(bootstrap=400)
    wide, narrow = (lines_of([one], sources, config)["cat"] for one in (doubled, target))
    assert wide.gain_high - wide.gain_low > narrow.gain_high - narrow.gain_low


def test_no_bootstrap_leaves_the_lines_alone():
    target, sources = made()
    assert lines_of([target], sources, RankConfig())["cat"].gain_low is None


def test_other_scorers_and_a_handful_of_draws_are_refused():
    with pytest.raises(SettingError, match="--bootstrap 200 for scorer size"):
        check_bootstrap(RankConfig(bootstrap=200), Size())
    with pytest.raises(SettingError, match="at least 50 draws"):
        check_bootstrap(RankConfig(bootstrap=5), SCORER)
    check_bootstrap(RankConfig(), Size())
