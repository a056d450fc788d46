"""A small hub: what a store uses of the Hugging Face Hub's interface, one repository in memory.

Written from the requests of `huggingface_hub` itself; files are committed whole (the hub would send
large ones elsewhere), and a commit names its parent or takes the head, as on the hub.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from tests.servers import listening

Files = dict[str, bytes]


class Hub:
    """The repository: a list of commits, each with all of its files; none before it is made."""

    def __init__(self) -> None:
        self.url = ""
        self.is_private: bool | None = None
        self.commits: list[Files] = []
        self.between: list[Files] = []
        """Commits of somebody else that come in just before the next one that names a parent."""

    @property
    def head(self) -> str:
        return f"{len(self.commits):040x}"

    def files(self, revision: str) -> Files:
        return self.commits[-1] if revision == "main" else self.commits[int(revision, 16) - 1]

    def commit(self, lines: list[dict[str, Any]]) -> int:
        """Apply a commit; returns the HTTP status."""
        header = lines[0]["value"]
        if header.get("parentCommit") is not None:
            self.commits += [self.commits[-1] | files for files in self.between]
            self.between = []
            if header["parentCommit"] != self.head:
                return 412
        files = dict(self.commits[-1])
        for line in lines[1:]:
            path = line["value"]["path"]
            if line["key"] == "file":
                files[path] = base64.b64decode(line["value"]["content"])
            else:
                assert line["key"] == "deletedFolder"
                files = {name: files[name] for name in files if not name.startswith(path)}
        self.commits.append(files)
        return 200


class Handler(BaseHTTPRequestHandler):
    """The routes."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            plain = {"uploadMode": "regular", "shouldIgnore": False}
            self._json({"files": [{"path": path, **plain} for path in paths]})
        elif "/commit/" in self.path:
            status = self.hub.commit([json.loads(line) for line in body.splitlines()])
            self._json(
                {
                    "commitUrl": f"{self.hub.url}/jane/voices/commit/{self.hub.head}",
                    "commitOid": self.hub.head,
                },
                status,
            )
        else:
            self._missing("EntryNotFound")

    def do_GET(self) -> None:
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        if not self.hub.commits:
            self._missing("RepoNotFound")
        elif parts[:2] == ["api", "models"] and "tree" in parts:
            self._tree(parts[5], "/".join(parts[6:]))
        elif parts[:2] == ["api", "models"]:
            self._json({"id": "/".join(parts[2:4]), "sha": self.hub.head, "private": True})
        else:
            self._resolve(parts[3], "/".join(parts[4:]))

    do_HEAD = do_GET  # noqa: N815

    def _create(self, wanted: dict[str, Any]) -> None:
        if self.hub.commits:
            self._json({"error": "exists", "url": self.hub.url + "/jane/voices"}, 409)
            return
        self.hub.is_private = wanted.get("private", wanted.get("visibility") == "private")
        self.hub.commits.append({})
        self._json({"url": self.hub.url + "/jane/voices", "id": "jane/voices"})

    def _tree(self, revision: str, folder: str) -> None:
        inside = [n for n in self.hub.files(revision) if n.startswith(folder + "/")]
        if not inside:
            self._missing("EntryNotFound")
            return
        names = sorted({name[len(folder) + 1 :].partition("/")[0] for name in inside})
        entry = {"type": "directory", "oid": "0" * 40, "size": 0}
        self._json([entry | {"path": f"{folder}/{name}"} for name in names])

    def _resolve(self, revision: str, path: str) -> None:
        content = self.hub.files(revision).get(path)
        if content is None:
            self._missing("EntryNotFound")
            return
        etag = hashlib.sha1(content).hexdigest()
        self._answer(200, content, {"etag": f'"{etag}"', "x-repo-commit": revision})

    def _json(self, data: object, status: int = 200) -> None:
        self._answer(status, json.dumps(data).encode(), {"content-type": "application/json"})

    def _missing(self, code: str) -> None:
        self._answer(404, b"{}", {"x-error-code": code})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving() -> Iterator[Hub]:
    """An empty hub on a free port."""
    hub = Hub()
    handler = type("HubHandler", (Handler,), {"hub": hub})
    with listening(handler) as hub.url:
        yield hub
