"""What a worker can suffer, importable by name and without heavy imports."""

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

from src import files
from src.errors import MachineError


def misbehave(task):
    """Hang, crash, exit, take 3 GB, raise, read a file, or answer in capitals."""
    if task == "hang":
        while True:
            pass
    if task == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "exit":
        os._exit(3)
    if task == "greedy":
        return len(bytearray(3 << 30))
    if task == "disk":
        raise OSError(errno.ENOSPC, "No space left on device", "flow.mkv")
    if task == "machine":
        raise MachineError("the GPU is gone")
    if task == "raise":
        raise LookupError("two\nlines")
    if task.startswith("/"):
        with open(task, "rb") as stream:  # noqa: PTH123
            return len(stream.read())
    return task.upper()


def probe_without_end(task: tuple[str, str]) -> Any:
    """Look at a video, but never come to the end of slow.mp4."""
    from src.data.survey import probe

    if task[0] == "slow.mp4":
        time.sleep(600)
    return probe(task)


def flow_of_the_first(task: Any) -> Any:
    """Make the flow of a/0.mp4; begin to write that of any other, and stay there."""
    from src.data.flow import flow_path
    from src.data.make_flow import make_flow

    if task.name == "a/0.mp4":
        return make_flow(task)
    with files.replacing(flow_path(Path(task.root), task.name, task.spec.method, task.spec.form)) as half:
        half.write_bytes(b"half")
        time.sleep(600)
    raise AssertionError("nobody has ended this process")
