from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from esm.common.errors import EsmError, MapError, PoolError, RankingError, SettingError
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.maps.forms import MapForm
from esm.pool.build import train_pool
from esm.pool.bundle.read import Bundle
from esm.pool.entry import TrainConfig
from esm.pool.pack import pack_pool
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.ranking.result import Balance, RankConfig, Ranking
from esm.scorers.logme import logme
from esm.tasks.load import load_target, load_targets
from esm.tasks.spec import SplitSpec, TaskSpec
from esm.tasks.task import joint_hash
from esm.training.class_weights import balance_weights
from esm.training.settings import FineTuneConfig
from tests.tiny_models import save_tiny
from tests.toy_folders import label_of, texts, write_target, write_task

pytestmark = pytest.mark.slow


def spec(path, **changes):
    return TaskSpec(location=str(path), **changes)


@pytest.fixture(scope="module")
def world(tiny_bert, tmp_path_factory):
    """A pool of three sources in both forms, and a target of two attributes."""
    folder = tmp_path_factory.mktemp("world")
    words = ("cat", "dog", "sun")
    tasks = [write_task(folder / word, word, seed=i) for i, word in enumerate(words)]
    settings = TrainConfig(
        encoder=EncoderConfig(model=str(tiny_bert), max_length=32),
        fine_tune=FineTuneConfig(num_epochs=1, learning_rate=1e-3),
        forms=tuple(MapForm),
        anchors_per_task=20,
        lift_width=24,
        rank=4,
        delta="none",
    )
    train_pool([spec(path) for path in tasks], folder / "pool", settings, device="cpu")
    return folder / "pool", write_target(folder / "posts")


