"""What is read from the Hugging Face Hub: maps, base models and datasets.

Every file is named by its commit and compared with the hash that the Hub states for it. Names
that come from the Hub are used in addresses and folders only after :func:`is_repo` accepted them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from esm.common.errors import HubError
from esm.pool.hub.http import HubDownError, get, too_large

ESM_TAG = "embedding_space_map"
CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"

_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_MODEL = re.compile(rf"({_REPO.pattern})|[A-Za-z0-9][A-Za-z0-9._-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LARGEST_ANSWER = 64 * 2**20


def is_repo(name: str) -> bool:
    """Return whether a name has the form ``owner/name`` and climbs nowhere."""
    return _REPO.fullmatch(name) is not None and ".." not in name


def is_model(name: str) -> bool:
    """Return whether a name is that of a model: ``owner/name``, or a legacy one without owner."""
    return _MODEL.fullmatch(name) is not None and ".." not in name


@dataclass(frozen=True)
class Listing:
    """A map as the Hub lists it.

    Attributes:
        repo: Its Hub id.
        commit: Its newest commit.
        tags: Its tags.
    """

    repo: str
    commit: str
    tags: tuple[str, ...]

    @property
    def base_models(self) -> tuple[str, ...]:
        """The base models that its tags name, legacy tags included."""
        found = [_after(tag, "BaseLM:") or _after(tag, "base_model:") for tag in self.tags]
        # "base_model:finetune:NAME" and its kind repeat "base_model:NAME" with a relation.
        return tuple(name for name in found if name and ":" not in name)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that its tags name."""
        return tuple(name for tag in self.tags if (name := _after(tag, "dataset:")))

    @property
    def licence(self) -> str:
        """The licence of the map itself."""
        return next((name for tag in self.tags if (name := _after(tag, "license:"))), "")


@dataclass(frozen=True)
class FileFacts:
    """What the Hub states of a file.

    Attributes:
        size: Bytes.
        sha256: Hash of its content, for large files.
        git_sha1: Hash of its git object, for the others.
    """

    size: int | None
    sha256: str | None
    git_sha1: str | None

    @property
    def hash(self) -> str:
        """The hash that is stated; empty where none is."""
        return self.sha256 or self.git_sha1 or ""

    def check(self, content: bytes, name: str) -> None:
        """Refuse another content.

        Raises:
            HubError: Size or hash differ, or none is stated.
        """
        if self.sha256 is not None:
            stated, got = self.sha256, hashlib.sha256(content).hexdigest()
        elif self.git_sha1 is not None:
            whole = f"blob {len(content)}\0".encode() + content
            stated, got = self.git_sha1, hashlib.sha1(whole, usedforsecurity=False).hexdigest()
        else:
            raise HubError(f"the Hub states no hash of {name}", expected="a SHA-256 or git hash")
        if got != stated:
            raise HubError(
                f"{name} has hash {got[:12]} ({len(content)} bytes)",
                expected=f"{stated[:12]}, as the Hub states",
                hint="the same command fetches it again",
            )


@dataclass(frozen=True)
class DatasetFacts:
    """What the Hub states of a dataset; empty where nothing is stated.

    Attributes:
        languages: ISO codes.
        licence: Its licence.
    """

    languages: tuple[str, ...] = ()
    licence: str = ""


