"""What a forked process does in tests: light, and importable by name."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from src.files import write_text

IMPORTED = time.monotonic()  # the same in every process of one server


def main(what: str, argument: str = "") -> None:
    if what == "exit":
        sys.exit(int(argument))
    if what == "say":
        sys.exit(argument)
    if what == "raise":
        raise LookupError(argument)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "print":
        print(argument)
    if what == "wait":
        write_text(Path(argument), str(os.getpid()))  # whole at once: who sees the file may end this process
        time.sleep(600)
    if what == "thread":
        threading.Thread(target=lambda: (time.sleep(0.2), Path(argument).touch())).start()
    if what == "about":
        here = {"environment": dict(os.environ), "folder": str(Path.cwd()), "server": os.getppid()}
        write_text(Path(argument), json.dumps(here | {"imported": IMPORTED, "path": sys.path}))