@pytest.fixture
def pool(world, tmp_path):
    """A copy of the pool that a test may damage."""
    shutil.copytree(world[0], tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


@pytest.mark.parametrize("form", list(MapForm))
@pytest.mark.parametrize("balance", [Balance.ON, Balance.OFF])
def test_scores_equal_the_plain_way_of_materialising_mapped_embeddings(world, form, balance):
    folder, target = world
    pool = Pool.open(folder)
    ranking = rank_sources(spec(target), pool, RankConfig(form=form, balance=balance))
    encoder = Encoder.load(EncoderConfig(model=pool.manifest.base.model, max_length=32), "cpu")
    for name, task in load_target(spec(target)).attributes.items():
        embedded = encoder.embed(task.train.texts, wide=True)
        base = embedded.last.astype(np.float64)
        lifted = pool.lift().transform(embedded.wide).astype(np.float64)
        labels = task.train.labels
        weights = balance_weights(labels) if balance is Balance.ON else None
        ranked = ranking.attributes[name]
        assert ranked.examples == len(labels)
        expected = logme(base, labels, variant="full", weights=weights)
        assert ranked.base_score == pytest.approx(expected, abs=1e-7)
        for line in ranked.ranking:
            mapped = pool.entry(line.source).load_map(form).apply(base, lifted)
            expected = logme(mapped, labels, variant="full", weights=weights)
            # Embeddings of another batch differ in the last float32 digits.
            assert line.score == pytest.approx(expected, abs=1e-5)
            assert line.gain == pytest.approx(line.score - ranked.base_score, abs=1e-12)


def test_a_null_label_leaves_the_row_out_for_that_attribute_only(world):
    ranking = rank_sources(spec(world[1]), Pool.open(world[0]))
    examples = {name: ranked.examples for name, ranked in ranking.attributes.items()}
    assert examples == {"cat": 80, "dog": 64}


def test_the_best_comes_first_and_everything_is_there(world):
    ranking = rank_sources(spec(world[1]), Pool.open(world[0]))
    for ranked in ranking.attributes.values():
        assert sorted(ranked.order) == ["cat", "dog", "sun"]
        scores = [line.score for line in ranked.ranking]
        assert scores == sorted(scores, reverse=True)
        assert [line.rank for line in ranked.ranking] == [1, 2, 3]
        assert ranked.balanced
        assert all(line.size > 0 and line.r2 <= 1 for line in ranked.ranking)


def test_test_rows_are_never_used(world, tmp_path):
    """Without its test split a target is ranked the same."""
    folder = tmp_path / "posts"
    shutil.copytree(world[1], folder)
    (folder / "test.parquet").unlink()
    with_test = rank_sources(spec(world[1]), Pool.open(world[0]))
    shutil.copy(folder / "train.parquet", tmp_path / "train.parquet")
    without = rank_sources(
        spec(tmp_path / "train.parquet", test=str(world[1] / "train.parquet")),
        Pool.open(world[0]),
    )
    for name, ranked in with_test.attributes.items():
        ours = {line.source: line.score for line in without.attributes[name].ranking}
        for line in ranked.ranking:
            assert ours[line.source] == pytest.approx(line.score, abs=1e-6)


def test_max_examples_takes_the_same_texts_for_all_attributes(world):
    ranking = rank_sources(spec(world[1]), Pool.open(world[0]), RankConfig(max_examples=40))
    again = rank_sources(spec(world[1]), Pool.open(world[0]), RankConfig(max_examples=40))
    assert ranking.attributes == again.attributes
    assert abs(ranking.attributes["cat"].examples - 40) <= 2
    assert ranking.attributes["dog"].examples < ranking.attributes["cat"].examples


def test_the_order_of_the_pool_and_a_cold_cache_change_nothing(world, monkeypatch, tmp_path):
    usual = rank_sources(spec(world[1]), Pool.open(world[0]))
    monkeypatch.setenv("ESM_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "esm.pool.pool.sorted", lambda items: sorted(items, reverse=True), raising=False
    )
    turned = rank_sources(spec(world[1]), Pool.open(world[0]))
    assert turned.attributes == usual.attributes


def test_save_and_load(world, tmp_path):
    ranking = rank_sources(spec(world[1]), Pool.open(world[0]))
    assert {row["target"] for row in ranking.records()} == {"posts/cat", "posts/dog"}
    ranking.save(tmp_path / "r.json")
    loaded = Ranking.load(tmp_path / "r.json")
    assert loaded.as_dict() == ranking.as_dict()
    content = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert content["target"] == "posts"
    assert content["scorer"] == "logme"
    first = content["attributes"]["cat"]["ranking"][0]
    assert first.keys() >= {"rank", "source", "score", "gain"}
    (tmp_path / "x.json").write_text('{"target": 1}', encoding="utf-8")
    with pytest.raises(RankingError, match=r"x.json: .*expected a ranking, written by"):
        Ranking.load(tmp_path / "x.json")


def damage(pool, file, change):
    path = pool.folder / "sources" / "dog" / "anchored" / file
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("model.safetensors", lambda b: b[:-10], "truncated or not safetensors"),
        ("model.safetensors", lambda b: b.replace(b'"left"', b'"lost"'), "lost"),
        ("config.json", lambda b: b.replace(b'"width": 32', b'"width": 16'), "width"),
        ("config.json", lambda b: b.replace(b"{", b'{"extra": 1,', 1), "extra"),
    ],
)
def test_a_damaged_map_is_skipped_and_named(world, pool, file, change, reason):
    damage(pool, file, change)
    ranking = rank_sources(spec(world[1]), pool)
    for ranked in ranking.attributes.values():
        assert sorted(ranked.order) == ["cat", "sun"]
        assert [skip.source for skip in ranked.skipped] == ["dog"]
        assert reason in ranked.skipped[0].reason
    with pytest.raises(MapError, match=reason):
        rank_sources(spec(world[1]), pool, RankConfig(strict=True))


def test_a_damaged_record_is_skipped_and_named(world, pool):
    path = pool.source_folder("dog") / "source.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"id"', '"idd"'), encoding="utf-8")
    ranking = rank_sources(spec(world[1]), pool)
    assert [skip.source for skip in ranking.attributes["cat"].skipped] == ["dog"]
    with pytest.raises(EsmError, match=r"source.json"):
        rank_sources(spec(world[1]), pool, RankConfig(strict=True))


def test_a_file_that_is_missing_is_named(world, pool):
    (pool.source_folder("dog") / "anchored" / "model.safetensors").unlink()
    ranking = rank_sources(spec(world[1]), pool)
    assert "no file" in ranking.attributes["cat"].skipped[0].reason


def test_another_lift_is_refused(world, pool):
    other = np.random.default_rng(0)
    from esm.maps.lift import Lift

    Lift.fit(other.standard_normal((50, 288)).astype(np.float32), width=24).save(
        pool.folder / "lift.safetensors"
    )
    with pytest.raises(PoolError, match="holds another lift than its manifest names"):
        rank_sources(spec(world[1]), pool)


