"""Packing, checking and listing pools."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from esm.cli.app import app
from esm.common.errors import MapError, PoolError, SettingError
from esm.common.storage import save_tensors
from esm.maps.forms import MapForm
from esm.pool.filters import SourceFilters
from esm.pool.fingerprints import FINGERPRINT_NAME, KEY_NAME, Fingerprint, FingerprintKey
from esm.pool.pack import pack_pool
from esm.pool.pool import Pool
from esm.pool.verify import verify_pool
from esm.ranking.leaks.derived import DerivedSources
from esm.ranking.leaks.overlap import Overlaps, TargetSketches
from esm.tasks.identity import unsalted_numbers
from esm.tasks.load import load_targets
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Examples, Metric, Problem, SplitName, Task
from tests.pool_of_maps import WIDTH, write_pool


@pytest.fixture
def pool(tmp_path):
    return write_pool(tmp_path / "pool")


def invoke(*arguments):
    return CliRunner().invoke(app, ["pool", *map(str, arguments)])


# ----------------------------------------------------------------------------------------- pack


def test_a_report_says_what_was_packed(pool, tmp_path):
    save_tensors(pool.source_folder("a") / "model" / "model.safetensors", {"w": np.ones(3)})
    report = pack_pool(pool, tmp_path / "packed")
    assert (report.sources, report.maps) == (3, 6)
    assert report.left_out == {"model": 1}
    assert report.bytes_after == sum(
        path.stat().st_size for path in (tmp_path / "packed").iterdir()
    )
    assert report.bytes_before > 3 * 6 * 6 * 2


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_number_format_can_be_changed(tmp_path, dtype):
    pool = write_pool(tmp_path / "pool", dtype="float32")
    pack_pool(pool, tmp_path / "packed", dtype=dtype)
    packed = Pool.open(tmp_path / "packed")
    for form in MapForm:
        found = packed.entry("a").load_map(form)
        expected = pool.entry("a").load_map(form).cast(dtype)
        np.testing.assert_array_equal(found.affine(), expected.affine())
        assert found.bias.dtype == dtype


def test_what_compression_loses_is_reported(pool):
    packed = invoke("pack", pool.folder, "--compress", 2)
    assert packed.exit_code == 0, packed.output
    assert "lost by compression" in packed.stdout
    table = invoke("ls", f"{pool.folder}.packed", "--filter", "map=published")
    assert table.exit_code == 0


def test_what_is_known_of_texts_is_private_or_left_out(pool, tmp_path):
    key = pool.folder / KEY_NAME
    FingerprintKey(bytes(32), np.zeros(WIDTH, dtype=np.float32)).save(pool.folder)
    pack_pool(pool, tmp_path / "own")
    report = pack_pool(pool, tmp_path / "given", share=True)
    mode = lambda path: path.stat().st_mode & 0o777  # noqa: E731
    assert mode(tmp_path / "own" / "files-00000.safetensors") == 0o600
    assert mode(tmp_path / "own" / key.name) == 0o600
    assert not (tmp_path / "given" / key.name).exists()
    assert report.left_out == {FINGERPRINT_NAME: 3, key.name: 1}
    given = Pool.open(tmp_path / "given")
    assert given.entry("a").load_fingerprint(None) is None
    assert given.entry("a").load_head()["weight"].shape == (2, 6)
    assert given.bundle.manifest.left_out == (key.name, FINGERPRINT_NAME)


def line(number):
    return f"this is the post with the number {number}"


def embed(rows):
    """Embeddings that hang on the text's number alone."""
    numbers = [int(text.split()[-1]) for text in rows.texts]
    return np.stack([np.random.default_rng(n).standard_normal(WIDTH) for n in numbers])


def rows(*numbers):
    return Examples(tuple(map(line, numbers)), None, np.zeros(len(numbers), dtype=np.int64))


@pytest.fixture
def target(tmp_path):
    """Posts 0 to 99."""
    lines = [f"{line(i)},{'ab'[i % 2]}" for i in range(100)]
    path = tmp_path / "posts.csv"
    path.write_text("\n".join(["text,tone", *lines]) + "\n", encoding="utf-8")
    return TaskSpec(location=str(path), attributes=("tone",))


def overlaps_with(pool, target):
    """What the sources of a pool share with the target, near copies among it."""
    key = pool.fingerprint_key()
    sketches = None
    if key is not None:
        sketches = lambda: TargetSketches(False, key.sketches(embed(rows(*range(100)))))  # noqa: E731
    overlaps = Overlaps(DerivedSources(target, load_targets(target), key), sketches)
    return {entry.id: overlaps.of(entry, "tone") for entry in pool.entries(strict=True)[0]}


