"""Files that are whole or absent: atomic writes, content hashes, safetensors, JSON, locks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esm.common.errors import BusyError, MapError, StorageError

if TYPE_CHECKING:
    import numpy as np

    Tensors = Mapping[str, np.ndarray[Any, Any]]

_TEMPORARY_PREFIX = ".tmp-"
_UMASK_LOCK = threading.Lock()
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


# --------------------------------------------------------------------------- names and hashes


def check_id(identifier: str) -> str:
    """Return the id if it is safe to build a path from, for instance ``tweeteval-emotion``.

    Raises:
        StorageError: It is empty, climbs (``..``), is absolute or holds other characters.
    """
    if not _ID.fullmatch(identifier) or ".." in identifier or len(identifier) > 200:
        raise StorageError(
            f"id {identifier[:80]!r}",
            expected="letters, digits, '.', '_', '-' and single '/', starting with a letter"
            " or digit, at most 200 characters",
            hint="rename the task",
        )
    return identifier


def content_hash(*parts: object) -> str:
    """Return the SHA-256 (hex) of the parts' canonical JSON: equal values, equal hash."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def hash_texts(texts: Iterable[str], pairs: Iterable[str] | None = None) -> str:
    """Return the SHA-256 (hex) of texts, or text pairs, in their order."""
    digest = hashlib.sha256()
    columns = (texts,) if pairs is None else (texts, pairs)
    for column in columns:
        for text in column:
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
        digest.update(b"\xff" * 8)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ------------------------------------------------------------------------------ atomic writes


@contextlib.contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """Translate the system's refusals: full disk, read-only folder, missing folder."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}",
            expected="a writable folder with free space",
            hint="free space or choose another folder; nothing that was there has changed",
        ) from error


def write_atomic(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file so that readers see the old or the new content, never a part.

    Args:
        path: The file; its folder is made where it is missing.
        content: All of its bytes.
        private: Mode 0600, for files that derive from a user's texts.

    Raises:
        StorageError: Full disk, read-only folder and the like; the old file is untouched.
    """
    with _storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY_PREFIX, dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            if not private:
                temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _umask() -> int:
    """Return the process's umask; it can only be read by setting it, so one thread at a time."""
    with _UMASK_LOCK:
        mask = os.umask(0)
        os.umask(mask)
    return mask


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a new folder that appears under its name only when the block ends well.

    An existing folder of that name is replaced. A kill leaves at most a ``.tmp-`` folder, which
    :func:`sweep` removes.

    Yields:
        The temporary folder to fill.

    Raises:
        StorageError: Full disk, read-only folder and the like; nothing is left behind.
    """
    with _storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=path.parent))
        try:
            temporary.chmod(0o777 & ~_umask())
            yield temporary
            if path.exists():
                discarded = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=path.parent))
                path.replace(discarded / path.name)
                temporary.replace(path)
                shutil.rmtree(discarded)
            else:
                temporary.replace(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def make_private(folder: Path) -> None:
    """Give every file in a folder, at whatever depth, mode 0600: libraries write some of them.

    Raises:
        StorageError: A file is not ours.
    """
    with _storage_errors(folder):
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o600)


def sweep(folder: Path) -> int:
    """Remove what a killed process left half-written in a folder; return how many things.

    Call it only while holding the folder's lock.
    """
    left = list(folder.glob(f"{_TEMPORARY_PREFIX}*")) if folder.is_dir() else []
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(left)


@contextlib.contextmanager
def folder_lock(folder: Path, *, seconds: float = 0) -> Iterator[None]:
    """Hold a folder for writing; released by the system even after ``kill -9``.

    Args:
        folder: The folder; it is made where it is missing.
        seconds: How long to wait for another process.

    Raises:
        BusyError: Another process holds it.
        StorageError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout

    with _storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            raise BusyError(
                f"{folder} is being written by another process",
                expected="one writer at a time",
                hint="wait for it to end, or use another folder",
            ) from None
    try:
        yield
    finally:
        lock.release()


# --------------------------------------------------------------------------------------- JSON


def to_json(value: object) -> str:
    """Return indented JSON; numbers that are not finite become null."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def write_json(path: Path, value: object, *, private: bool = False) -> None:
    """Write JSON atomically (see :func:`write_atomic`)."""
    write_atomic(path, to_json(value).encode(), private=private)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StorageError: It is absent, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StorageError(f"no file {path}", expected="a JSON file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StorageError(
            f"{path} is not JSON ({error})", expected="a file written by this tool"
        ) from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


# -------------------------------------------------------------------------------- safetensors


def save_tensors(path: Path, tensors: Tensors, *, private: bool = False) -> None:
    """Write arrays as safetensors, atomically; equal arrays give equal bytes."""
    import numpy as np
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    write_atomic(path, save(contiguous), private=private)


def load_tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read all arrays of a safetensors file.

    Raises:
        StorageError: There is no such file.
        MapError: It is truncated or not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        raise StorageError(f"no file {path}", expected="a safetensors file")
    try:
        loaded: dict[str, np.ndarray[Any, Any]] = load_file(path)
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise _not_safetensors(path, error) from error
    return loaded


def read_tensors(content: bytes, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Read all arrays of a safetensors file that is in memory.

    Args:
        content: Its bytes.
        name: What to call it in an error.

    Raises:
        MapError: It is truncated or not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        loaded: dict[str, np.ndarray[Any, Any]] = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _not_safetensors(name, error) from error
    return loaded


def _not_safetensors(name: object, error: Exception) -> MapError:
    return MapError(
        f"{name} is truncated or not safetensors ({error})",
        expected="a whole safetensors file",
        hint="delete it and run the command that made it again",
    )
