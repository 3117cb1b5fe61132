from __future__ import annotations

import json
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from esm.common.errors import FitError, MapError, ShapeError, StorageError, TaskError
from esm.common.storage import load_tensors, save_tensors
from esm.encoder.cache import EmbeddingCache
from esm.maps.anchors import AnchorRef, Anchors, corpus_anchors, draw_anchors, restore_anchors
from esm.maps.lift import Lift
from esm.tasks.task import Examples, Metric, Problem, SplitName, Task


def task(name: str, texts: list[str], pairs: list[str] | None = None) -> Task:
    labels = np.arange(len(texts)) % 2
    rows = Examples(tuple(texts), None if pairs is None else tuple(pairs), labels)
    held = Examples(("never an anchor",), None if pairs is None else ("x",), labels[:1])
    splits = {SplitName.TRAIN: rows, SplitName.VALIDATION: held, SplitName.TEST: held}
    return Task(name, Problem.CLASSIFICATION, Metric.MACRO_F1, ("no", "yes"), splits)


@pytest.fixture
def tasks() -> list[Task]:
    return [
        task("films", [f"film {i}" for i in range(30)]),
        task("claims", [f"claim {i}" for i in range(20)], [f"proof {i}" for i in range(20)]),
        task("small", ["film 3", "film 4", "rain", "rain", "sun"]),
    ]


# ---------------------------------------------------------------------------------------- drawing


def test_anchors_come_from_training_rows_by_task(tasks):
    anchors = draw_anchors(tasks, per_task=10, seed=1)
    drawn = {name: set() for name in ("claims", "films", "small")}
    for text, group in zip(anchors.texts, anchors.groups, strict=True):
        drawn[group].add(text)
    assert (len(drawn["claims"]), len(drawn["films"]), len(anchors)) == (
        10,
        10,
        20 + len(drawn["small"]),
    )
    assert drawn["small"] == {"film 3", "film 4", "rain", "sun"} - drawn["films"]
    by_name = {task.id: task.train for task in tasks}
    for text, pair, group, ref in zip(
        anchors.texts, anchors.pairs, anchors.groups, anchors.refs, strict=True
    ):
        rows = by_name[group]
        assert ref.task == group
        assert rows.texts[ref.row] == text
        assert pair == (None if rows.pairs is None else rows.pairs[ref.row])


def test_the_order_of_the_tasks_does_not_matter(tasks):
    drawn = draw_anchors(tasks, per_task=10, seed=1)
    assert draw_anchors(tasks[::-1], per_task=10, seed=1) == drawn
    assert draw_anchors(tasks[::-1], per_task=10, seed=1).content_hash() == drawn.content_hash()


def test_another_seed_draws_other_rows(tasks):
    drawn = [draw_anchors(tasks, per_task=5, seed=seed) for seed in (1, 2)]
    assert drawn[0].content_hash() != drawn[1].content_hash()


def test_the_draw_of_a_task_does_not_depend_on_unrelated_tasks(tasks):
    alone = draw_anchors(tasks[:1], per_task=5)
    together = draw_anchors(tasks[:2], per_task=5)
    assert set(alone.refs) <= set(together.refs)


@settings(max_examples=25, deadline=None)
@given(
    columns=st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1), min_size=1, max_size=4),
    per_task=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_no_text_is_drawn_twice_and_none_is_missed_without_need(columns, per_task, seed):
    tasks = [task(f"t{i}", column) for i, column in enumerate(columns)]
    anchors = draw_anchors(tasks, per_task, seed)
    assert len(set(anchors.texts)) == len(anchors)
    everything = set().union(*columns)
    if per_task >= 8:
        assert set(anchors.texts) == everything
    for name, column in zip((t.id for t in tasks), columns, strict=True):
        drawn = anchors.groups.count(name)
        assert drawn == per_task or set(column) <= set(anchors.texts)


