"""Processes forked from a server that has imported the training code and has touched no device.

Importing PyTorch and Lightning takes ten seconds; a fork takes none. The server is a child of the command. It forks a
process for each task, reports how it ended, and ends with the command, however that ends, taking its processes along.
Linux only: elsewhere processes are started one by one (src/runs/processes.py).
A process gets the terminal, the folder and the environment of the command; what libraries read of the environment
when they are imported is the same as well, because a server is used for one environment only.
"""

import atexit
import importlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, fromfd
from typing import Any, NoReturn

from src.config import ROOT
from src.errors import UserError
from src.runs.processes import Task
from src.signals import end_with_parent
from src.text import protect_streams

LEFT_TO_THE_COMMAND = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # which ends the server by closing the connection
CLOSE_S = 2.0  # seconds that a server has to end before it is killed


class Process:
    """A forked process, as the command sees it. It tells its number first, and the server its exit code later."""

    def __init__(self, report: int) -> None:
        self.pid: int | None = None  # None until it has been forked
        self.exitcode: int | None = None  # as in subprocess: negative for a signal
        self._report = report
        self._text = b""

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, within some seconds."""
        deadline = time.monotonic() + seconds
        while self.exitcode is None:
            ready, _, _ = select.select([self._report], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return False
            self._read()
        return True

    def _read(self) -> None:
        part = os.read(self._report, 64)
        self._text += part
        lines = self._text.decode().split("\n")
        if len(lines) > 1:
            self.pid = int(lines[0])
        if len(lines) > 2:
            self.exitcode = int(lines[1])
        elif not part:  # the server has died, and its processes with it
            self.exitcode = -signal.SIGKILL
        if self.exitcode is not None:
            os.close(self._report)

    def terminate(self) -> None:
        """Ask it to end."""
        if not self.wait(0) and self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)


class Server:
    """The command's end of a server whose processes run the function `main` of a module.

    environment: in which libraries are imported; the command's own by default.
    """

    def __init__(self, module: str, environment: dict[str, str] | None = None) -> None:
        self.environment = dict(os.environ) if environment is None else environment
        self.starter = os.getpid()
        self._requests, theirs = Pipe()
        path = [str(ROOT), *(folder or str(Path.cwd()) for folder in sys.path if folder != str(ROOT))]
        code = (
            f"import sys; sys.path[:] = {path!r}; "
            f"from src.runs.process_server import serve; serve({theirs.fileno()}, {self.starter}, {module!r})"
        )
        out, err = _outputs()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self.environment,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.close)

    def is_usable(self, environment: dict[str, str] | None = None) -> bool:
        """Whether it lives, is this process's own, and has an environment: this process's own by default."""
        wanted = dict(os.environ) if environment is None else environment
        mine = self.starter == os.getpid() and self.environment == wanted
        return mine and not self._requests.closed and self._server.poll() is None

    def start(self, task: Task) -> Process:
        """Fork a process; its standard output and error are this process's own.

        Raises:
            UserError: the server has ended.
        """
        report, theirs = os.pipe()
        try:
            self._requests.send(task)
            with fromfd(self._requests.fileno(), AF_UNIX, SOCK_STREAM) as channel:
                reduction.sendfds(channel, [*_outputs(), theirs])
        except OSError as error:
            self.close()
            raise UserError("the process that starts the ranks has ended; its message is above") from error
        except BaseException:  # half a request has been sent
            self.close()
            raise
        finally:
            os.close(theirs)
        return Process(report)

    def close(self) -> None:
        """End the server and all of its processes, at once."""
        if self.starter != os.getpid():  # a fork of the command: not its server
            return
        atexit.unregister(self.close)
        self._requests.close()
        try:
            self._server.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()


def _outputs() -> list[int]:
    """Descriptors of standard output and error; the null device for one that is closed."""
    descriptors = []
    for number in (1, 2):
        try:
            os.fstat(number)
        except OSError:
            number = os.open(os.devnull, os.O_WRONLY)
        descriptors.append(number)
    return descriptors


# In the server


def serve(handle: int, starter: int, module: str) -> None:
    """The server; it does not return.

    handle: of the connection; starter: number of the command's process.
    """
    for number in LEFT_TO_THE_COMMAND:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    if os.getppid() != starter:  # it died before the line above
        os._exit(1)
    main: Callable[..., None] = importlib.import_module(module).main
    requests = Connection(handle)
    ended, wake = os.pipe()
    for descriptor in (ended, wake):
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake)
    reports: dict[int, int] = {}  # process → where its exit code is written
    while True:
        ready = wait([requests, ended])
        if ended in ready:
            os.read(ended, 512)
            _tell_ends(reports)
        if requests in ready:
            try:
                task = requests.recv()
                with fromfd(requests.fileno(), AF_UNIX, SOCK_STREAM) as channel:
                    out, err, report = reduction.recvfds(channel, 3)
            except (EOFError, OSError):  # the command has ended or wants no more
                _end_all(reports)
            server = os.getpid()
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                requests.close()
                for descriptor in (ended, wake, *reports.values()):
                    os.close(descriptor)
                _become(task, server, out, err, report)
                _exit_with(main, task.arguments)
            os.close(out)
            os.close(err)
            reports[child] = report


def _tell_ends(reports: dict[int, int]) -> None:
    for child in list(reports):
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            report = reports.pop(child)
            with suppress(BrokenPipeError):
                os.write(report, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(report)


def _end_all(reports: dict[int, int]) -> None:
    for child in reports:
        os.kill(child, signal.SIGKILL)
    os._exit(0)


def _exit_with(main: Callable[..., None], arguments: tuple[Any, ...]) -> NoReturn:
    """Call `main` and leave as the interpreter does, but without taking down, object by object, what was imported.

    That would copy hundreds of megabytes of the server's memory, and last longer than a small run.
    """
    code: Any = 1
    try:
        main(*arguments)
        code = 0
    except SystemExit as left:
        code = left.code or 0
    except BaseException:
        traceback.print_exc()
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are not daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _become(task: Task, server: int, out: int, err: int, report: int) -> None:
    """Make the forked process one that the command itself might have started."""
    end_with_parent()
    if os.getppid() != server:
        os._exit(1)
    # Ctrl-C reaches the whole group; the command asks its processes to end, once, with SIGTERM.
    # A terminal that is closed is the command's matter too: under nohup it goes on, and its processes with it.
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(task.environment)
    os.chdir(task.folder)
    for descriptor, standard in ((out, 1), (err, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    protect_streams()
    os.write(report, f"{os.getpid()}\n".encode())
    os.close(report)
