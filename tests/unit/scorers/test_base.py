"""What a scorer has without saying so."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from esm.common.errors import MapError, TaskError
from esm.scorers.base import EmbeddingKind, Need, Scorer


class Length(Scorer):
    """Scores a source by the length of its name, and fails for some."""

    name = "length"
    unit = "letters"

    def score(self, evidence):
        source = evidence.source.id
        if source == "damaged":
            raise MapError("a damaged map")
        if source == "fault":
            raise TaskError("no fault of the source")
        return float(len(source) * evidence.target)


def source(name):
    one = SimpleNamespace(id=name)
    one.passing = lambda: one
    return one


def test_all_sources_are_scored_in_every_fold_and_a_bad_one_keeps_its_reason():
    found = Length().score_all([1, 10], [source("cat"), source("damaged"), source("sun!")])
    np.testing.assert_array_equal(found["cat"], [3.0, 30.0])
    np.testing.assert_array_equal(found["sun!"], [4.0, 40.0])
    assert isinstance(found["damaged"], MapError)
    with pytest.raises(TaskError, match="no fault of the source"):
        Length().score_all([1], [source("fault")])


def test_a_scorer_needs_the_embeddings_that_it_reads():
    class Reading(Length):
        reads = EmbeddingKind.TUNED

    assert Length().needs == frozenset()
    assert Reading().needs == {Need.TUNED}


def test_what_a_scorer_does_not_declare_it_cannot_do():
    scorer = Length()
    assert not (scorer.can_estimate or scorer.is_sum_over_rows or scorer.has_base)
    assert scorer.features(None) is None
    with pytest.raises(NotImplementedError, match="length estimates no scores"):
        scorer.estimate_all(None, [])
    with pytest.raises(NotImplementedError, match="length is no sum over rows"):
        scorer.contributions(None)