def test_a_text_alone_and_as_a_pair_are_two_anchors():
    anchors = draw_anchors([task("a", ["x"]), task("b", ["x"], [""])], per_task=5)
    assert list(zip(anchors.texts, anchors.pairs, strict=True)) == [("x", None), ("x", "")]
    assert len({ref.hash for ref in anchors.refs}) == 2


def test_parts_must_be_as_many():
    with pytest.raises(ShapeError, match=r"2 anchor texts, 1 second texts.*as many of each"):
        Anchors(("a", "b"), (None,), ("g", "g"), ())


def test_references_are_read_strictly():
    with pytest.raises(ValueError, match="colour"):
        AnchorRef.model_validate({"task": "a", "row": 0, "hash": "x", "colour": "red"})


# -------------------------------------------------------------------------------------- embedding


def test_pairs_embed_as_pairs_and_single_texts_as_single_texts(tiny_encoder, tasks):
    anchors = draw_anchors(tasks, per_task=4)
    embeddings = anchors.embed(EmbeddingCache(None), tiny_encoder, wide=True)
    for row, (text, pair) in enumerate(zip(anchors.texts, anchors.pairs, strict=True)):
        alone = tiny_encoder.embed([text], None if pair is None else [pair], wide=True)
        np.testing.assert_allclose(embeddings.last[row], alone.last[0], atol=1e-5)
        np.testing.assert_allclose(embeddings.wide[row], alone.wide[0], atol=1e-5)


@pytest.mark.parametrize("chosen", [slice(0, 1), slice(1, 2)])
def test_anchors_of_one_kind_embed_too(tiny_encoder, tasks, chosen):
    anchors = draw_anchors(tasks[chosen], per_task=4)
    embeddings = anchors.embed(EmbeddingCache(None), tiny_encoder)
    assert embeddings.last.shape == (4, 32)
    assert embeddings.wide is None


# -------------------------------------------------------------------------------------- restoring


def test_references_find_their_texts_again(tasks):
    anchors = draw_anchors(tasks, per_task=6)
    refs = [AnchorRef.model_validate(json.loads(ref.model_dump_json())) for ref in anchors.refs]
    extra = task("other", ["more"])
    assert restore_anchors(refs, [extra, *tasks[::-1]]) == anchors


def test_a_task_that_is_gone_is_named(tasks):
    anchors = draw_anchors(tasks)
    with pytest.raises(TaskError, match=r"tasks that are not there: films, small; expected"):
        restore_anchors(anchors.refs, tasks[1:2])


def test_changed_rows_are_counted_by_task_and_never_shown(tasks):
    anchors = draw_anchors(tasks, per_task=30)
    changed = [
        task("films", ["secret", *tasks[0].train.texts[1:]]),
        task("claims", list(tasks[1].train.texts[:15]), list(tasks[1].train.pairs[:15])),
        tasks[2],
    ]
    with pytest.raises(
        TaskError, match="have changed: 5 of 20 from claims, 1 of 30 from films"
    ) as e:
        restore_anchors(anchors.refs, changed)
    assert "secret" not in str(e.value)


# ----------------------------------------------------------------------------------------- corpora


