"""What a process does about SIGINT and SIGTERM, seen from outside."""

import signal
import subprocess
import sys

import pytest
from src.config import ROOT
from src.signals import Stopped
from src.training.loop import refusals_named

ENDING = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def ended(program: str, *numbers: signal.Signals) -> tuple[int, str, str]:
    """Start a program, send it a signal after each line that it prints; its exit code, the rest, and its errors."""
    # Python 3.12 warns of a fork beside threads, which is what some of these programs are about.
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    process = subprocess.Popen(words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    for number in numbers:
        assert process.stdout.readline() == "now\n"
        process.send_signal(number)
    out, errors = process.communicate(timeout=250)
    return process.returncode, out, errors


AT_ONCE = """
import os, signal, sys, time
from src import signals
from src.signals import Stopped, stop_on_signals
signals.CLEANING_S, signals.LIMIT_S = 200, 220
try:
    with stop_on_signals():
        try:
            print("now", flush=True)
            time.sleep(600)
        except Exception:
            print("a failure")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            print("tidy")
except Stopped as stopped:
    print(stopped)
    sys.exit(stopped.exit_code)
"""


@pytest.mark.parametrize("number, code", ENDING)
def test_a_signal_ends_the_work_once_and_cleaning_up_is_not_disturbed(number, code) -> None:
    assert ended(AT_ONCE, number) == (code, f"tidy\nstopped by {number.name}\n", "")


SAFE_POINT = """
import sys, time
from src.signals import Stopped, stop_on_signals
try:
    with stop_on_signals(patience=PATIENCE) as stop:
        stop.check()
        print("now", flush=True)
        while stop.signal is None:
            time.sleep(0.01)
        print("still at work")
        CHECK
        time.sleep(600)
except Stopped as stopped:
    print(stopped)
    sys.exit(stopped.exit_code)
"""


@pytest.mark.parametrize("number, code", ENDING)
def test_patient_work_goes_on_to_its_safe_point(number, code) -> None:
    program = SAFE_POINT.replace("PATIENCE", "200").replace("CHECK", "stop.check()")
    assert ended(program, number) == (code, f"still at work\nstopped by {number.name}\n", "")


@pytest.mark.parametrize("number, code", ENDING)
def test_patience_ends(number, code) -> None:
    exit_code, out, errors = ended(SAFE_POINT.replace("PATIENCE", "0.2").replace("CHECK", ""), number)
    # Where the machine is slow, patience ends before the program has said a word.
    assert (exit_code, out.removeprefix("still at work\n") + errors) == (code, f"stopped by {number.name}\n")


def test_a_second_signal_ends_patience() -> None:
    program = SAFE_POINT.replace("PATIENCE", "200").replace("CHECK", "").replace("still at work", "now")
    program = program.replace('print("now")', 'print("now", flush=True)')
    assert ended(program, signal.SIGINT, signal.SIGINT) == (130, "stopped by SIGINT\n", "")


FORKED = """
import os, signal, sys, time
from src.signals import stop_on_signals
with stop_on_signals():
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell, b"!")
        time.sleep(600)
    os.read(ready, 1)
    os.kill(child, signal.SIGINT)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_forked_children_are_not_stopped_as_if_they_were_the_command() -> None:
    assert ended(FORKED) == (0, "-15\n", "")


FOREIGN = """
import os, signal, time
from src import signals
signals.CLEANING_S, signals.LIMIT_S = 0.1, 0.2
with signals.stop_on_signals():
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell, b"!")
        time.sleep(600)
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    time.sleep(0.6)
    print("still at work")
"""


def test_a_signal_to_a_child_does_not_end_its_parent() -> None:
    assert ended(FOREIGN) == (0, "still at work\n", "")


HANGING = """
import ctypes, sys, time
from src import signals
signals.CLEANING_S, signals.LIMIT_S = 0.1, 0.5
try:
    with signals.stop_on_signals(), signals.advised(lambda number: "add more"):
        try:
            print("now", flush=True)
            WORK_HERE
        finally:
            CLEAN_HERE
except signals.Stopped as stopped:
    print(f"{stopped}; {stopped.advice}")
    sys.exit(stopped.exit_code)