def test_another_base_model_is_refused(world, pool, tmp_path):
    other = save_tiny("bert", tmp_path / "other", seed=1)
    with pytest.raises(PoolError, match=r"base model .* is not the one pool .* was built with"):
        rank_sources(spec(world[1]), pool, base=str(other))


def test_the_target_is_no_source_for_itself(world):
    pool = Pool.open(world[0])
    source = world[0].parent / "cat"
    ranking = rank_sources(spec(source), pool)
    ranked = ranking.attributes["label"]
    assert sorted(ranked.order) == ["dog", "sun"]
    assert ("cat", "is the target itself") in [(s.source, s.reason) for s in ranked.skipped]


def test_a_file_with_the_name_of_a_source_is_no_reason_to_leave_it_out(world, tmp_path):
    path = tmp_path / "cat.csv"
    rows = "\n".join(f"the sun number {i} runs,{'yes' if i % 3 else 'no'}" for i in range(40))
    path.write_text(f"text,good\n{rows}\n", encoding="utf-8")
    ranked = rank_sources(spec(path, attributes=("good",)), Pool.open(world[0])).attributes["good"]
    assert sorted(ranked.order) == ["cat", "dog", "sun"]


def test_a_rare_class_of_one_attribute_does_not_end_the_others(world, tmp_path):
    """Two positives among 400 rows: the sample keeps at least one of them."""
    path = tmp_path / "posts.csv"
    rows = [f"the cat number {i} runs,{i % 2},{int(i in (7, 300))}" for i in range(400)]
    path.write_text("text,even,rare\n" + "\n".join(rows), encoding="utf-8")
    ranking = rank_sources(
        spec(path, attributes=("even", "rare")), Pool.open(world[0]), RankConfig(max_examples=50)
    )
    assert list(ranking.attributes) == ["even", "rare"]


def test_rows_that_are_left_out_and_classes_without_test_rows_are_named(world, tmp_path):
    rows = [f"the cat number {i} runs,{['yes', 'no', 'maybe'][i % 3]}" for i in range(60)]
    path, test = tmp_path / "posts.csv", tmp_path / "test.csv"
    path.write_text("text,good\n" + "\n".join(rows), encoding="utf-8")
    others = [f"the dog number {i} runs,{['Yes', 'no', 'never'][i % 3]}" for i in range(30)]
    test.write_text("text,good\n" + "\n".join(others), encoding="utf-8")
    ranking = rank_sources(spec(path, test=str(test)), Pool.open(world[0]))
    said = [one for one in ranking.warnings if one.startswith("good: ")]
    assert said == [
        "good: classes without a test row: 1 of 3; in train: maybe 20; scores say nothing of them",
        "good: rows left out because no training row has their label: 10 of 30 test rows: never 10",
        "good: rows whose label is another spelling of a class: 10; read Yes as yes 10",
    ]


def test_an_attribute_without_a_source_does_not_end_the_others(world, pool, tmp_path):
    """The pool holds only the attribute `cat` of the target itself."""
    shutil.rmtree(pool.source_folder("dog"))
    shutil.rmtree(pool.source_folder("sun"))
    record = json.loads((pool.source_folder("cat") / "source.json").read_text(encoding="utf-8"))
    record["task_hash"] = load_target(spec(world[1])).attributes["cat"].content_hash()
    (pool.source_folder("cat") / "source.json").write_text(json.dumps(record), encoding="utf-8")
    ranking = rank_sources(spec(world[1]), pool)
    assert list(ranking.attributes) == ["dog"]
    assert "is the target itself" in ranking.unusable["cat"]
    with pytest.raises(RankingError, match="no source could be scored for posts/cat"):
        rank_sources(spec(world[1]), pool, RankConfig(strict=True))


def test_a_pool_of_the_target_alone_says_so(world, pool):
    for name in ("dog", "sun"):
        shutil.rmtree(pool.source_folder(name))
    with pytest.raises(RankingError, match=r"no source could be scored.*is the target itself"):
        rank_sources(spec(world[0].parent / "cat"), pool)


