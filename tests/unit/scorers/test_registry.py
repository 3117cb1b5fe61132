"""Every scorer by its name, and the settings that go with it."""

from __future__ import annotations

import pytest

from esm.common.errors import SettingError
from esm.scorers.base import EmbeddingKind, Need
from esm.scorers.registry import ScorerName, make_scorer

RESULTS = {"sst2": {"cat": 0.5}}


def made(name, **settings):
    results = RESULTS if name is ScorerName.STATIC else None
    return make_scorer(name, results=results, **settings)


@pytest.mark.parametrize("name", list(ScorerName))
def test_a_scorer_bears_the_name_it_is_asked_for_by(name):
    scorer = made(name)
    assert scorer.name == name
    assert scorer.unit
    if scorer.reads is not None:
        assert scorer.reads.need in scorer.needs
    assert not scorer.needs & {Need.MAP, Need.TUNED} or scorer.reads is not None
    assert scorer.can_estimate == (name is ScorerName.LOGME)
    assert scorer.is_sum_over_rows == (name in (ScorerName.LOGME, ScorerName.TUNED_LOGME))


def test_heads_are_read_with_tuned_encoders_where_all_sources_keep_them():
    for name in (ScorerName.LEEP, ScorerName.NCE):
        assert made(name).reads is EmbeddingKind.MAPPED
        assert made(name, all_tuned=True).reads is EmbeddingKind.TUNED
        mapped = made(name, all_tuned=True, embeddings=EmbeddingKind.MAPPED)
        assert mapped.reads is EmbeddingKind.MAPPED
    assert made(ScorerName.HSCORE).reads is EmbeddingKind.TUNED
    assert made(ScorerName.KNN, embeddings=EmbeddingKind.TUNED).reads is EmbeddingKind.TUNED


def test_settings_that_do_not_go_with_a_scorer():
    with pytest.raises(SettingError, match="--embeddings tuned for scorer logme"):
        make_scorer(ScorerName.LOGME, embeddings=EmbeddingKind.TUNED)
    with pytest.raises(SettingError, match="scorer static without measured results"):
        make_scorer(ScorerName.STATIC)
    with pytest.raises(SettingError, match="scorer size with measured results"):
        make_scorer(ScorerName.SIZE, results=RESULTS)