def test_a_packed_pool_finds_the_same_overlap(pool, target, tmp_path):
    """Source a trains on 10 of 100 posts and 20 others; b/two keeps numbers as of old; c none."""
    key = FingerprintKey(bytes(range(32)), np.zeros(WIDTH, dtype=np.float32))
    key.save(pool.folder)
    splits = {SplitName.TRAIN: rows(*range(90, 120)), SplitName.TEST: rows(*range(5))}
    task = Task("a", Problem.CLASSIFICATION, Metric.ACCURACY, ("no", "yes"), splits)
    Fingerprint.of(key, task, embed).save(pool.source_folder("a"), key)
    old = np.unique(unsalted_numbers([line(i) for i in range(7)]))
    save_tensors(pool.source_folder("b/two") / FINGERPRINT_NAME, {"keys": old}, private=True)
    (pool.source_folder("c") / FINGERPRINT_NAME).unlink()
    pack_pool(pool, tmp_path / "packed")
    pack_pool(pool, tmp_path / "given", share=True)

    found = overlaps_with(pool, target)
    assert (found["a"].num_texts, found["a"].texts, found["a"].other) == (10, 0.1, 0.05)
    assert found["a"].near >= 0.1
    assert (found["b/two"].num_texts, found["b/two"].near) == (7, None)
    assert found["c"] is None
    packed = Pool.open(tmp_path / "packed")
    assert packed.fingerprint_key().secret == key.secret
    assert overlaps_with(packed, target) == found
    given = Pool.open(tmp_path / "given")
    assert given.fingerprint_key() is None
    assert overlaps_with(given, target) == dict.fromkeys(("a", "b/two", "c"))


def test_a_damaged_source_is_left_out_and_named(pool, tmp_path):
    (pool.source_folder("a") / "anchored" / "model.safetensors").write_bytes(b"half")
    report = pack_pool(pool, tmp_path / "packed")
    assert [skip.source for skip in report.skipped] == ["a"]
    assert [entry.id for entry in Pool.open(tmp_path / "packed").entries()[0]] == ["b/two", "c"]
    with pytest.raises(MapError, match="truncated"):
        pack_pool(pool, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_a_pool_without_a_whole_source_is_refused(tmp_path):
    pool = write_pool(tmp_path / "pool", sources=())
    with pytest.raises(PoolError, match="none of the 0 sources"):
        pack_pool(pool, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_an_existing_folder_is_left_alone(pool, tmp_path):
    (tmp_path / "packed").mkdir()
    with pytest.raises(PoolError, match="exists"):
        pack_pool(pool, tmp_path / "packed")


# --------------------------------------------------------------------------------------- verify


@pytest.mark.parametrize("packed", [False, True])
def test_a_whole_pool_has_no_faults(pool, tmp_path, packed):
    if packed:
        pack_pool(pool, tmp_path / "packed")
        pool = Pool.open(tmp_path / "packed")
    report = verify_pool(pool)
    assert (report.sources, report.maps, report.faults) == (3, 6, ())


def test_every_fault_of_a_pool_is_named(pool):
    (pool.source_folder("a") / "anchored" / "model.safetensors").write_bytes(b"half")
    (pool.source_folder("a") / FINGERPRINT_NAME).write_bytes(b"half")
    (pool.source_folder("c") / "source.json").write_text("{}")
    (pool.folder / "anchors.json").write_text("half")
    report = verify_pool(pool)
    assert (report.sources, report.maps) == (1, 2)
    assert report.bad == ("a", "c")
    reasons = {}
    for fault in report.faults:
        reasons.setdefault(fault.source, []).append(fault.reason)
    assert "anchors.json is not JSON" in reasons[""][0]
    assert ["truncated" in reason for reason in reasons["a"]] == [True, True]
    assert "config_hash" in reasons["c"][0] or "id" in reasons["c"][0]


def test_a_damaged_fingerprint_key_is_a_fault_of_the_whole_pool(pool):
    FingerprintKey(bytes(32), np.zeros(WIDTH + 1, dtype=np.float32)).save(pool.folder)
    report = verify_pool(pool)
    assert [fault.source for fault in report.faults] == [""]
    assert f"embeddings of width {WIDTH + 1}" in report.faults[0].reason


def test_another_lift_is_a_fault_of_the_whole_pool(pool, tmp_path):
    other = write_pool(tmp_path / "other")
    content = bytearray((other.folder / "lift.safetensors").read_bytes())
    content[-1] ^= 1
    (pool.folder / "lift.safetensors").write_bytes(content)
    report = verify_pool(pool)
    assert [fault.source for fault in report.faults] == [""]
    assert "holds another lift" in report.faults[0].reason


def test_a_packed_map_that_is_said_to_be_another_sources_is_a_fault(pool, tmp_path):
    pack_pool(pool, tmp_path / "packed")
    packed = Pool.open(tmp_path / "packed")
    place = packed.bundle.find("c").line.maps[MapForm.ANCHORED]
    path = packed.folder / packed.bundle.manifest.maps[place.shard].file
    tensors = load_file(path)
    tensors["entry"][place.row] = 0
    save_file(tensors, path)
    report = verify_pool(Pool.open(packed.folder))
    assert report.bad == ("c",)
    assert "says that the anchored map of c is one of a" in report.faults[0].reason


def test_a_damaged_index_is_a_fault_of_the_whole_pool(pool, tmp_path):
    pack_pool(pool, tmp_path / "packed", index=True)
    packed = Pool.open(tmp_path / "packed")
    assert verify_pool(packed).faults == ()
    (packed.folder / "shortlist-anchored.safetensors").write_bytes(b"half")
    (fault,) = verify_pool(packed).faults
    assert fault.source == ""
    assert "shortlist-anchored.safetensors is truncated" in fault.reason


def test_numbers_of_texts_that_lack_something_are_a_fault_of_their_source(pool):
    save_tensors(pool.source_folder("a") / FINGERPRINT_NAME, {"key": np.ones(1)})
    report = verify_pool(pool)
    assert report.bad == ("a",)
    assert (report.sources, len(report.faults)) == (2, 1)


def test_a_damaged_fingerprint_key_is_named_once(pool):
    key = FingerprintKey(bytes(32), np.zeros(WIDTH, dtype=np.float32))
    splits = {SplitName.TRAIN: rows(*range(30))}
    task = Task("a", Problem.CLASSIFICATION, Metric.ACCURACY, ("no", "yes"), splits)
    Fingerprint.of(key, task, embed).save(pool.source_folder("a"), key)
    (pool.folder / KEY_NAME).write_bytes(b"half")
    (fault,) = verify_pool(pool).faults
    assert "truncated" in fault.reason


def test_an_absent_fingerprint_key_is_a_fault_where_sources_need_one(pool):
    key = FingerprintKey(bytes(32), np.zeros(WIDTH, dtype=np.float32))
    key.save(pool.folder)
    splits = {SplitName.TRAIN: rows(*range(30))}
    task = Task("a", Problem.CLASSIFICATION, Metric.ACCURACY, ("no", "yes"), splits)
    Fingerprint.of(key, task, embed).save(pool.source_folder("a"), key)
    assert verify_pool(pool).faults == ()
    (pool.folder / KEY_NAME).unlink()
    (fault,) = verify_pool(pool).faults
    assert fault.source == ""
    assert "1 sources" in fault.reason and KEY_NAME in fault.reason


# --------------------------------------------------------------------------------------- filter


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ([], "abc"),
        (["language=sk"], "a"),
        (["language=sk|en", "rows=250"], "c"),
        (["domain=medical"], "bc"),
        (["licence=commercial"], "bc"),
        (["metric=accuracy"], "a"),
        (["quality=0.7"], "ac"),
        (["r2=0.5"], "c"),
        (["map=published", "kind=classification"], "abc"),
        (["kind=regression"], ""),
    ],
)
def test_filters(pool, words, kept):
    filters = SourceFilters.parse(words)
    found = [entry.id[0] for entry in pool.entries()[0] if filters.keeps(entry.record)]
    assert "".join(found) == kept