def test_regression_and_multilabel_attributes(world, tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        words = rng.choice(["cat", "dog", "sun", "moon", "tree"], 5)
        tags = sorted({w for w in words if w in ("cat", "dog")})
        rows.append({"text": f"{' '.join(words)} {i}", "score": float(rng.normal()), "tags": tags})
    path = tmp_path / "mixed.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    ranking = rank_sources(
        spec(path, text="text", attributes=("score", "tags")), Pool.open(world[0])
    )
    assert ranking.attributes["score"].metric == "spearman"
    assert not ranking.attributes["score"].balanced
    for ranked in ranking.attributes.values():
        assert len(ranked.ranking) == 3
        assert all(np.isfinite(line.score) for line in ranked.ranking)


def test_an_attribute_that_cannot_be_ranked_is_named(world, tmp_path):
    path = tmp_path / "posts.csv"
    rows = "\n".join(f"the cat number {i} runs,{'yes' if i % 2 else 'no'},same" for i in range(40))
    path.write_text(f"text,good,constant\n{rows}\n", encoding="utf-8")
    target = spec(path, attributes=("good",))
    assert list(rank_sources(target, Pool.open(world[0])).attributes) == ["good"]
    with pytest.raises(EsmError, match=r"one class only|constant"):
        rank_sources(spec(path, attributes=("constant",)), Pool.open(world[0]))


# --------------------------------------------------------------------------- folds and siblings


def test_each_fold_is_scored_on_its_own_training_rows(world):
    folder, target = world
    how = spec(target, split=SplitSpec(method="k-fold", folds=3))
    pool = Pool.open(folder)
    ranking = rank_sources(how, pool)
    targets = load_targets(how)
    assert ranking.target_hash == joint_hash(targets)
    encoder = Encoder.load(EncoderConfig(model=pool.manifest.base.model, max_length=32), "cpu")
    for name, ranked in ranking.attributes.items():
        expected = {"": []} | {source: [] for source in ranked.order}
        for fold in targets:
            train = fold.attributes[name].train
            embedded = encoder.embed(train.texts, wide=True)
            base = embedded.last.astype(np.float64)
            lifted = pool.lift().transform(embedded.wide).astype(np.float64)
            weights = balance_weights(train.labels)
            for source, scores in expected.items():
                load = pool.entry(source).load_map(MapForm.ANCHORED).apply if source else None
                mapped = load(base, lifted) if load else base
                scores.append(logme(mapped, train.labels, variant="full", weights=weights))
        assert ranked.base_score == pytest.approx(np.mean(expected.pop("")), abs=1e-5)
        for line in ranked.ranking:
            assert line.score == pytest.approx(np.mean(expected[line.source]), abs=1e-5)
        for fold, order in enumerate(ranked.by_fold):
            assert list(order) == sorted(order, key=lambda source: -expected[source][fold])
        assert len(ranked.by_fold) == 3
        assert ranked.examples == (80 if name == "cat" else 64)  # two thirds of 120 and of 96


def test_a_fixed_split_has_no_folds(world):
    ranking = rank_sources(spec(world[1]), Pool.open(world[0]))
    assert {ranked.by_fold for ranked in ranking.attributes.values()} == {()}
    assert {line.sibling for r in ranking.attributes.values() for line in r.ranking} == {False}


def test_siblings_are_sources_where_they_saw_no_test_text(world, tmp_path):
    config = TrainConfig(
        encoder=EncoderConfig(model=Pool.open(world[0]).manifest.base.model, max_length=32),
        fine_tune=FineTuneConfig(num_epochs=1, max_examples=16),
        anchors_per_task=20,
        lift_width=8,
        rank=2,
    )
    sources = spec(world[1], attributes=("cat", "dog"))
    report = train_pool([sources], tmp_path / "pool", config, device="cpu")
    assert report.trained == ("posts/cat", "posts/dog")
    pool = Pool.open(tmp_path / "pool")
    assert pool.entry("posts/dog").record.task.attributes == ("dog",)
    assert pool.entry("posts/dog").record.num_train == 64
    ranked = rank_sources(spec(world[1]), pool).attributes["cat"]
    assert [(line.source, line.sibling) for line in ranked.ranking] == [("posts/dog", True)]
    assert [skip.source for skip in ranked.skipped] == ["posts/cat"]
    for split, seen in ({"method": "k-fold"}, 80), ({"method": "stratified", "seed": 3}, None):
        with pytest.raises(RankingError, match="no source could be scored") as caught:
            rank_sources(spec(world[1], split=SplitSpec(**split)), pool)
        assert f"hold {seen or ''}" in str(caught.value)
        assert "test texts of the target" in str(caught.value)


