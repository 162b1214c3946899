"""Video from an address: answered window by window, to its end."""

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from src import predict
from src.command_line.options import parse
from src.data import stream
from src.data.stream import frames_in_order
from src.errors import UnreadableVideoError
from src.signals import Stopped

from tests.conftest import write_video
from tests.small_runs import exit_of

PORTION = 2000  # bytes that the server sends at a time
Capture = pytest.CaptureFixture[str]


class Server(http.server.ThreadingHTTPServer):
    """Sends one file in small portions, each only when it is allowed to."""

    daemon_threads = True

    def __init__(self, content: bytes, stated: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.stated = content, stated
        self.address = f"http://127.0.0.1:{self.server_address[1]}/a.ts"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if not self.path.startswith("/a.ts"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.send_header("Content-Length", str(self.server.stated))
        self.end_headers()
        for start in range(0, len(self.server.content), PORTION):
            self.wfile.write(self.server.content[start : start + PORTION])
            self.wfile.flush()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("served") / "a.ts", 40, g="8", bf="0").read_bytes()


@pytest.fixture
def server(content: bytes) -> Iterator[Server]:
    with Server(content, len(content)) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def look(*words: str) -> int:
    return exit_of(predict.COMMAND, predict.predict, *words)


def test_frames_of_an_address_are_those_of_the_file(server: Server, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_bytes(content)
    served, local = frames_in_order(server.address), frames_in_order(str(tmp_path / "a.ts"))
    for one, other in zip(served, local, strict=True):
        assert one.seconds == other.seconds
        assert (one.pixels == other.pixels).all()


def test_each_window_is_answered(checkpoint: Path, server: Server, tmp_path: Path, capsys: Capture) -> None:
    assert look(f"checkpoint={checkpoint}", f"video={server.address}?key=1", "step=8", f"out={tmp_path / 'o'}") == 0
    printed = capsys.readouterr().out
    answers = [line for line in printed.splitlines() if line.endswith("s behind)")]
    assert len(answers) == 5
    assert answers[0].split()[:3] == ["0.0", "–", "0.3"]
    assert "5 windows" in printed
    assert {path.suffix for path in (tmp_path / "o").iterdir()} == {".csv", ".png"}


def test_what_is_not_there_is_one_line_without_the_password(checkpoint: Path, server: Server, capsys: Capture) -> None:
    address = server.address.replace("http://", "http://me:secret@").replace("a.ts", "none")
    assert look(f"checkpoint={checkpoint}", f"video={address}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "404" in line
    assert line.endswith("; check the address, or save the video and give the file")
    assert "secret" not in line


def test_an_address_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SILENCE_S", 0.1)
    said = r"\(nothing came for 0\.1 s\); check the address"
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnreadableVideoError, match=said):
        list(frames_in_order(f"tcp://127.0.0.1:{silent.getsockname()[1]}"))


def test_an_address_does_not_lead_to_files_of_this_machine(server: Server, tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4", 8)
    server.content = f"ffconcat version 1.0\nfile '{file}'\n".encode()
    server.stated = len(server.content)
    with pytest.raises(UnreadableVideoError):
        list(frames_in_order(server.address))


def test_a_stream_that_is_stopped_keeps_what_was_seen(
    checkpoint: Path, server: Server, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src.prediction import untrimmed

    real, answers = untrimmed.logits_of, iter(range(3))

    def until(*arguments: object) -> object:
        if next(answers) == 2:
            raise Stopped(2)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(untrimmed, "logits_of", until)
    words = (f"checkpoint={checkpoint}", f"video={server.address}", "step=8", f"out={tmp_path / 'o'}")
    with pytest.raises(Stopped) as stopped:
        predict.predict(parse(predict.COMMAND, words))
    assert stopped.value.advice == "the same command starts over"
    (scores,) = (tmp_path / "o").glob("*.scores.csv")
    assert len(scores.read_text().splitlines()) == 3
    assert "2 windows" in capsys.readouterr().out
