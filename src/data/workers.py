"""Work on files that may hang or crash whatever opens them: processes with a time limit, replaced when lost."""

import errno
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from src.errors import MachineError, UserError
from src.signals import SIGNALS, held

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

GRACE_S = 5  # a worker that its parent does not end ends itself this long after its limit
MEMORY = 4 << 30  # bytes that one task may take
PRELOADED = ["src.data.survey", "hydra", "rich.progress"]  # what src.prepare and its tasks import
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
STARTS = 3  # times in a row that a worker may die before it is ready for work
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Why a task has no result."""

    reason: str


def run_limited(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int,
    limit_s: float,
    memory: int | None = MEMORY,
) -> Generator[tuple[Task, Result | Failure], None, None]:
    """Yield (task, result) as tasks end, in any order; a task that hangs, crashes or raises yields a Failure.

    Close the generator (`contextlib.closing`) to end the workers early. They end with this process however it ends,
    and signals to the whole process group are this process's to answer: a worker that obeyed them would look as if
    its video had killed it.

    Args:
        function: importable by name; it and its tasks and results are pickled.
        workers: processes at work at the same time.
        limit_s: seconds for one task; then its process is killed, and another takes its place.
        memory: bytes that a process may map beyond what it has at the start; None: as many as it likes.

    Raises:
        MachineError: a worker could not write to disk (full, read-only), open a file or use its device; the next
            would do no better.
    """
    waiting = iter(tasks)
    first = next(waiting, None)
    if first is None:
        return
    pending: list[Task] = [first]
    crew: list[_Worker[Task]] = []
    deaths = 0

    def more() -> bool:
        if not pending:
            pending.extend([task] if (task := next(waiting, None)) is not None else [])
        return bool(pending)

    resource_tracker.ensure_running()  # its start lets signals through, also those that `held` holds back
    try:
        while True:
            while more() and len(crew) < workers:
                with held():  # no worker is started and forgotten
                    crew.append(_Worker(function, limit_s, memory))
            if not crew:
                return
            now = time.monotonic()
            soonest = min((worker.deadline for worker in crew), default=math.inf)
            wait([worker.pipe for worker in crew], None if soonest == math.inf else max(0.0, soonest - now))
            for worker in list(crew):
                answer = worker.answer(limit_s)
                if answer is None:
                    continue
                if isinstance(answer, _Ready):
                    deaths = 0
                elif worker.task is None:
                    deaths += 1
                    if deaths >= STARTS:
                        raise RuntimeError(f"worker processes do not start: {answer}")
                else:
                    if isinstance(answer, MachineError):
                        raise answer
                    task, worker.task = worker.task, None
                    yield task, answer
                if not worker.lost and more():
                    worker.give(pending.pop(), limit_s)
                else:
                    worker.end()
                    crew.remove(worker)
    finally:
        for worker in crew:
            worker.end()


class _Ready:
    """A worker's first word."""


class _Worker(Generic[Task]):
    """One process and what it is doing."""

    def __init__(self, function: Callable[[Task], Any], limit_s: float, memory: int | None) -> None:
        # A server that has imported everything hands out workers in milliseconds, and holds no threads or locks.
        context: Any = multiprocessing.get_context(METHOD)
        context.set_forkserver_preload(PRELOADED)
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, function, limit_s, memory), daemon=True)
        self.process.start()
        other.close()
        self.task: Task | None = None
        self.deadline = math.inf
        self.lost = False

    def give(self, task: Task, limit_s: float) -> None:
        self.task, self.deadline = task, time.monotonic() + limit_s
        self.pipe.send(task)

    def answer(self, limit_s: float) -> Any:
        """What has come from the process, a Failure if it is lost or late, or None."""
        try:
            if self.pipe.poll():
                self.deadline = math.inf
                return self.pipe.recv()
        except (EOFError, OSError):
            self.lost = True
            self.process.join()
            return Failure(_death(self.process.exitcode or 0))
        if time.monotonic() < self.deadline:
            return None
        self.lost = True
        return Failure(f"took more than {limit_s:g} s")

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _death(exitcode: int) -> str:
    if exitcode >= 0:
        return f"its decoder ended the process with status {exitcode}"
    name = signal.Signals(-exitcode).name
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"its decoder crashed with {name}{hint}"


def _serve(pipe: Connection, function: Callable[[Any], Any], limit_s: float, memory: int | None) -> None:
    """A worker's life: one task after the other until the pipe closes."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if resource is not None:
        _limit_memory(memory)
    with suppress(EOFError, OSError):  # the parent is gone
        pipe.send(_Ready())
        while True:
            task = pipe.recv()
            with _own_end(math.ceil(limit_s) + GRACE_S):
                answer = _attempt(function, task, memory)
            pipe.send(answer)


def _limit_memory(memory: int | None) -> None:
    """Let this process map so many bytes more than it has now, where the system says how many that are."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is None or not Path("/proc/self/statm").exists():
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + memory
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


@contextmanager
def _own_end(seconds: int) -> Iterator[None]:
    """Have the system end this process if the block takes longer; on Windows only its parent does."""
    if not hasattr(signal, "alarm"):
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    yield
    signal.alarm(0)


def _end_with_parent() -> None:
    """End this process, in the middle of a video or not, as soon as its parent no longer exists."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _attempt(function: Callable[[Any], Any], task: Any, memory: int | None) -> Any:
    try:
        return function(task)
    except MachineError as error:
        return error
    except UserError as error:
        return Failure(str(error))
    except MemoryError:
        return Failure(f"needs more than {memory / (1 << 30):g} GB of memory" if memory else "needs more memory")
    except OSError as error:
        if error.errno in DISK:
            return MachineError(
                f"{error.filename or 'a file'} cannot be written ({error.strerror}); what is done is kept: "
                "make room and run the same command again"
            )
        return Failure(f"{type(error).__name__}: {error}")
    except Exception as error:  # whatever it is, this file caused it
        return Failure(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