def test_sources_whose_licence_does_not_fit_are_left_out_with_the_reason(world, pool, tmp_path):
    path = pool.source_folder("cat") / "source.json"
    record = json.loads(path.read_text())
    record["metadata"]["license"] = "CC BY-NC 4.0"
    path.write_text(json.dumps(record))
    _, target = world
    ranking = rank_sources(spec(target), pool, RankConfig(licences=("commercial",)), device="cpu")
    for ranked in ranking.attributes.values():
        assert [(skip.source, skip.reason) for skip in ranked.skipped] == [
            (
                "cat",
                "its licence, CC BY-NC 4.0 (non-commercial), does not meet --licence commercial",
            )
        ]
        assert {(line.licence, line.terms) for line in ranked.ranking} == {("CC0", "commercial")}
    none_fits = r"none of the .* has a licence that meets --licence mit"
    with pytest.raises(RankingError, match=none_fits):
        rank_sources(spec(target), pool, RankConfig(licences=("mit",)), device="cpu")


def test_a_target_in_another_language_is_warned_of(world, pool, tmp_path):
    shutil.copytree(world[1], tmp_path / "posts")
    described = tmp_path / "posts" / "target.json"
    described.write_text(described.read_text().replace('"language": "en"', '"language": "sk"'))
    warnings = rank_sources(spec(tmp_path / "posts"), pool, device="cpu").warnings
    assert any(
        warning.startswith("none of the 3 sources that declare a language is in the target's")
        for warning in warnings
    )


@pytest.mark.parametrize("form", list(MapForm))
def test_a_packed_pool_ranks_as_the_pool_it_was_packed_from(world, tmp_path, form):
    original = Pool.open(world[0])
    pack_pool(original, tmp_path / "packed")
    packed = Pool.open(tmp_path / "packed")
    config = RankConfig(form=form)
    found = rank_sources(spec(world[1]), packed, config)
    assert found.attributes == rank_sources(spec(world[1]), original, config).attributes


def test_a_shortlist_scores_some_and_says_how_many_it_left_out(world, tmp_path):
    pack_pool(Pool.open(world[0]), tmp_path / "packed", index=True)
    packed = Pool.open(tmp_path / "packed")
    target = spec(world[1])
    whole = rank_sources(target, packed, device="cpu")
    large = rank_sources(target, packed, RankConfig(shortlist=3), device="cpu")
    for name, ranked in whole.attributes.items():
        assert large.attributes[name].ranking == ranked.ranking
        assert large.attributes[name].not_scored == 0
    small = rank_sources(target, packed, RankConfig(shortlist=2), device="cpu")
    for name, ranked in small.attributes.items():
        assert ranked.not_scored == 1
        assert len(ranked.ranking) == 2
        exact = {line.source: line.score for line in whole.attributes[name].ranking}
        assert {line.source: line.score for line in ranked.ranking} == {
            line.source: exact[line.source] for line in ranked.ranking
        }
        assert f"{name}: 1 sources were not scored, only a shortlist of 2" in small.warnings


def test_a_shortlist_needs_an_index_and_a_scorer_of_maps(world, tmp_path):
    with pytest.raises(PoolError, match="is not packed"):
        rank_sources(spec(world[1]), Pool.open(world[0]), RankConfig(shortlist=2), device="cpu")
    pack_pool(Pool.open(world[0]), tmp_path / "packed")
    packed = Pool.open(tmp_path / "packed")
    with pytest.raises(PoolError, match="has no index of anchored maps"):
        rank_sources(spec(world[1]), packed, RankConfig(shortlist=2), device="cpu")
    with pytest.raises(SettingError, match="--shortlist with scorer size"):
        config = RankConfig(shortlist=2, scorer="size")
        rank_sources(spec(world[1]), packed, config, device="cpu")


def _packed(world, folder):
    """Pack the pool with an index."""
    pack_pool(Pool.open(world[0]), folder, index=True)
    return Pool.open(folder)


def _without_writing_over_the_length(folder, old, new):
    """Replace text in the records by text of the same length, so that all offsets hold."""
    path = folder / "records.jsonl"
    assert len(old) == len(new)
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new), encoding="utf-8")


