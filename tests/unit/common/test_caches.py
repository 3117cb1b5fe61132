import json
import stat

import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from esm.common.caches import EMBEDDINGS, MODELS, SPLITS, find_caches, remove
from esm.common.errors import StorageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder with embeddings, a split, something half-written and something foreign."""
    monkeypatch.setenv("ESM_CACHE", str(tmp_path))
    for name, content in (
        ("embeddings/aa.safetensors", "x" * 100),
        ("embeddings/.tmp-1", "x"),
        ("models/m/1_Pooling/config.json", "{}"),
        ("models/.lock", "x"),
        ("splits/posts-1.split.json", "{}"),
        ("notes.txt", "mine"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


def purge(*options, code=0):
    result = CliRunner().invoke(app, ["--quiet", "purge", *options])
    assert result.exit_code == code, result.output
    return result


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_is_there(folder):
    embeddings, models, splits = find_caches()
    assert (models.kind, len(models.files), models.bytes) == (MODELS, 2, 3)
    assert (embeddings.kind, len(embeddings.files), embeddings.bytes) == (EMBEDDINGS, 2, 101)
    assert (splits.kind, len(splits.files), splits.bytes) == (SPLITS, 1, 2)


def test_nothing_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("ESM_CACHE", str(tmp_path / "none"))
    assert [cache.files for cache in find_caches()] == [(), (), ()]
    assert "nothing to remove" in purge().stdout


def test_a_dry_run_lists_and_removes_nothing(folder):
    result = purge("--dry-run")
    assert "would be removed" in result.stdout
    assert "splits: without them those data are split anew" in result.stdout
    assert len(left(folder)) == 6


def test_embeddings_go_and_splits_stay(folder):
    assert "removed" in purge("--yes").stdout
    assert left(folder) == ["notes.txt", "posts-1.split.json"]
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "splits"]


def test_splits_go_when_asked_for(folder):
    found = json.loads(purge("--yes", "--splits", "--json").stdout)
    assert found["removed"] is True
    assert [cache["chosen"] for cache in found["caches"]] == [True, True, True]
    assert left(folder) == ["notes.txt"]


def test_without_a_terminal_and_without_yes_nothing_is_removed(folder):
    result = purge(code=2)
    assert "4 files would be removed, and nobody can be asked; expected --yes" in result.output
    assert len(left(folder)) == 6


def test_a_file_that_cannot_be_removed_is_named(folder):
    place = folder / "embeddings"
    place.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        if _writable(place):
            pytest.skip("this user may write everywhere")
        with pytest.raises(StorageError, match="cannot remove"):
            remove(find_caches()[0])
    finally:
        place.chmod(stat.S_IRWXU)


def _writable(place):
    try:
        (place / "probe").touch()
    except OSError:
        return False
    return True
