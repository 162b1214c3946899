"""A stand-in for the Hugging Face Hub: what its client asks for to make a repository, commit files and read one."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

COMMIT = "0" * 40


class Hub(ThreadingHTTPServer):
    """repositories: name → path → content. private: those made private. requests: all that was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.objects: dict[str, bytes] = {}  # uploaded large files by SHA-256
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(f"POST {self.path}")
        if self.headers.get("Authorization") != "Bearer secret":
            return self.answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else f"me/{asked['name']}"
            self.server.repositories.setdefault(name, {})
            if asked.get("private") or asked.get("visibility") == "private":  # versions of the client differ
                self.server.private.add(name)
            return self.answer(200, {"url": f"{self.server.address}/{name}", "name": name})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = []
            for one in json.loads(body)["files"]:
                mode = "lfs" if one["path"].endswith(".safetensors") else "regular"
                files.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None})
            return self.answer(200, {"files": files, "commitOid": COMMIT})
        if self.path.endswith("/info/lfs/objects/batch"):
            asked = json.loads(body)
            objects = []
            for one in asked["objects"]:
                href = f"{self.server.address}/upload/{one['oid']}"
                objects.append({**one, "authenticated": True, "actions": {"upload": {"href": href}}})
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if "/commit/" in self.path:
            name = self.path.split("/api/models/")[1].split("/commit/")[0]
            self.commit(name, body)
            address = f"{self.server.address}/{name}/commit/{COMMIT}"
            return self.answer(200, {"success": True, "commitUrl": address, "commitOid": COMMIT, "hookOutput": ""})
        return self.answer(404, {"error": self.path})

    def commit(self, name: str, body: bytes) -> None:
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.server.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.server.repositories[name][value["path"]] = self.server.objects[value["oid"]]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(body).hexdigest() == self.path.rpartition("/")[2]
        self.server.objects[hashlib.sha256(body).hexdigest()] = body
        self.answer(200, {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        name, sign, path = self.path.lstrip("/").partition("/resolve/main/")
        content = self.server.repositories.get(name, {}).get(path) if sign else None
        if content is None:
            kind = "EntryNotFound" if name in self.server.repositories else "RepoNotFound"
            return self.answer(404, {"error": "not found"}, {"X-Error-Code": kind})
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        return self.send(200, content, headers)

    def answer(self, code: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self.send(code, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on the terminal."""


@contextmanager
def hub() -> Iterator[Hub]:
    """A running server."""
    server = Hub()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