def test_of_a_shortlist_only_the_records_of_the_chosen_are_read(world, tmp_path, monkeypatch):
    packed, read = _packed(world, tmp_path / "packed"), set()
    entry = Bundle.entry

    def noted(bundle, number):
        read.add(number)
        return entry(bundle, number)

    monkeypatch.setattr(Bundle, "entry", noted)
    name = next(iter(load_target(spec(world[1])).attributes))
    found = rank_sources(
        spec(world[1], attributes=(name,)), packed, RankConfig(shortlist=1), device="cpu"
    )
    (line,) = found.attributes[name].ranking
    assert read == {("cat", "dog", "sun").index(line.source)}


def test_the_next_best_takes_the_place_of_a_damaged_source(world, tmp_path):
    packed = _packed(world, tmp_path / "packed")
    target = spec(world[1])
    whole = rank_sources(target, packed, device="cpu")
    name, ranked = next(iter(whole.attributes.items()))
    first, *others = (line.source for line in ranked.ranking)
    _without_writing_over_the_length(
        packed.folder, f'"record": {{"id": "{first}"', f'"record": {{"id": "{first[:-1]}?"'
    )
    found = rank_sources(target, packed, RankConfig(shortlist=2), device="cpu").attributes[name]
    assert [line.source for line in found.ranking] == others
    (skip,) = found.skipped
    assert skip.source == f"map {('cat', 'dog', 'sun').index(first) + 1} of maps-00000.safetensors"
    assert f"{first[:-1]}?" in skip.reason
    assert found.not_scored == 0
    with pytest.raises(PoolError, match=f"{first[:-1]}[?]"):
        rank_sources(target, packed, RankConfig(shortlist=2, strict=True), device="cpu")


@pytest.mark.parametrize("word", ["cat", "dog", "sun"])
def test_the_next_best_takes_the_place_of_the_target_itself(world, tmp_path, word):
    packed = _packed(world, tmp_path / "packed")
    target = spec(world[0].parent / word)
    whole = rank_sources(target, packed, device="cpu")
    found = rank_sources(target, packed, RankConfig(shortlist=2), device="cpu")
    ((name, ranked),) = found.attributes.items()
    assert ranked.ranking == whole.attributes[name].ranking
    assert len(ranked.ranking) == 2
    assert [(one.source, one.reason) for one in ranked.skipped] in (
        [(word, "is the target itself")],
        [],  # where it came last, nobody asked
    )
    assert ranked.not_scored == 1 - len(ranked.skipped)


@pytest.mark.parametrize("word", ["cat", "dog", "sun"])
def test_a_shortlist_of_one_passes_over_a_source_that_overlaps(world, tmp_path, word):
    packed = _packed(world, tmp_path / "packed")
    held = pq.read_table(world[0].parent / word / "train.parquet")["text"].to_pylist()[:30]
    rows = held + texts(40, seed=3000)
    labels = ["yes" if label_of(row, "cat") else "no" for row in rows]
    pq.write_table(pa.table({"text": rows, "cat": labels}), tmp_path / "leaked.parquet")
    target = spec(tmp_path / "leaked.parquet", attributes=("cat",))
    # It holds 43 % of the texts (sun would come first); what others seem to hold nearly, by a
    # random key, is about 5 %.
    config = RankConfig(exclude_overlap=0.3)
    whole = rank_sources(target, packed, config, device="cpu").attributes["cat"]
    assert [skip.source for skip in whole.skipped] == [word]
    narrow = config.model_copy(update={"shortlist": 1})
    found = rank_sources(target, packed, narrow, device="cpu").attributes["cat"]
    assert found.ranking == whole.ranking[:1]


def test_a_shortlist_of_licences_reads_all_records(world, tmp_path):
    packed = _packed(world, tmp_path / "packed")
    with pytest.raises(RankingError, match=r"none of the 3 sources of .* has a licence"):
        rank_sources(
            spec(world[1]), packed, RankConfig(shortlist=2, licences=("mit",)), device="cpu"
        )


def _files_of(packed, form=MapForm.ANCHORED):
    return [packed.folder / one.file for one in packed.bundle.manifest.maps if one.form is form]


def _nan_in_the_map_of(packed, source):
    """Overwrite a packed map of a source with numbers that are not finite."""
    ((path,), entry) = _files_of(packed), packed.bundle.find(source)
    content = path.read_bytes()
    biases = load_file(path)["bias"]
    at = content.index(biases.tobytes())
    row = entry.line.maps[MapForm.ANCHORED].row
    begin, size = at + row * biases[0].nbytes, biases[0].nbytes
    nan = np.full_like(biases[0], np.nan).tobytes()
    path.write_bytes(content[:begin] + nan + content[begin + size :])
    return Pool.open(packed.folder)