"""
DEAF = "mutex = ctypes.create_string_buffer(64); [ctypes.CDLL(None).pthread_mutex_lock(mutex) for _ in range(2)]"


@pytest.mark.parametrize("number, code", ENDING)
def test_cleaning_up_that_hangs_is_interrupted(number, code) -> None:
    program = HANGING.replace("WORK_HERE", "time.sleep(600)").replace("CLEAN_HERE", "time.sleep(600)")
    exit_code, out, errors = ended(program, number)
    assert (exit_code, out + errors) == (code, f"stopped by {number.name}; add more\n")


@pytest.mark.parametrize("number, code", ENDING)
@pytest.mark.parametrize("work, clean", [(DEAF, "pass"), ("time.sleep(600)", DEAF)])
def test_work_that_does_not_listen_is_ended(work, clean, number, code) -> None:
    program = HANGING.replace("WORK_HERE", work).replace("CLEAN_HERE", clean)
    exit_code, out, errors = ended(program, number)
    assert (exit_code, out + errors) == (code, f"stopped by {number.name}; add more\n")


HELD = """
import signal
from src.signals import Stopped, held, stop_on_signals
try:
    with stop_on_signals():
        with held():
            signal.raise_signal(signal.SIGTERM)
            print("whole")
        print("not reached")
except Stopped as stopped:
    print(stopped, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""


def test_held_signals_come_after_the_block_and_handlers_are_put_back() -> None:
    assert ended(HELD) == (0, "whole\nstopped by SIGTERM True\n", "")


STARTING = """
import time
from src.signals import exit_while_starting
exit_while_starting()
print("now", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number, code", ENDING)
def test_a_command_that_is_starting_ends_without_a_traceback(number, code) -> None:
    assert ended(STARTING, number) == (code, "", f"stopped by {number.name}\n")


TIDYING_UP = """
import atexit, os, signal
from src.command_line.options import finish, start_command
start_command(lambda: "")
atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))
finish(lambda: CODE)
"""


@pytest.mark.parametrize("code, advice", [("0", "all its work is done"), ("1", "the same command continues from here")])
def test_a_signal_while_libraries_tidy_up_ends_the_command_and_says_what_is_done(code, advice) -> None:
    assert ended(TIDYING_UP.replace("CODE", code)) == (143, "", f"stopped by SIGTERM; {advice}\n")


ENDING_INTERPRETER = """
import os, signal, sys
from src.command_line.options import finish, start_command
start_command(lambda: "")
class Late:
    def __del__(self, kill=os.kill, process=os.getpid()):  # when modules are taken down, after all handlers
        kill(process, 2)
        kill(process, 15)
late = Late()
finish(lambda: 0)
"""


def test_a_signal_to_an_interpreter_that_ends_changes_no_exit_code() -> None:
    assert ended(ENDING_INTERPRETER) == (0, "", "")


SERVER = """
from multiprocessing import forkserver
from pathlib import Path
from src.data import workers
workers.PRELOADED = []
if __name__ == "__main__":
    print(list(workers.run_limited(len, ["four"], workers=1, limit_s=1000)))
    status = Path(f"/proc/{forkserver._forkserver._forkserver_pid}/status").read_text()
    print(status.partition("SigBlk:")[2].split()[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_the_server_of_workers_never_sees_a_signal() -> None:
    """Else Ctrl-C, which reaches the whole group, ends its imports with a traceback."""
    code, out, errors = ended(SERVER)
    assert (code, errors) == (0, "")
    answers, blocked = out.splitlines()
    assert answers == "[('four', 4)]"
    both = sum(1 << (number - 1) for number in (signal.SIGINT, signal.SIGTERM))
    assert int(blocked, 16) & both == both


TWICE = """
import os, signal, time
from src.command_line.options import finish, start_command
start_command(lambda: "")
import atexit
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))  # while libraries tidy up
def work():
    print("now", flush=True)
    time.sleep(600)
finish(work)
"""


def test_ctrl_c_twice_is_one_line() -> None:
    expected = "stopped by SIGINT; the same command continues from here\n"
    assert ended(TWICE, signal.SIGINT) == (130, "", expected)


def test_an_error_while_a_stop_is_answered_does_not_hide_it() -> None:
    """A library that is stopped before it is ready may fail to clean up after itself."""
    with pytest.raises(Stopped) as caught, refusals_named():
        try:
            raise Stopped(signal.SIGINT)
        finally:
            raise RuntimeError("not ready")
    assert caught.value.exit_code == 130
    with pytest.raises(RuntimeError, match="alone"), refusals_named():
        raise RuntimeError("alone")
