from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from esm.common import storage
from esm.common.errors import BusyError, MapError, StorageError
from esm.common.storage import (
    atomic_folder,
    check_id,
    content_hash,
    folder_lock,
    hash_texts,
    load_tensors,
    make_private,
    read_json,
    save_tensors,
    sweep,
    to_json,
    write_atomic,
    write_json,
)


@pytest.mark.parametrize("good", ["sst2", "covid-infodemic-en/q1", "owner/name.v2", "A_1"])
def test_ids_that_make_safe_paths(good):
    assert check_id(good) == good


@pytest.mark.parametrize("bad", ["", "../x", "a/../b", "/etc", "a//b", "a b", "a\x00", "-x", "a/"])
def test_ids_that_climb_or_hide_are_refused(bad):
    with pytest.raises(StorageError, match=r"expected letters, digits.*try: rename the task"):
        check_id(bad)


def test_content_hash_does_not_depend_on_the_order_of_keys():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash(1, 2) != content_hash(12)


def test_hash_texts_keeps_texts_apart():
    assert hash_texts(["ab", "c"]) != hash_texts(["a", "bc"])
    assert hash_texts(["a"], ["b"]) != hash_texts(["a", "b"])
    assert hash_texts(["a"]) != hash_texts(["a"], [""])


def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_private_files_are_readable_by_their_owner_only(tmp_path):
    write_atomic(tmp_path / "file", b"", private=True)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_full_or_broken_disk_keeps_the_old_file_and_says_so(tmp_path, monkeypatch, number):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(StorageError, match=rf"{os.strerror(number)}.*nothing that was there"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_the_way_of_a_file_is_reported(tmp_path):
    (tmp_path / "file").write_text("a file where a folder is wanted")
    with pytest.raises(StorageError, match="expected a writable folder"):
        write_atomic(tmp_path / "file" / "below", b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_reported(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        write_atomic(tmp_path / "file", b"")


def test_every_file_of_a_private_folder_is(tmp_path):
    for name in ("a.json", "inside/b.json"):
        write_atomic(tmp_path / name, b"")
    make_private(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]


def test_threads_that_write_at_once_leave_the_umask_as_it_was(tmp_path, monkeypatch):
    between = threading.Barrier(2, timeout=0.2)
    umask = os.umask

    def slow_umask(mask):
        before = umask(mask)
        if mask == 0:  # let the other thread in, where it can come in
            with contextlib.suppress(threading.BrokenBarrierError):
                between.wait()
        return before

    before = umask(0o027)
    monkeypatch.setattr("esm.common.storage.os.umask", slow_umask)
    try:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda name: write_atomic(tmp_path / name, b""), "ab"))
        assert umask(0o027) == 0o027
        assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o640
    finally:
        umask(before)


def test_atomic_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "entry") as folder:
        (folder / "part").write_text("x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "entry") as folder:
        (folder / "part").write_text("1")
    with atomic_folder(tmp_path / "entry") as folder:
        (folder / "other").write_text("2")
    assert [p.name for p in (tmp_path / "entry").iterdir()] == ["other"]
    assert [p.name for p in tmp_path.iterdir()] == ["entry"]


def test_sweep_removes_what_a_kill_left(tmp_path):
    (tmp_path / ".tmp-folder").mkdir()
    (tmp_path / ".tmp-folder" / "half").write_text("x")
    (tmp_path / ".tmp-file").write_text("x")
    (tmp_path / "whole").write_text("x")
    assert sweep(tmp_path) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["whole"]


def _hold(folder, held, release):
    with folder_lock(folder):
        held.set()
        release.wait(20)


def test_two_processes_cannot_write_to_one_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, release))
    other.start()
    try:
        assert held.wait(20)
        with (
            pytest.raises(BusyError, match=r"written by another process.*try: wait"),
            folder_lock(tmp_path),
        ):
            pytest.fail("two writers at once")
    finally:
        release.set()
        other.join()
    with folder_lock(tmp_path):
        pass


def test_json_turns_what_is_not_finite_into_null_and_reads_back(tmp_path):
    assert json.loads(to_json({"a": float("nan"), "b": [float("inf"), 1.5]})) == {
        "a": None,
        "b": [None, 1.5],
    }
    write_json(tmp_path / "x.json", {"name": "žltý kôň"})
    assert read_json(tmp_path / "x.json") == {"name": "žltý kôň"}
    assert "žltý kôň" in (tmp_path / "x.json").read_text(encoding="utf-8")


def test_damaged_and_missing_json(tmp_path):
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(StorageError, match="is not JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(StorageError, match="no file"):
        read_json(tmp_path / "y.json")


def test_tensors_round_trip_and_equal_arrays_give_equal_bytes(tmp_path):
    arrays = {"b": np.arange(6, dtype=np.float16).reshape(2, 3).T, "a": np.ones(2, np.float32)}
    save_tensors(tmp_path / "1", arrays)
    save_tensors(tmp_path / "2", dict(reversed(arrays.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    loaded = load_tensors(tmp_path / "1")
    assert loaded.keys() == arrays.keys()
    assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)


def test_truncated_tensors_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_tensors(path, {"a": np.ones(100, np.float32)})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MapError, match=r"truncated or not safetensors.*expected a whole"):
        load_tensors(path)
    with pytest.raises(StorageError, match="no file"):
        load_tensors(tmp_path / "absent")