def test_a_damaged_map_is_named_though_its_record_was_never_chosen(world, tmp_path):
    damaged = _nan_in_the_map_of(_packed(world, tmp_path / "packed"), "dog")
    found = rank_sources(spec(world[1]), damaged, RankConfig(shortlist=2), device="cpu")
    for ranked in found.attributes.values():
        assert sorted(line.source for line in ranked.ranking) == ["cat", "sun"]
        (skip,) = ranked.skipped
        assert skip.source == "dog"
        assert "is damaged" in skip.reason
        assert ranked.not_scored == 0
    with pytest.raises(MapError, match="dog"):
        rank_sources(spec(world[1]), damaged, RankConfig(shortlist=2, strict=True), device="cpu")


def test_a_truncated_file_of_maps_is_named(world, tmp_path):
    packed = _packed(world, tmp_path / "packed")
    (path,) = _files_of(packed)
    path.write_bytes(path.read_bytes()[:-40])
    for strict, refusal in ((False, RankingError), (True, PoolError)):
        config = RankConfig(shortlist=2, strict=strict)
        with pytest.raises(refusal, match=f"3 sources in {path.name}: .* is truncated"):
            rank_sources(spec(world[1]), Pool.open(packed.folder), config, device="cpu")


@pytest.mark.parametrize("wrong", [0, 99])
def test_a_map_that_is_taken_for_another_sources_is_not_ranked(world, tmp_path, wrong):
    packed = _packed(world, tmp_path / "packed")
    (path,) = _files_of(packed)
    tensors = load_file(path)
    tensors["entry"][2] = wrong
    save_file(tensors, path)
    found = rank_sources(
        spec(world[1]), Pool.open(packed.folder), RankConfig(shortlist=2), device="cpu"
    )
    for ranked in found.attributes.values():
        assert "sun" not in [line.source for line in ranked.ranking]
        assert len({line.source for line in ranked.ranking}) == 2


def test_sources_without_a_map_in_the_index_are_told(world, tmp_path):
    shutil.copytree(world[0], tmp_path / "pool")
    record = tmp_path / "pool" / "sources" / "dog" / "source.json"
    content = json.loads(record.read_text())
    del content["maps"]["anchored"]
    record.write_text(json.dumps(content))
    shutil.rmtree(tmp_path / "pool" / "sources" / "dog" / "anchored", ignore_errors=True)
    pack_pool(Pool.open(tmp_path / "pool"), tmp_path / "packed", index=True)
    packed = Pool.open(tmp_path / "packed")
    config = RankConfig(shortlist=3, form=MapForm.ANCHORED)
    found = rank_sources(spec(world[1]), packed, config, device="cpu")
    said = "1 sources have no anchored map in the index, so that no shortlist holds them"
    assert said in found.warnings
    assert all(ranked.not_scored == 0 for ranked in found.attributes.values())
    with pytest.raises(PoolError, match=said):
        strict = config.model_copy(update={"strict": True})
        rank_sources(spec(world[1]), packed, strict, device="cpu")


def test_the_language_of_a_shortlist_is_not_told_as_that_of_the_pool(world, tmp_path):
    shutil.copytree(world[0], tmp_path / "pool")
    for number, word in enumerate(("cat", "dog", "sun")):
        record = tmp_path / "pool" / "sources" / word / "source.json"
        content = json.loads(record.read_text())
        content["metadata"]["language"] = ("sk", "en", "en")[number]
        record.write_text(json.dumps(content))
    pack_pool(Pool.open(tmp_path / "pool"), tmp_path / "packed", index=True)
    target = spec(world[1], language="sk")
    for limit in (1, 3):
        config = RankConfig(shortlist=limit)
        found = rank_sources(target, Pool.open(tmp_path / "packed"), config, device="cpu")
        about = [said for said in found.warnings if "declare a language" in said]
        ranked = {line.source for one in found.attributes.values() for line in one.ranking}
        assert len(about) == ("cat" not in ranked)
        for said in about:
            assert "sources of the shortlist that declare a language" in said
            assert "add" not in said
