"""A local server with the part of the hub's HTTP API that uploads and downloads use."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeHub:
    """Repositories in memory: their files of one branch, and what was requested.

    ``truncated``: files of which the second half is lost on the way. ``sizes``: files whose size is not the
    one that the server states.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.truncated: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.endpoint = ""

    def commit(self, repository: str) -> str:
        """Return the name of the present commit, which is the hash of all files."""
        digest = hashlib.sha1()
        for name, content in sorted(self.repositories[repository].items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()

    def answer(
        self, method: str, path: str, body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, body (bytes or JSON) and headers."""
        self.requests.append(f"{method} {path}")
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if parts[:2] == ["api", "models"] and parts[4:5] == ["preupload"]:
            return self._choose(json.loads(body))
        if parts[:2] == ["api", "models"] and parts[4:5] == ["commit"]:
            return self._commit("/".join(parts[2:4]), body)
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if path.endswith("/info/lfs/objects/batch"):
            return self._lfs(json.loads(body))
        if parts[0] == "lfs":
            self.objects[parts[1]] = body
            return 200, {}, {}
        if parts[2:3] == ["resolve"]:
            return self._resolve("/".join(parts[:2]), "/".join(parts[4:]))
        if parts[:2] == ["api", "models"]:
            return self._info("/".join(parts[2:4]))
        return 404, {"error": "no such address"}, {}

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        name = f"{asked['organization']}/{asked['name']}"
        self.repositories.setdefault(name, {})
        self.private[name] = asked.get("visibility") == "private" or bool(
            asked.get("private")
        )
        return 200, {"url": f"{self.endpoint}/{name}"}, {}

    def _info(self, name: str) -> tuple[int, Any, dict[str, str]]:
        if name not in self.repositories:
            return self._missing("RepoNotFound")
        siblings = [{"rfilename": file} for file in self.repositories[name]]
        info = {"id": name, "sha": self.commit(name), "siblings": siblings}
        return 200, {**info, "private": self.private[name], "tags": []}, {}

    def _choose(self, asked: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        chosen = []
        for file in asked["files"]:
            mode = "lfs" if file["path"].endswith(".safetensors") else "regular"
            chosen.append(
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            )
        return 200, {"files": chosen}, {}

    def _lfs(self, asked: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        objects = []
        for each in asked["objects"]:
            href = f"{self.endpoint}/lfs/{each['oid']}"
            objects.append(
                {**each, "actions": {"upload": {"href": href, "header": {}}}}
            )
        return 200, {"transfer": "basic", "objects": objects}, {}

    def _commit(self, name: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        files = self.repositories[name]
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
        url = f"{self.endpoint}/{name}/commit/{self.commit(name)}"
        return 200, {"commitUrl": url, "commitOid": self.commit(name)}, {}

    def _resolve(self, name: str, file: str) -> tuple[int, Any, dict[str, str]]:
        if name not in self.repositories:
            return self._missing("RepoNotFound")
        if file not in self.repositories[name]:
            return self._missing("EntryNotFound")
        content = self.repositories[name][file]
        headers = {
            "X-Repo-Commit": self.commit(name),
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Content-Length": str(self.sizes.get(file, len(content))),
        }
        if file in self.truncated:
            content = content[: len(content) // 2]
        return 200, content, headers

    def _missing(self, code: str) -> tuple[int, Any, dict[str, str]]:
        return 404, {"error": code}, {"X-Error-Code": code}


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Start the server on a free port of 127.0.0.1; stop it afterwards."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self._body()
            status, content, headers = hub.answer(
                self.command, self.path.split("?")[0], body
            )
            if not isinstance(content, bytes):
                content = json.dumps(content).encode()
                headers = {"Content-Type": "application/json", **headers}
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_HEAD = do_POST = do_PUT = _answer

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