class Hub:
    """A patient reader of the Hub's HTTP interface; may be used by several threads.

    Args:
        endpoint: Address; None for ``HF_ENDPOINT``, else that of huggingface_hub.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        self.endpoint = endpoint or os.environ.get("HF_ENDPOINT") or _default_endpoint()
        self.endpoint = self.endpoint.rstrip("/")

    # --------------------------------------------------------------------------------- questions

    def search(self, *tags: str) -> list[Listing]:
        """Return all models with these tags, by name, each with its newest commit.

        Raises:
            HubError: The Hub cannot be reached or refuses.
        """
        found = []
        for item in self._pages("/api/models", {"filter": list(tags), "full": "true"}):
            commit = str(item.get("sha") or "")
            tagged = tuple(str(tag) for tag in item.get("tags") or ())
            found.append(Listing(str(item.get("id") or ""), commit, tagged))
        return sorted(found, key=lambda listing: listing.repo)

    def model(self, name: str, revision: str | None = None) -> Mapping[str, Any]:
        """Return what the Hub knows of a model: ``id``, ``sha``, ``tags``, ``siblings``.

        Raises:
            HubError: There is none, or the Hub cannot be reached.
        """
        if not is_model(name):
            raise HubError(f"{name[:80]!r} is no Hub id", expected="a name such as owner/name")
        suffix = "" if revision is None else f"/revision/{_commit(revision)}"
        answer = self._json(f"/api/models/{name}{suffix}", {"blobs": "true"}, f"model {name!r}")
        if not isinstance(answer, dict):
            raise HubError(f"the Hub's answer for {name!r} is no object", expected="a JSON object")
        return answer

    def files(self, repo: str, commit: str) -> dict[str, FileFacts]:
        """Return what the Hub states of each file at a commit.

        Raises:
            HubError: There is no such model or commit, or the Hub cannot be reached.
        """
        siblings = self.model(repo, commit).get("siblings") or ()
        return {str(item.get("rfilename")): _facts(item) for item in siblings}

    def dataset(self, name: str) -> DatasetFacts:
        """Return a dataset's languages and licence; nothing where the Hub does not know it.

        Raises:
            HubDownError: The Hub cannot be reached.
        """
        if not is_repo(name):
            return DatasetFacts()
        try:
            answer = self._json(f"/api/datasets/{name}", {}, f"dataset {name!r}")
        except HubDownError:
            raise
        except HubError:  # gone, renamed or gated: its map may still be used
            return DatasetFacts()
        tags = [
            str(tag) for tag in (answer.get("tags") if isinstance(answer, dict) else None) or ()
        ]
        return DatasetFacts(
            tuple(name for tag in tags if (name := _after(tag, "language:"))),
            next((name for tag in tags if (name := _after(tag, "license:"))), ""),
        )

    def fetch(self, repo: str, commit: str, name: str, facts: FileFacts, limit: int) -> bytes:
        """Return a file's content at a commit.

        Args:
            repo: The model.
            commit: Its commit.
            name: The file.
            facts: What the Hub states of it.
            limit: The most bytes it may have.

        Raises:
            HubError: It is not there, too large, cut short, or another than the Hub states.
        """
        where = f"{repo}/{name}"
        if facts.size is not None and facts.size > limit:
            raise too_large(where, facts.size, limit)
        address = f"{self.endpoint}/{repo}/resolve/{_commit(commit)}/{name}"
        content = get(address, {}, where, limit).content
        facts.check(content, where)
        return content

    def _pages(self, path: str, params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        address: str | None = self.endpoint + path
        while address is not None:
            answer = get(address, params, path, _LARGEST_ANSWER)
            address, params = self._here(answer.next_page), {}
            yield from (item for item in _parse(answer.content, path) if isinstance(item, dict))

    def _here(self, address: str | None) -> str | None:
        """Return the next page's address on this endpoint: a mirror names the original's."""
        if address is None:
            return None
        path, query = urlsplit(address)[2:4]
        return f"{self.endpoint}/{path.lstrip('/')}?{query}"

    def _json(self, path: str, params: Mapping[str, Any], what: str) -> Any:
        answer = get(self.endpoint + path, params, what, _LARGEST_ANSWER)
        return _parse(answer.content, what)


def _default_endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _parse(content: bytes, what: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise HubError(
            f"the Hub's answer for {what} is not JSON", hint="check HF_ENDPOINT"
        ) from error


def _facts(item: Mapping[str, Any]) -> FileFacts:
    large = item.get("lfs") or {}
    size, sha256, blob = item.get("size"), large.get("sha256"), item.get("blobId")
    return FileFacts(
        size if isinstance(size, int) else None,
        str(sha256) if sha256 else None,
        str(blob) if blob else None,
    )


def _commit(revision: str) -> str:
    if not _COMMIT.fullmatch(revision):
        raise HubError(f"the Hub states commit {revision[:60]!r}", expected="40 hexadecimal digits")
    return revision


def _after(tag: str, prefix: str) -> str:
    return tag.removeprefix(prefix) if tag.startswith(prefix) else ""
