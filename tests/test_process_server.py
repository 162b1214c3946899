"""Processes forked from a server: like started ones, and none outlives the command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from src.config import ROOT
from src.errors import UserError
from src.files import process_exists
from src.runs.process_server import Process, Server, Task

PATIENCE = 250.0  # seconds, on a machine with much else to do; what is waited on sleeps longer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    server = Server("tests.forked")
    yield server
    server.close()


def start(server: Server, *arguments: str, folder: Path | None = None, **environment: str) -> Process:
    return server.start(Task(arguments, {**os.environ, **environment}, str(folder or Path.cwd())))


def code(process: Process) -> int | None:
    assert process.wait(PATIENCE)
    return process.exitcode


def about(server: Server, file: Path, **options: Any) -> dict[str, Any]:
    assert code(start(server, "about", str(file), **options)) == 0
    said: dict[str, Any] = json.loads(file.read_text())
    return said


@pytest.mark.parametrize(
    "words, expected",
    [(["print"], 0), (["exit", "0"], 0), (["exit", "7"], 7), (["say", "no"], 1), (["raise", "no"], 1), (["kill"], -9)],
)
def test_exit_codes_are_those_of_a_program(words: list[str], expected: int, server: Server) -> None:
    assert code(start(server, *words)) == expected


def test_what_a_process_prints_goes_where_the_command_prints_now(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    for words in (["print", "hello"], ["say", "refused"], ["raise", "mistake"]):
        code(start(server, *words))
    said = capfd.readouterr()
    assert said.out == "hello\n"
    assert said.err.startswith("refused\nTraceback") and said.err.endswith("LookupError: mistake\n")


def test_each_has_an_environment_and_folder_of_its_own(server: Server, tmp_path: Path) -> None:
    first = about(server, tmp_path / "first", RANK="0", folder=tmp_path)
    second = about(server, tmp_path / "second")
    assert first["environment"] == {**os.environ, "RANK": "0"} and "RANK" not in second["environment"]
    assert (first["folder"], second["folder"]) == (str(tmp_path), str(Path.cwd()))
    assert first["server"] == second["server"] and first["imported"] == second["imported"]
    assert first["path"][0] == str(ROOT)


def test_threads_are_waited_for(server: Server, tmp_path: Path) -> None:
    assert code(start(server, "thread", str(tmp_path / "done"))) == 0
    assert (tmp_path / "done").exists()


def test_several_at_a_time(server: Server) -> None:
    processes = [start(server, "exit", str(number)) for number in range(5)]
    assert [code(process) for process in processes] == [0, 1, 2, 3, 4]


def waiting(server: Server, file: Path) -> Process:
    process = start(server, "wait", str(file))
    wait_for(file)
    process.wait(0)
    assert process.pid == int(file.read_text())
    return process


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not file.is_file() or not file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_ended(number: int) -> bool:
    """Whether a process is gone, or waits for its parent to hear of its end."""
    deadline = time.monotonic() + PATIENCE
    while process_exists(number):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_process_that_is_asked_to_ends(server: Server, tmp_path: Path) -> None:
    process = waiting(server, tmp_path / "number")
    assert not process.wait(0.01)
    process.terminate()
    assert code(process) == -signal.SIGTERM


def test_a_terminal_that_is_closed_ends_the_command_or_nothing(server: Server, tmp_path: Path) -> None:
    process = waiting(server, tmp_path / "number")
    assert process.pid is not None
    for number in (signal.SIGHUP, signal.SIGPIPE):
        os.kill(process.pid, number)
    assert not process.wait(0.2)
    process.terminate()
    assert code(process) == -signal.SIGTERM


def test_closing_the_server_ends_its_processes(server: Server, tmp_path: Path) -> None:
    process = waiting(server, tmp_path / "number")
    server.close()
    assert code(process) == -signal.SIGKILL and not server.is_usable()
    server.close()


def test_a_server_that_is_killed_takes_its_processes_along(server: Server, tmp_path: Path) -> None:
    process = waiting(server, tmp_path / "number")
    os.kill(about_server(process), signal.SIGKILL)
    assert code(process) == -signal.SIGKILL
    assert process.pid is not None and has_ended(process.pid)
    assert not server.is_usable()


def about_server(process: Process) -> int:
    return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_server_is_for_one_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("tests.forked")
    assert server.is_usable()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert not server.is_usable()
    server.close()


STARTER = """
import os, time
from src.runs.process_server import Server, Task
server = Server("tests.forked")
for name in ("one", "two"):
    server.start(Task(("wait", name), dict(os.environ), os.getcwd()))
END
"""


@pytest.mark.parametrize("how", ["stdin", "-c"])
@pytest.mark.parametrize("end", ["kill", "leave", "raise", "exit at once"])
def test_no_process_outlives_the_command(how: str, end: str, tmp_path: Path) -> None:
    """Also from a program that has no file to be imported again."""
    ready = "while not (os.path.exists('one') and os.path.exists('two')): time.sleep(0.02)\n"
    ends = {"kill": "time.sleep(600)", "leave": "", "raise": "raise LookupError", "exit at once": "os._exit(3)"}
    program = STARTER.replace("END", ready + ends[end])
    words = [sys.executable, "-"] if how == "stdin" else [sys.executable, "-c", program]
    starter = subprocess.Popen(
        words,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert starter.stdin is not None
    starter.stdin.write(program if how == "stdin" else "")
    starter.stdin.close()
    for name in ("one", "two"):
        wait_for(tmp_path / name)
    numbers = [int((tmp_path / name).read_text()) for name in ("one", "two")]
    if end == "kill":
        starter.kill()
    starter.wait(PATIENCE)
    assert all(has_ended(number) for number in numbers)


def test_a_module_that_cannot_be_imported_ends_the_server(capfd: pytest.CaptureFixture[str]) -> None:
    server = Server("tests.is_not_there")
    try:
        assert code(start(server, "print")) == -signal.SIGKILL
    except UserError as error:  # it has ended already
        assert "its message is above" in str(error)
    assert "No module named 'tests.is_not_there'" in capfd.readouterr().err
    server.close()


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_command_whose_streams_are_closed(closed: tuple[int, ...], tmp_path: Path) -> None:
    program = STARTER.replace('("one", "two")', '("one",)').replace("server.start", "process = server.start")
    program = program.replace('("wait", name)', '("about", name)')
    program = program.replace("END", "assert process.wait(240) and process.exitcode == 0")
    closing = "".join(f"os.close({number}); " for number in closed)
    words = [sys.executable, "-c", f"import os; {closing}\n{program}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run(words, cwd=tmp_path, env=environment).returncode == 0
    assert json.loads((tmp_path / "one").read_text())["folder"] == str(tmp_path)
