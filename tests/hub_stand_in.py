"""A stand-in for the Hub's HTTP interface, on this machine, with faults on request.

It answers what ``esm.pool.hub`` and the uploads of huggingface_hub ask: lists of models by tag,
what a model or dataset is, and files at a commit.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

_PAGE = 3


@dataclass
class Repo:
    """A model on the stand-in: its files and tags."""

    files: dict[str, bytes]
    tags: list[str] = field(default_factory=list)

    @property
    def commit(self) -> str:
        """A hash of the content, as git has."""
        whole = b"".join(name.encode() + self.files[name] for name in sorted(self.files))
        return hashlib.sha1(whole + repr(self.tags).encode(), usedforsecurity=False).hexdigest()

    def siblings(self) -> list[dict[str, Any]]:
        """Return the files as the Hub describes them; weights are large files."""
        found = []
        for name, content in self.files.items():
            blob = f"blob {len(content)}\0".encode() + content
            item: dict[str, Any] = {"rfilename": name, "size": len(content)}
            if name.endswith(".safetensors"):
                digest = hashlib.sha256(content).hexdigest()
                item["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            else:
                item["blobId"] = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
            found.append(item)
        return found


@dataclass
class Fault:
    """What goes wrong with requests whose path holds a text.

    Attributes:
        where: The text.
        status: Status to answer with; 200 breaks the body instead.
        times: How often; the requests after these are answered well.
        retry_after: Header to send.
        body: ``"short"`` ends the body early, ``"other"`` sends another one.
    """

    where: str
    status: int = 200
    times: int = 10**6
    retry_after: str | None = None
    body: str = ""


class HubStandIn:
    """The Hub's content, its faults, and what was asked of it."""

    def __init__(self) -> None:
        self.models: dict[str, Repo] = {}
        self.renamed: dict[str, str] = {}
        self.datasets: dict[str, list[str]] = {}
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.created: dict[str, bool] = {}
        self.endpoint = ""
        self._lock = threading.Lock()

    def files_asked(self, name: str) -> list[str]:
        """Return the requests for files of this name."""
        return [path for path in self.asked if "/resolve/" in path and path.endswith(name)]

    def fault(self, path: str) -> Fault | None:
        """Return the fault of this request, if it has one, and count it."""
        with self._lock:
            self.asked.append(path)
            for fault in self.faults:
                if fault.where in path and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def hub_stand_in() -> Iterator[HubStandIn]:
    """Run a stand-in on a free port of this machine; the Hub is switched on for as long."""
    hub = HubStandIn()

    class Handler(_Handler):
        content = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        with patch("huggingface_hub.constants.HF_HUB_OFFLINE", False):
            yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    content: HubStandIn
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second waited for 40 ms

    def log_message(self, *arguments: object) -> None:
        """Say nothing on stderr."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        fault = self.content.fault(address.path)
        if fault is not None and fault.status != 200:
            self._send(fault.status, b"{}", {"Retry-After": fault.retry_after or ""})
            return
        found = self._find(address.path, parse_qs(address.query))
        if found is None:
            self._send(404, b'{"error": "Repository not found"}')
            return
        body, headers = found
        if fault is not None and fault.body == "other":
            body = bytes(reversed(body))
        self._send(200, body, headers, cut=fault is not None and fault.body == "short")

    def _find(self, path: str, query: dict[str, list[str]]) -> tuple[bytes, dict[str, str]] | None:
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) == 2:
            return self._list(query)
        if parts[:2] == ["api", "models"]:
            named, _, revision = "/".join(parts[2:]).partition("/revision/")
            return self._model(named, revision)
        if parts[:2] == ["api", "datasets"]:
            tags = self.content.datasets.get("/".join(parts[2:]))
            return None if tags is None else (json.dumps({"tags": tags}).encode(), {})
        named, _, rest = path.strip("/").partition("/resolve/")
        commit, _, file = rest.partition("/")
        repo = self.content.models.get(named)
        if repo is None or commit != repo.commit or file not in repo.files:
            return None
        return repo.files[file], {"X-Repo-Commit": commit}

    def _list(self, query: dict[str, list[str]]) -> tuple[bytes, dict[str, str]]:
        wanted = set(query.get("filter", ()))
        start = int(query.get("cursor", ["0"])[0])
        found = [
            {"id": name, "sha": repo.commit, "tags": repo.tags}
            for name, repo in sorted(self.content.models.items())
            if wanted <= set(repo.tags)
        ]
        headers = {}
        if start + _PAGE < len(found):
            tags = "&".join(f"filter={tag}" for tag in sorted(wanted))
            # A mirror names the original's address.
            headers["Link"] = (
                f'<https://huggingface.co/api/models?{tags}&cursor={start + _PAGE}>; rel="next"'
            )
        return json.dumps(found[start : start + _PAGE]).encode(), headers

    def _model(self, name: str, revision: str) -> tuple[bytes, dict[str, str]] | None:
        name = self.content.renamed.get(name, name)
        repo = self.content.models.get(name)
        if repo is None or revision not in ("", repo.commit):
            return None
        answer = {"id": name, "sha": repo.commit, "tags": repo.tags, "siblings": repo.siblings()}
        return json.dumps(answer).encode(), {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        fault = self.content.fault(path)
        if fault is not None:
            self._send(fault.status, b"{}")
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.content.created[name] = asked.get("visibility") == "private"
            self._send(200, json.dumps({"url": f"{self.content.endpoint}/{name}"}).encode())
        else:
            self._send(404, b"{}")

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True
