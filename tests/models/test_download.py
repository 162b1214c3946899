"""Weights from a server on this machine: resumed, whole, checked, and clear about what failed."""

import hashlib
import http.server
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from src.errors import UserError
from src.models.weights import download

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges unless the path says `plain`.

    `cut` breaks off in the middle, `shifted` gives another range than asked for, `huge` promises a terabyte.
    """

    def do_GET(self):
        requests = self.server.requests
        span = self.headers.get("Range")
        requests.append(span)
        if self.path == "/moved":
            return self.send_error(404)
        if self.path == "/huge":
            self.send_response(200)
            self.send_header("Content-Length", str(10**12))
            return self.end_headers()
        start = int(span.removeprefix("bytes=").rstrip("-")) if span and self.path != "/plain" else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            first = start + (self.path == "/shifted")
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        broken = self.path == "/cut" and len(requests) == 1
        self.wfile.write(CONTENT[start : len(CONTENT) // 2 if broken else None])
        return None

    def log_message(self, *_):
        pass


def listed(folder):
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "late-temporal" / "weights"


@pytest.mark.parametrize("digest", [SHA256, SHA256[:8], SHA256[:8].upper(), None])
def test_downloaded_once_into_the_cache(server, home, digest):
    for _ in range(2):
        path = download.published("w.pth", f"{server.url}/w.pth", digest)
        assert path == home / "w.pth"
        assert path.read_bytes() == CONTENT
    assert server.requests == [None]
    assert listed(home) == ["w.pth"]


def test_a_broken_download_goes_on_where_it_stopped(server, home):
    with pytest.raises(UserError, match=r"broke|reached.*try again to resume"):
        download.published("w.pth", f"{server.url}/cut", SHA256)
    assert listed(home) == ["w.pth.part"]  # never half a file under the real name
    assert download.published("w.pth", f"{server.url}/cut", SHA256).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_server_without_ranges_starts_again(server, home):
    home.mkdir(parents=True)
    (home / "w.pth.part").write_bytes(CONTENT[:1000])
    assert download.published("w.pth", f"{server.url}/plain", SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"of another file"])
def test_a_finished_part_is_not_downloaded_again_unless_it_is_another_file(server, home, left):
    home.mkdir(parents=True)
    (home / "w.pth.part").write_bytes(left)
    assert download.published("w.pth", f"{server.url}/w.pth", SHA256).read_bytes() == CONTENT


def test_another_file_than_the_published_one_is_refused(server, home):
    with pytest.raises(UserError, match=r"SHA-256 is .*, not 0123"):
        download.published("w.pth", f"{server.url}/w.pth", "0123")
    assert listed(home) == []
    (home / "w.pth").write_bytes(b"put here by hand")
    with pytest.raises(UserError, match="not the published file"):
        download.published("w.pth", f"{server.url}/w.pth", SHA256)


def test_moved_or_offline_says_what_to_get_where_and_where_to_put_it(server, home):
    with pytest.raises(UserError) as moved:
        download.published("w.pth", f"{server.url}/moved", how="see example.org/models")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(UserError) as offline:
        download.published("w.pth", f"http://127.0.0.1:{port}/w.pth", how="see example.org/models")
    with pytest.raises(UserError) as by_hand:
        download.published("w.pth", how="see example.org/models")
    for error in (moved, offline, by_hand):
        message = str(error.value)
        assert "w.pth" in message
        assert "see example.org/models" in message
        assert str(home / "w.pth") in message
        assert "\n" not in message
    assert "404" in str(moved.value)


def test_configurations(server, home, tmp_path):
    assert download.obtain({"kind": None}) is None
    source = {"file": "w.pth", "url": f"{server.url}/w.pth", "sha256": None, "how": ""}
    assert download.obtain({"kind": "published", "source": source}) == home / "w.pth"
    assert download.obtain({"kind": "file", "path": str(home / "w.pth")}) == home / "w.pth"
    with pytest.raises(UserError, match="no such file"):
        download.obtain({"kind": "file", "path": str(tmp_path / "absent.pth")})
    with pytest.raises(UserError, match="no weights are published"):
        download.obtain({"kind": "published", "source": None})


def test_several_at_once_download_once(server, home):
    def fetch(_):
        return download.published("w.pth", f"{server.url}/w.pth", SHA256).read_bytes()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(fetch, range(4))) == [CONTENT] * 4
    assert server.requests == [None]
    assert listed(home) == ["w.pth"]


def test_a_server_that_resumes_at_another_place_is_asked_for_all_of_it(server, home):
    home.mkdir(parents=True)
    (home / "w.pth.part").write_bytes(CONTENT[:1000])
    assert download.published("w.pth", f"{server.url}/shifted", SHA256).read_bytes() == CONTENT


def test_more_than_any_weights_have_is_not_downloaded(server, home):
    with pytest.raises(UserError, match="it sends more than 4,294,967,296 bytes"):
        download.published("w.pth", f"{server.url}/huge")
    assert listed(home) == []


@pytest.mark.parametrize("file", ["../w.pth", "/etc/w.pth", "a/w.pth", "", "..", ".bashrc"])
def test_a_name_that_leaves_the_cache_is_refused(server, home, file):
    with pytest.raises(UserError, match="give a plain file name"):
        download.published(file, f"{server.url}/w.pth")
    assert server.requests == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/w.pth", "data:,x", "w.pth"])
def test_an_address_that_is_not_of_the_web_is_refused(home, url):
    with pytest.raises(UserError, match="is not an address of the web"):
        download.published("w.pth", url)


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"w\.pth: cannot be written \(Not a directory\)"):
        download.published("w.pth", f"{server.url}/w.pth")
