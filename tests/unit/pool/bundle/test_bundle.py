"""A packed pool gives back, through the same calls, what the pool of folders holds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from esm.common.errors import MapError, PoolError, StorageError
from esm.maps.compressed import compress
from esm.maps.forms import LowRankMap, MapForm
from esm.pool.build import train_pool
from esm.pool.bundle import write as bundle_write
from esm.pool.bundle.layout import is_bundle
from esm.pool.bundle.read import Bundle
from esm.pool.bundle.write import BundleWriter
from esm.pool.entry import TrainConfig
from esm.pool.pack import pack_pool
from esm.pool.pool import Pool
from esm.tasks.spec import TaskSpec
from tests.likelihood_cases import draw_low_rank
from tests.pool_of_maps import write_pool
from tests.toy_folders import write_task


@pytest.fixture
def pool(tmp_path):
    return write_pool(tmp_path / "pool", ranks=(2, 3))


@pytest.fixture
def packed(pool, tmp_path):
    pack_pool(pool, tmp_path / "packed")
    return Pool.open(tmp_path / "packed")


def same(one, other):
    ours, theirs = one.tensors(), other.tensors()
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
        assert array.dtype == theirs[name].dtype


def numbers(entry):
    return entry.load_fingerprint(None).train.tolist()


def test_every_entry_comes_back_as_it_was(pool, packed):
    assert packed.bundle is not None
    assert packed.manifest == pool.manifest
    assert packed.lift().content_hash() == pool.lift().content_hash()
    entries, skipped = packed.entries(strict=True)
    assert not skipped
    assert [entry.id for entry in entries] == ["a", "b/two", "c"]
    for entry in entries:
        original = pool.entry(entry.id)
        for form in MapForm:
            same(entry.load_map(form), original.load_map(form))
        for name, array in original.load_head().items():
            np.testing.assert_array_equal(entry.load_head()[name], array)
        assert numbers(entry) == numbers(original)
        assert entry.tensors("other.safetensors") is None
        assert entry.model_folder is None
        sizes = {
            form: sum(array.nbytes for array in original.load_map(form).tensors().values())
            for form in MapForm
        }
        assert {form: fit.bytes for form, fit in entry.record.maps.items()} == sizes
        rest = {"maps"}
        assert entry.record.model_dump(exclude=rest) == original.record.model_dump(exclude=rest)


def test_an_entry_is_found_by_its_id(packed):
    for source in ("a", "b/two", "c"):
        assert packed.entry(source).id == source
    for source in ("b", "0", "d"):
        with pytest.raises(PoolError, match=f"no source '{source}'"):
            packed.entry(source)


def test_maps_and_files_are_spread_over_several_files(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_write, "_SHARD_BYTES", 50)
    pack_pool(pool, tmp_path / "packed")
    packed = Pool.open(tmp_path / "packed")
    assert len(packed.bundle.manifest.maps) == 6
    assert len(packed.bundle.manifest.files) > 1
    for entry in packed.entries(strict=True)[0]:
        same(entry.load_map(MapForm.ANCHORED), pool.entry(entry.id).load_map(MapForm.ANCHORED))
        assert numbers(entry) == numbers(pool.entry(entry.id))


def test_opening_reads_no_records_and_no_maps(packed):
    for path in packed.folder.iterdir():
        if path.name.startswith(("maps-", "files-", "records", "index")):
            path.unlink()
    assert len(Bundle.open(packed.folder)) == 3
    with pytest.raises(StorageError, match="index"):
        Pool.open(packed.folder).entries(strict=True)


def test_nothing_is_packed_twice_and_nothing_is_added(packed, tmp_path):
    assert is_bundle(packed.folder)
    with pytest.raises(PoolError, match="is packed already"):
        pack_pool(packed, tmp_path / "again")
    with pytest.raises(PoolError, match="is a packed pool, which is only read"):
        packed.check_writable()


def test_training_into_a_packed_pool_is_refused(packed, tmp_path):
    task = TaskSpec(location=str(write_task(tmp_path / "cat", "cat")))
    with pytest.raises(PoolError, match="is a packed pool, which is only read"):
        train_pool([task], packed.folder, TrainConfig(), device="cpu")


def test_sources_come_in_order(tmp_path):
    writer = BundleWriter(tmp_path)
    writer.add("b", {}, {}, {})
    with pytest.raises(PoolError, match="'a' after 'b'"):
        writer.add("a", {}, {}, {})
    writer.abandon()


def test_a_bundle_of_maps_alone_can_be_written_and_read(tmp_path):
    """As the benchmarks do, without a pool."""
    rng = np.random.default_rng(0)
    maps = [draw_low_rank(rng, 4, 6, 2).cast(np.float16) for _ in range(5)]
    writer = BundleWriter(tmp_path)
    for number, one in enumerate(maps):
        writer.add(f"m{number}", {}, {MapForm.ANCHORED: one}, {})
    assert writer.close().count == 5
    for entry, one in zip(Bundle.open(tmp_path), maps, strict=True):
        same(entry.load_map(MapForm.ANCHORED), one)


def test_compressed_maps_come_back(pool, tmp_path):
    report = pack_pool(pool, tmp_path / "small", rank=2, dtype="float32")
    small = Pool.open(tmp_path / "small")
    for entry in small.entries(strict=True)[0]:
        found = entry.load_map(MapForm.PUBLISHED)
        expected = compress(pool.entry(entry.id).load_map(MapForm.PUBLISHED), 2)
        same(found, expected.map)
        assert report.losses[entry.id] == expected.loss
        assert entry.record.maps[MapForm.PUBLISHED].rank == found.rank == 2
        same(
            entry.load_map(MapForm.ANCHORED),
            pool.entry(entry.id).load_map(MapForm.ANCHORED).cast("float32"),
        )


# ------------------------------------------------------------------------------ damaged bundles


def damage(path, position=-1):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x55
    path.write_bytes(content)


def test_a_damaged_map_is_named(packed):
    places = {one.line.id: one.line.maps[MapForm.ANCHORED] for one in packed.bundle}
    bad = max(name for name in places if packed.entry(name).load_map(MapForm.ANCHORED).rank == 2)
    shard = packed.bundle.manifest.maps[places[bad].shard]
    # The last tensor by name is "scale", and the last map is the last source's.
    damage(packed.folder / shard.file)
    fresh = Pool.open(packed.folder)
    with pytest.raises(MapError, match=f"the anchored map of {bad} in .* is damaged"):
        fresh.entry(bad).load_map(MapForm.ANCHORED)
    assert isinstance(fresh.entry(bad).load_map(MapForm.PUBLISHED).rank, int)
    others = {entry.id for entry in fresh.entries()[0]} - {bad}
    assert all(
        isinstance(fresh.entry(one).load_map(MapForm.ANCHORED), LowRankMap) for one in others
    )


def test_a_damaged_file_of_a_source_is_named(packed):
    damage(packed.folder / "files-00000.safetensors")
    with pytest.raises(MapError, match=r"texts.safetensors of c in .* is damaged"):
        Pool.open(packed.folder).entry("c").load_fingerprint(None)


def test_a_truncated_file_of_maps_is_named(packed):
    path = packed.folder / packed.bundle.manifest.maps[0].file
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MapError, match="truncated or not safetensors"):
        Pool.open(packed.folder).entry("a").load_map(packed.bundle.manifest.maps[0].form)


def test_a_damaged_line_leaves_out_its_source_only(packed):
    path = packed.folder / "records.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[1] = b"x" + lines[1][1:]
    path.write_bytes(b"\n".join(lines))
    entries, skipped = Pool.open(packed.folder).entries()
    assert [entry.id for entry in entries] == ["a", "c"]
    assert [skip.source for skip in skipped] == ["source 2"]
    assert "line 2 is not JSON" in skipped[0].reason


def test_a_line_that_names_another_source_is_refused(packed):
    path = packed.folder / "records.jsonl"
    lines = path.read_bytes().split(b"\n")
    content = json.loads(lines[0])
    content["record"]["id"] = "z"
    changed = json.dumps(content, ensure_ascii=False).encode()
    assert len(changed) == len(lines[0])
    path.write_bytes(b"\n".join([changed, *lines[1:]]))
    assert "describes source 'z' as 'a'" in Pool.open(packed.folder).entries()[1][0].reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"extra": 1}, "extra"),
        ({"count": 4}, "does not index 4 sources"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(packed, change, message):
    path = packed.folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(PoolError, match=message):
        Pool.open(packed.folder).entries(strict=True)


def test_shards_that_are_not_as_described_are_refused(packed):
    path = packed.folder / "bundle.json"
    content = json.loads(path.read_text())
    content["maps"][0]["count"] += 1
    path.write_text(json.dumps(content))
    form = packed.bundle.manifest.maps[0].form
    with pytest.raises(MapError, match=r"holds .* expected"):
        Pool.open(packed.folder).entry("a").load_map(form)
