"""Filters keep maps that are worth fetching, and say which they left out."""

from __future__ import annotations

import pytest

from esm.common.errors import PoolError, SettingError
from esm.encoder.settings import Pooling
from esm.maps.published_config import PublishedConfig
from esm.pool.hub.base_models import fine_tune_settings, published_pooling, read_base, source_task
from esm.pool.hub.filters import Candidate, Filters, is_meaningful
from esm.pool.hub.hub import DatasetFacts, FileFacts, Listing
from esm.training.settings import FineTuneConfig


def candidate(repo, *, rows=100, dataset="owner/data", weights="w", **changes):
    config = {"task_id": dataset, "label_column": "label", "text_column": "text"} | changes
    return Candidate(
        Listing(repo, "0" * 40, ()),
        PublishedConfig(num_examples=rows, **config),
        4,
        DatasetFacts(),
        FileFacts(None, f"{weights}{repo}", None),
        {},
    )


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        ("text", "label", True),
        ("sentence", "sentiment", True),
        ("headline", "isSarcastic", True),
        ("text", "date", False),
        ("text", "created_at", False),
        ("text", "postId", False),
        ("text", "url", False),
        ("text", "title", False),
        ("text", "title_class", True),
        ("text", "text", False),
        ("id", "label", False),
        ("text_id", "label", True),
        (None, None, True),
        ("word", "valid", True),
    ],
)
def test_a_label_is_judged_by_its_name(text, label, expected):
    assert is_meaningful(PublishedConfig(text_column=text, label_column=label)) is expected


def test_filters_are_read_as_a_user_writes_them():
    filters = Filters.parse(["rows=500", "unique", "task", "language= SK | cs", "licence=CC BY"])
    assert filters == Filters(
        rows=500, unique=True, task=True, languages=("sk", "cs"), licences=("cc by",)
    )


@pytest.mark.parametrize("word", ["rows", "rows=many", "unique=1", "language=", "size=3", ""])
def test_an_unknown_filter_is_named(word):
    with pytest.raises(SettingError, match=r"filter '.*expected rows=N, task, meaningful"):
        Filters.parse([word])


def test_of_copies_the_one_with_most_rows_is_kept():
    kept, left_out = Filters(unique=True).apply(
        [
            candidate("a/small", rows=10),
            candidate("b/large", rows=1000, dataset="copies/Data"),
            candidate("c/other-label", label_column="topic"),
            candidate("d/other-part", task_subset="part"),
        ]
    )
    assert [each.repo for each in kept] == ["b/large", "c/other-label", "d/other-part"]
    assert left_out == {"unique": 1}


def test_unknown_rows_are_few_rows():
    kept, left_out = Filters(rows=1).apply([candidate("a/b", rows=None)])
    assert (kept, left_out) == ([], {"rows": 1})


def test_a_task_needs_dataset_and_columns():
    whole = PublishedConfig(task_id="owner/data", text_column="text", label_column="label")
    assert source_task(whole).attributes == ("label",)
    for missing in ("task_id", "text_column", "label_column"):
        assert source_task(whole.model_copy(update={missing: None})) is None
    for name in ("../up", "/etc/passwd", "imdb", "a/b/c", "a/.."):
        assert source_task(whole.model_copy(update={"task_id": name})) is None
    assert source_task(whole.model_copy(update={"text_column": ("a", "b", "c")})) is None


def test_settings_that_cannot_be_are_not_taken():
    assert fine_tune_settings(PublishedConfig(lm_num_epochs=0)) == FineTuneConfig.paper()
    assert fine_tune_settings(PublishedConfig(lm_num_epochs=5)).num_epochs == 5


@pytest.mark.parametrize(
    ("model", "model_type", "expected"),
    [
        ("google-bert/bert-base-multilingual-uncased", "bert", Pooling.POOLER),
        ("sentence-transformers/all-MiniLM-L6-v2", "bert", Pooling.MEAN),
        ("FacebookAI/roberta-base", "roberta", Pooling.CLS),
        ("distilbert/distilbert-base-uncased", "distilbert", Pooling.CLS),
        ("answerdotai/ModernBERT-base", "modernbert", None),
    ],
)
def test_pooling_follows_the_peer(model, model_type, expected):
    assert published_pooling(model, model_type) is expected


def test_the_sizes_of_a_base_model_are_read_from_its_configuration():
    config = {"model_type": "distilbert", "dim": 768, "n_layers": 6, "max_position_embeddings": 512}
    base = read_base("x", "some/x", "0" * 40, config).identity
    assert (base.width, base.num_layers, base.max_length) == (768, 6, 128)
    with pytest.raises(PoolError, match="states no sizes"):
        read_base("x", "some/x", "0" * 40, {"model_type": "bert", "hidden_size": "wide"})