def test_a_text_file_gives_one_anchor_a_line(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("one\ntwo\u2028still two\n\n  \none\nthree\n", encoding="utf-8")
    anchors = corpus_anchors(path)
    assert len(anchors) == 3
    assert set(anchors.texts) == {"one", "two\u2028still two", "three"}
    assert anchors.pairs == (None, None, None)
    assert len(set(anchors.groups)) == 3
    assert {ref.task for ref in anchors.refs} == {"corpus.txt"}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_gives_its_text_column(tmp_path, suffix):
    import pandas as pd

    path = tmp_path / f"corpus{suffix}"
    table = pd.DataFrame({"text": [f"text number {i}" for i in range(40)], "year": range(40)})
    match suffix:
        case ".csv" | ".tsv":
            table.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
        case ".jsonl":
            table.to_json(path, orient="records", lines=True)
        case ".parquet":
            table.to_parquet(path)
    anchors = corpus_anchors(path, count=10, seed=3)
    assert len(anchors) == 10
    assert anchors.texts == tuple(f"text number {ref.row}" for ref in anchors.refs)
    assert corpus_anchors(path, count=10, seed=3) == anchors
    assert corpus_anchors(path, count=10, seed=4) != anchors


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.txt", b"\n \n", "holds no text; expected at least one"),
        ("c.txt", b"caf\x98\x81\n", r"c\.txt is neither UTF-8 \(byte 0x98 in line 1\) nor"),
        ("c.pdf", b"%PDF", r"is a \.pdf file; expected one of \.csv, \.tsv"),
        (
            "c.csv",
            b"body,year\nhello,1\n",
            r"no column 'text' in the corpus .* expected one of 'body'",
        ),
        ("c.csv", b"text\n1\n2\n", "column 'text' of .* does not hold texts"),
        ("c.csv", b"", "is empty"),
        ("c.txt", None, r"no file .*c\.txt; expected an existing file"),
    ],
)
def test_a_bad_corpus_is_one_clear_error(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TaskError, match=message):
        corpus_anchors(path)


# -------------------------------------------------------------------------------------------- lift


def wide_features(n: int, D: int, seed: int = 0) -> np.ndarray:
    """Correlated features of very different sizes and offsets, as hidden states have them."""
    generator = np.random.default_rng(seed)
    mixed = generator.standard_normal((n, D)) @ generator.standard_normal((D, D))
    scale = 10.0 ** generator.uniform(-2, 2, D)
    return (mixed * scale + 5 * scale * generator.standard_normal(D)).astype(np.float32)


@pytest.mark.parametrize(("n", "D"), [(200, 24), (20, 24), (24, 24)])
def test_the_lift_is_scikit_learns_standardised_pca(n, D):
    wide = wide_features(n, D)
    lift = Lift.fit(wide, width=10)
    standardised = StandardScaler().fit_transform(wide.astype(np.float64))
    pca = PCA(n_components=10, svd_solver="full").fit(standardised)
    expected = pca.transform(standardised)
    lifted = lift.transform(wide)
    signs = np.sign((expected * lifted).sum(axis=0))
    np.testing.assert_allclose(lifted, expected * signs, atol=2e-4)
    np.testing.assert_allclose(lift.components.T @ lift.components, np.eye(10), atol=1e-5)


