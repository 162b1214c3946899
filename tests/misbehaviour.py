"""What a worker can suffer, importable by name and without heavy imports."""

import errno
import os
import signal

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
