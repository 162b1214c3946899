"""SIGINT (Ctrl-C) and SIGTERM: a command ends with its files in order, and never with the exit code 0.

    try:
        with stop_on_signals():
            work()
    except Stopped as stopped:
        print(f"{stopped}; the same command continues from here")
        sys.exit(stopped.exit_code)

Work that may not end just anywhere names its safe points: `with stop_on_signals(patience=5) as stop`, and
`stop.check()` at each of them.
"""

import _thread
import atexit
import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
CLEANING_S = 4.0  # how long cleaning up may take after a signal
LIMIT_S = 6.0  # when a process ends that cannot be interrupted
CONTINUES = "the same command continues from here"  # what most commands say of themselves when they are stopped


class Stopped(BaseException):
    """A signal asked the process to end. Like KeyboardInterrupt it is no Exception: it is nobody's failure.

    advice: how to go on, where the same command would not.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)
        self.advice: str | None = None

    @property
    def exit_code(self) -> int:
        """What shells and schedulers expect: 130 after SIGINT, 143 after SIGTERM."""
        return 128 + self.signal

    def __str__(self) -> str:
        return f"stopped by {self.signal.name}"


def stop_behind(error: BaseException) -> Stopped | None:
    """The stop during whose cleaning up an error came, as where a library is stopped before it is ready for that."""
    behind = error.__context__
    while behind is not None and not isinstance(behind, Stopped):
        behind = behind.__context__
    return behind


Advice = Callable[[signal.Signals], str]
_advice: list[Advice] = []  # of what is going on, the innermost last


@contextmanager
def advised(advice: Advice) -> Iterator[None]:
    """Within the block a stop says `advice`, also where the process must be ended without unwinding."""
    _advice.append(advice)
    try:
        yield
    except Stopped as stopped:
        if stopped.advice is None:
            stopped.advice = advice(stopped.signal)
        raise
    finally:
        _advice.pop()


def advise_from_now_on(advice: Advice) -> None:
    """Where nothing else is going on, a stop says `advice`: for the end of a command, while libraries tidy up."""
    _advice.insert(0, advice)


class Stop:
    """Whether the process has been asked to end."""

    def __init__(self, patience: float) -> None:
        self.signal: signal.Signals | None = None  # the first that came
        self._patience = patience
        self._process = os.getpid()
        self._raised = False
        self._over = threading.Event()

    def check(self) -> None:
        """A safe point.

        Raises:
            Stopped: a signal has come.
        """
        if self.signal is not None and not self._raised:
            self._raised = True
            raise Stopped(self.signal)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """What the main thread does about a signal, as soon as it runs Python."""
        if os.getpid() != self._process:  # in a forked child: whoever made it ends it
            _default_in_child(number)
            return
        first = self.signal is None
        if first:
            self.signal = signal.Signals(number)
            if hasattr(signal, "SIGCHLD"):  # PyTorch's raises for every worker that ends, also while we clean up
                signal.signal(signal.SIGCHLD, _nothing)
        if not first or self._patience == 0:
            # Further signals while the stack unwinds must not interrupt the cleaning up: `check` raises once.
            self.check()

    def insist(self, arrivals: int) -> None:
        """See to it that the process ends in time, whatever it is doing: a backward pass may take minutes.

        arrivals: where the system writes the numbers of signals when they come.
        """
        number = 0
        while number not in SIGNALS and not self._over.is_set():
            number = os.read(arrivals, 1)[0]
        if self._over.wait(self._patience):
            return
        if not self._raised:
            _send_again(number)
        if self._over.wait(max(1.0, CLEANING_S - self._patience)):
            return
        self._raised = False  # cleaning up hangs: raise once more, out of it
        _send_again(number)
        if not self._over.wait(LIMIT_S - CLEANING_S):
            exit_at_once(number)

    def close(self) -> None:
        """The work is over."""
        self._over.set()


@contextmanager
def stop_on_signals(patience: float = 0.0) -> Iterator[Stop]:
    """Within the block, SIGINT and SIGTERM raise `Stopped`: once, in the main thread; later signals are ignored.

    Where cleaning up takes longer than CLEANING_S after the signal, `Stopped` is raised a second time; after LIMIT_S
    the process ends wherever it is.

    Args:
        patience: seconds, about CLEANING_S at most, that a safe point (`stop.check()`) has to come after the signal;
            when they are over, or at a second signal, `Stopped` is raised wherever the program is. 0: at once.

    In forked children SIGINT does nothing (their parent, which gets it as well, ends them) and SIGTERM ends them.
    Outside of the main thread, where Python cannot handle signals, nothing changes.
    """
    stop = Stop(patience)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    arrivals, wake = os.pipe()
    if os.name == "posix":
        os.set_blocking(wake, False)
    watcher = threading.Thread(target=stop.insist, args=(arrivals,), daemon=True)
    watcher.start()
    woken_before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        stop.close()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if os.getpid() == stop._process:
            signal.set_wakeup_fd(woken_before)
            os.write(wake, b"\0")
            watcher.join()
        os.close(wake)
        os.close(arrivals)


# Signals that a forked child gets are not its parent's.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


@contextmanager
def held() -> Iterator[None]:
    """SIGINT and SIGTERM wait until the block is over; processes that are started in it never see them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def exit_while_starting() -> None:
    """Until `stop_on_signals` takes over, SIGINT and SIGTERM end the process with one line and no traceback."""
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            _default_in_child(number)
            return
        exit_at_once(number)

    for number in SIGNALS:
        signal.signal(number, end)
    atexit.register(ignore_from_now_on)


def ignore_from_now_on() -> None:
    """For the end of a command, whose exit code stands: an interpreter that ends takes its handlers away first."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def exit_at_once(number: int) -> None:
    """End the process with one line, whatever its threads are doing."""
    line = str(Stopped(number))
    with contextlib.suppress(Exception):  # nothing may be in the way
        line += f"; {_advice[-1](signal.Signals(number))}" if _advice else ""
    with contextlib.suppress(OSError):  # nobody reads it
        os.write(2, f"{line}\n".encode(errors="backslashreplace"))
    os._exit(128 + number)


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that started it dies: nothing trains on alone.

    Linux only; elsewhere nothing happens. The parent is the thread that started this process.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def serve_parent() -> None:
    """What a worker of a pool does first: its parent alone ends it, and Ctrl-C, which both get, does nothing here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:  # it died before the line above
        os._exit(1)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


def _send_again(number: int) -> None:
    main = threading.main_thread().ident
    assert main is not None
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, number)
    else:  # Windows
        _thread.interrupt_main(signal.Signals(number))


def _default_in_child(number: int) -> None:
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
