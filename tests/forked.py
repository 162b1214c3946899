"""What a forked process does in tests: light, and importable by name."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

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
        Path(argument).write_text(str(os.getpid()))
        time.sleep(600)
    if what == "thread":
        threading.Thread(target=lambda: (time.sleep(0.2), Path(argument).touch())).start()
    if what == "about":
        here = {"environment": dict(os.environ), "folder": str(Path.cwd()), "server": os.getppid()}
        Path(argument).write_text(json.dumps(here | {"imported": IMPORTED, "path": sys.path}))