@pytest.mark.parametrize("word", ["size", "rows=many", "r2=", "language=", "map=dense", "r2=high"])
def test_unknown_filters_are_named(word):
    with pytest.raises(SettingError, match=f"filter '{word}'"):
        SourceFilters.parse([word])


def test_what_is_not_known_meets_no_condition(pool):
    record = pool.entry("a").record.model_copy(
        update={"metric": None, "num_used": None, "problem": None, "maps": {}}
    )
    for word in ("quality=0.1", "rows=1", "kind=classification", "r2=0.1", "metric=accuracy"):
        assert not SourceFilters.parse([word]).keeps(record)
    assert SourceFilters.parse([]).keeps(record)


# ---------------------------------------------------------------------------------- the verbs


def test_pack_verify_and_list_from_the_command_line(pool):
    packed = invoke("pack", pool.folder, "--json")
    assert packed.exit_code == 0, packed.output
    bundle = json.loads(packed.stdout)["folder"]
    assert bundle == f"{pool.folder}.packed"
    assert invoke("verify", bundle).exit_code == 0
    listed = invoke("ls", bundle, "--filter", "language=sk,rows=100", "--json")
    content = json.loads(listed.stdout)
    assert [source["id"] for source in content["sources"]] == ["a"]
    assert content["of"] == 3
    table = invoke("ls", bundle, "--filter", "language=sk")
    assert "1 of 3 sources" in table.stdout
    shown = CliRunner().invoke(app, ["show", bundle])
    assert "3 sources" in shown.stdout


def test_verify_ends_with_one_where_something_is_bad(pool, tmp_path):
    (pool.source_folder("a") / "anchored" / "model.safetensors").write_bytes(b"half")
    out = tmp_path / "faults.csv"
    result = invoke("verify", pool.folder, "--out", out)
    assert result.exit_code == 1
    assert "truncated" in result.stdout.replace("\n", " ")
    assert "a," in out.read_text()


def test_ls_wants_a_pool_or_a_base_model(pool):
    for arguments in ([], [pool.folder, "--base", "x/y"], ["--base", "x/y", "--filter", "rows=1"]):
        result = invoke("ls", *arguments)
        assert result.exit_code == 2
        assert "expected" in result.output


def test_pack_takes_two_number_formats(pool):
    result = invoke("pack", pool.folder, "--dtype", "int8")
    assert result.exit_code == 2
    assert "float16 or float32" in result.output
