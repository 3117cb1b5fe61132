"""What a model on the Hub declares for itself, where the Hub can and cannot be asked."""

from __future__ import annotations

import logging

import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.file_download import _CACHED_NO_EXIST

from esm.encoder import declared


def answers(monkeypatch, error, cached=None):
    def download(*_, **__):
        raise error

    monkeypatch.setattr(declared, "hf_hub_download", download)
    monkeypatch.setattr(declared, "try_to_load_from_cache", lambda *_, **__: cached)


def test_a_hub_that_is_out_of_reach_is_not_taken_for_a_model_that_declares_nothing(
    monkeypatch, caplog
):
    answers(monkeypatch, LocalEntryNotFoundError("offline"))
    with caplog.at_level(logging.WARNING):
        assert declared.declared_pooling("org/unreached", None) is None
    assert "whether org/unreached declares 1_Pooling/config.json is not known" in caplog.text


def test_what_is_known_to_be_absent_needs_no_word(monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        answers(monkeypatch, EntryNotFoundError("no such file"))
        assert declared.declared_pooling("org/without", None) is None
        answers(monkeypatch, LocalEntryNotFoundError("offline"), _CACHED_NO_EXIST)
        assert declared.declared_pooling("org/known-without", None) is None
    assert not caplog.text


@pytest.mark.parametrize("error", [ValueError("broken")])
def test_other_errors_are_not_swallowed(monkeypatch, error):
    answers(monkeypatch, error)
    with pytest.raises(ValueError, match="broken"):
        declared.declared_pooling("org/broken", None)
