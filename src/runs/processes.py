"""Processes that import everything anew, for systems on which a process with PyTorch in it cannot be forked.

The same as src/runs/process_server.py gives on Linux, at the cost of ten seconds a process. A process ends with the
command that has started it: the pipe through which its task came closes then.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from io import FileIO
from pathlib import Path
from typing import Any

from src.config import ROOT
from src.text import protect_streams

LENGTH = 8  # bytes in front of a task: how long it is
NEW_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows: Ctrl-C is the command's to answer


@dataclass(frozen=True)
class Task:
    """A call of the server's function in a process of its own."""

    arguments: tuple[Any, ...]
    environment: dict[str, str]
    folder: str  # the process's working directory


class Process:
    """A started process, as the command sees it."""

    def __init__(self, started: "subprocess.Popen[bytes]") -> None:
        self._started = started

    @property
    def pid(self) -> int:
        """Its number."""
        return self._started.pid

    @property
    def exitcode(self) -> int | None:
        """As in subprocess; None while it runs."""
        return self._started.poll()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, within some seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._started.wait(seconds)
        return self._started.poll() is not None

    def terminate(self) -> None:
        """Ask it to end; on Windows, end it."""
        self._started.terminate()


class Server:
    """Starts processes that run the function `main` of a module, and ends those that are left."""

    def __init__(self, module: str, environment: dict[str, str] | None = None) -> None:
        self.environment = dict(os.environ) if environment is None else environment
        self.starter = os.getpid()
        self._module = module
        self._started: list[subprocess.Popen[bytes]] = []

    def is_usable(self, environment: dict[str, str] | None = None) -> bool:
        """Whether it is this process's own, and has an environment: this process's own by default."""
        wanted = dict(os.environ) if environment is None else environment
        return self.starter == os.getpid() and self.environment == wanted

    def start(self, task: Task) -> Process:
        """Start a process; its standard output and error are this process's own."""
        path = [str(ROOT), *(folder or str(Path.cwd()) for folder in sys.path if folder != str(ROOT))]
        code = f"import sys; sys.path[:] = {path!r}; from src.runs.processes import work; work({self._module!r})"
        started = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            env=task.environment,
            cwd=task.folder,
            creationflags=NEW_GROUP,
        )
        self._started.append(started)
        assert started.stdin is not None
        content = pickle.dumps(task.arguments)
        with suppress(BrokenPipeError):  # it has died already, which its exit code says
            started.stdin.write(len(content).to_bytes(LENGTH, "little") + content)
            started.stdin.flush()
        return Process(started)

    def close(self) -> None:
        """End all processes, at once."""
        for started in self._started:
            with suppress(OSError):
                started.kill()
            started.wait()
            if started.stdin is not None:
                with suppress(OSError):
                    started.stdin.close()
        self._started.clear()


# In the process


def work(module: str) -> None:
    """Run the task that comes from the command, with the function `main` of a module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command ends its processes
    protect_streams()
    pipe = open(os.dup(0), "rb", buffering=0)  # noqa: SIM115, PTH123 - a thread waits on it until the end
    length = int.from_bytes(_read(pipe, LENGTH), "little")
    arguments = pickle.loads(_read(pipe, length))  # the command has written it just now
    threading.Thread(target=_end_with_command, args=(pipe,), daemon=True).start()
    main: Callable[..., None] = import_module(module).main
    main(*arguments)


def _read(pipe: FileIO, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = pipe.read(size - len(content))
        if not part:  # the command has died
            os._exit(1)
        content += part
    return content


def _end_with_command(pipe: FileIO) -> None:
    while True:
        _read(pipe, 1)