def test_transform_in_float32_is_close_to_float64():
    wide = wide_features(400, 96)
    lift = Lift.fit(wide, width=64)
    exact = ((wide.astype(np.float64) - lift.mean) / lift.scale) @ lift.components.astype(
        np.float64
    )
    lifted = lift.transform(wide)
    assert lifted.dtype == np.float32
    error = np.linalg.norm(lifted - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert error.max() < 5e-6


def test_one_row_at_a_time_gives_the_same():
    wide = wide_features(50, 24)
    lift = Lift.fit(wide)
    one_by_one = np.concatenate([lift.transform(row[None]) for row in wide])
    np.testing.assert_allclose(one_by_one, lift.transform(wide), atol=1e-4)


def test_fitting_twice_gives_the_same_bytes():
    wide = wide_features(50, 24)
    assert Lift.fit(wide).content_hash() == Lift.fit(wide.copy()).content_hash()
    assert Lift.fit(wide, width=5).content_hash() != Lift.fit(wide).content_hash()


def test_the_largest_entry_of_a_component_is_positive():
    components = Lift.fit(wide_features(50, 24)).components
    assert (components[np.abs(components).argmax(axis=0), np.arange(24)] > 0).all()


def test_the_lift_does_not_depend_on_which_gram_matrix_is_smaller():
    wide = wide_features(20, 24)
    twice = np.concatenate([wide, wide])
    np.testing.assert_allclose(
        Lift.fit(wide, width=8).components[:, :4],
        Lift.fit(twice, width=8).components[:, :4],
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("n", "D", "width", "expected"), [(50, 24, 10, 10), (50, 24, 99, 24), (9, 24, 99, 8)]
)
def test_the_width_is_clipped_to_what_there_is(n, D, width, expected):
    assert Lift.fit(wide_features(n, D), width=width).width == expected


def test_constant_and_repeated_features_add_no_direction():
    wide = wide_features(60, 6)
    constant = np.full((60, 2), 1e4, dtype=np.float32)
    noisy = constant * (1 + 1e-7 * np.random.default_rng(0).standard_normal((60, 2)))
    more = np.concatenate([wide, constant, noisy.astype(np.float32), wide[:, :2]], axis=1)
    lift = Lift.fit(more)
    assert lift.scale[6:10].tolist() == [1.0] * 4
    lifted = lift.transform(more)
    assert (lifted.std(axis=0) > 1e-3).sum() == 6
    assert np.isfinite(lifted).all()


@pytest.mark.parametrize(
    ("wide", "message"),
    [
        (np.ones((1, 4)), r"wide features \(1, 4\).*n at least 2"),
        (np.full((5, 4), np.nan), "some not finite"),
        (np.ones((5, 4)), "no wide feature varies over the anchors"),
        (np.ones(5), r"wide features \(5,\)"),
    ],
)
def test_a_lift_needs_features_that_vary(wide, message):
    with pytest.raises(FitError, match=message):
        Lift.fit(wide)


def test_features_of_another_model_are_refused():
    lift = Lift.fit(wide_features(50, 24))
    with pytest.raises(ShapeError, match=r"\(3, 23\); expected \(n, 24\).*base model of the pool"):
        lift.transform(np.zeros((3, 23), np.float32))


def test_saving_is_exact_and_a_second_save_is_byte_identical(tmp_path):
    lift = Lift.fit(wide_features(50, 24), width=7)
    lift.save(tmp_path / "lift.safetensors")
    loaded = Lift.load(tmp_path / "lift.safetensors")
    for name in ("mean", "scale", "components"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(lift, name))
    assert loaded.content_hash() == lift.content_hash()
    assert loaded.width == 7
    loaded.save(tmp_path / "again.safetensors")
    first, second = (tmp_path / name for name in ("lift.safetensors", "again.safetensors"))
    assert first.read_bytes() == second.read_bytes()
    assert stat.S_IMODE(first.stat().st_mode) & 0o044  # shared with the pool: it holds no text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": None}, r"holds components, mean; expected mean, scale and components"),
        ({"extra": np.ones(2)}, r"holds components, extra, mean, scale"),
        ({"mean": np.zeros(23, np.float32)}, r"mean \(23,\) float32.*expected float32 of shape"),
        ({"components": np.zeros((24, 25), np.float32)}, r"p at most D"),
        ({"components": np.zeros((24, 0), np.float32)}, r"p at most D"),
        ({"components": np.zeros(24, np.float32)}, r"components \(24,\)"),
        ({"mean": np.zeros(24)}, r"mean \(24,\) float64"),
        ({"scale": np.zeros(24, np.float32)}, "scales that are not positive"),
        ({"mean": np.full(24, np.inf, np.float32)}, "NaN or infinite entries"),
    ],
)
def test_a_damaged_lift_is_refused(tmp_path, change, message):
    path = tmp_path / "lift.safetensors"
    Lift.fit(wide_features(50, 24), width=7).save(path)
    tensors = {**load_tensors(path), **change}
    save_tensors(path, {name: array for name, array in tensors.items() if array is not None})
    with pytest.raises(MapError, match=message):
        Lift.load(path)


def test_a_truncated_or_absent_lift_is_refused(tmp_path):
    path = tmp_path / "lift.safetensors"
    with pytest.raises(StorageError, match="no file"):
        Lift.load(path)
    Lift.fit(wide_features(50, 24)).save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(MapError, match="truncated or not safetensors"):
        Lift.load(path)
