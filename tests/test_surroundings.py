"""Small, full, closed and odd surroundings: nothing is lost, nothing waits for ever, one line says what is wrong."""

import contextlib
import io
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.list_sweeper import _Summing
from src import files
from src.command_line.options import finish
from src.config import ROOT
from src.data import workers
from src.data.decode import open_video
from src.data.probe import probe
from src.errors import MachineError, ShortageError, UserError
from src.text import Tolerant
from src.training import worker
from src.training.checkpoints import WholeFileCheckpoints

from tests.conftest import write_video

# Disks


def test_a_file_that_does_not_fit_leaves_the_one_before(tmp_path):
    path = tmp_path / "results.json"
    files.write_text(path, "before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.write_text(path, "x" * 5000)
        with pytest.raises(UserError, match="the previous one is intact: make room, and the same command goes on"):
            WholeFileCheckpoints().save_checkpoint({"state_dict": {"w": torch.zeros(9000)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


FULL = """
import sys
from src.command_line.options import finish, protect_streams
from src import files
from pathlib import Path
protect_streams()
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
finish(lambda: files.write_text(Path("report.md"), "x" * 100))
"""


def run(program, folder, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("env", {})
    words = [sys.executable, "-c", program]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=250, **options)


def test_a_full_disk_is_one_line_of_any_command(tmp_path):
    done = run(FULL, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: report.md: File too large; make room")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# Streams


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_a_reader_that_has_gone_ends_nothing():
    stream = Tolerant(Broken())
    print("a line", file=stream, flush=True)
    print("another", file=stream, flush=True)
    assert stream.closed_by_reader


CLOSED = """
import sys, time
from src.command_line.options import finish, protect_streams
protect_streams()
def work():
    for number in range(20000):
        print("line", number)
    print("done", file=sys.stderr)
finish(work)
"""


def test_a_closed_pipe_leaves_the_work_going_and_the_exit_code(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", CLOSED]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    assert process.stderr.read() == "done\n"
    assert process.wait() == 0


@pytest.mark.parametrize("close", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_streams_are_no_matter(close, tmp_path):
    program = "import sys\nfrom src.command_line.options import finish, protect_streams\nprotect_streams()\n"
    program += 'finish(lambda: (print("a"), print("b", file=sys.stderr), open("made", "w").close()) and 0)'
    words = ["sh", "-c", f'exec "$0" -c "$1" {close}', sys.executable, program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True).returncode == 0
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
def test_any_text_can_be_printed_in_any_locale(locale, tmp_path):
    program = (
        'from src.text import protect_streams, console\nprotect_streams()\nconsole().print("\\u2192 \\xfc \\u65e5")'
    )
    environment = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    done = run(program, tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


# Temporary folders


def test_a_long_temporary_folder_is_replaced_where_sockets_need_a_short_one(tmp_path):
    long = tmp_path / ("x" * 125)
    long.mkdir()
    program = """
from src.command_line.options import start_command
start_command(lambda: "")
import multiprocessing
def work(number): return number + 1
if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=print, args=("hello",))
    process.start(); process.join()
"""
    done = run(program, tmp_path, env={"TMPDIR": str(long)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_relative_folders_of_the_environment_are_left_out(monkeypatch):
    for name, value in {"XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "./c", "XDG_DATA_HOME": "/data"}.items():
        monkeypatch.setenv(name, value)
    files.forget_relative_folders()
    assert {name for name in os.environ if name.startswith("XDG_")} & {"XDG_CACHE_HOME", "XDG_CONFIG_HOME"} == set()
    assert os.environ["XDG_DATA_HOME"] == "/data"


# Limits


def test_too_many_open_files_are_no_fault_of_a_video(tmp_path):
    path = write_video(tmp_path / "a.mp4", 5)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for read in (lambda: open_video(str(path)), lambda: probe(("a", str(path)))):
            with pytest.raises(ShortageError, match=r"a\.mp4: this process may not open any more files; raise") as one:
                read()
        answer = workers._attempt(probe, ("a", str(path)), 1)
        assert isinstance(answer, MachineError) and str(answer) == str(one.value)
    finally:
        for handle in held:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert str(pickle.loads(pickle.dumps(one.value))) == str(one.value)
    assert probe(("a", str(path))).frames == 5


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        ImportError("libgomp.so: cannot allocate memory in static TLS block"),
    ],
)
def test_too_little_memory_is_one_line_of_any_command(error, capsys):
    def work():
        raise error

    with pytest.raises(SystemExit) as ended:
        finish(work)
    said = capsys.readouterr().err
    assert ended.value.code == 1 and said.startswith("error: there is not enough memory (") and said.count("\n") == 1


def test_a_broken_installation_is_no_lack_of_memory():
    def work():
        raise ImportError("No module named 'torch'")

    with pytest.raises(ImportError):
        finish(work)


# Locks


def test_looking_at_a_lock_never_refuses_it(tmp_path):
    lock = tmp_path / ".lock"
    with files.locked(lock):
        pass
    over = threading.Event()

    def probe():
        while not over.is_set():
            files.is_locked(lock)
            time.sleep(0.0001)  # on a single core the other thread must come to its turn

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    refused = 0
    for _ in range(100):
        with files.locked(lock) as taken:
            refused += not taken
    over.set()
    thread.join()
    assert refused == 0


# Runs of a list


def test_runs_of_a_list_that_fail_are_summed_up_in_one_line(capfd):
    class Launcher:
        def launch(self, batch, initial_job_idx):
            return [job(UserError("no room")), job(None), job(UserError("no room either"))]

    def job(error):
        done = JobReturn(status=JobStatus.FAILED if error else JobStatus.COMPLETED)
        done.return_value = error
        return done

    with pytest.raises(UserError, match=r"^2 of 3 runs failed, the first: no room$"):
        _Summing(Launcher()).launch([], 0)
    assert capfd.readouterr() == ("", "")


def test_a_rank_on_a_full_disk_says_one_line(tmp_path, monkeypatch, capfd):
    def full(*arguments):
        raise OSError(28, "No space left on device", "run/audit.json")

    monkeypatch.setattr(worker, "run", full)
    with pytest.raises(SystemExit, match=r"^error: run/audit\.json: No space left on device; make room or check"):
        worker.main({}, str(tmp_path), None)
