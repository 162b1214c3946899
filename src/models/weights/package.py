"""Source archives of Python packages, through the user's own package client and indexes; nothing in them is run."""

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from src.text import printable

CLIENT = Path(__file__).with_name("package_client.py")
PINNED = re.compile(r"[A-Za-z0-9][\w.-]*==\w[\w.]*", re.ASCII)  # NAME==VERSION
SILENCE = 60  # seconds in which nothing comes
LONGEST_HEADER = 10_000  # bytes


class PackageError(Exception):
    """Why the package client has not given an archive, in a few words."""


class Archive:
    """An archive on its way from the package client.

    total: bytes, None where nobody says.
    """

    def __init__(self, client: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self.client = client
        self.said = said
        header = self._header()
        if "problem" in header:
            raise PackageError(printable(header["problem"]))
        self.total: int | None = header["bytes"]

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end. Raises PackageError where nothing comes for too long."""
        assert self.client.stdout is not None
        # Windows cannot wait for a pipe: there pip's own time limit has to do.
        if os.name == "posix" and not select.select([self.client.stdout], [], [], SILENCE)[0]:
            raise PackageError(f"nothing has come for {SILENCE} s")
        return os.read(self.client.stdout.fileno(), size)

    def check_end(self) -> None:
        """PackageError unless the client has sent all it wanted to."""
        if self._exit_code() != 0:
            raise PackageError(f"the connection broke: {self._last_words()}")

    def _header(self) -> dict[str, Any]:
        line = b""
        while not line.endswith(b"\n"):
            byte = self.read(1)
            if not byte or len(line) > LONGEST_HEADER:
                self._exit_code()
                raise PackageError(f"pip failed: {self._last_words()}")
            line += byte
        try:
            header: dict[str, Any] = json.loads(line)
        except ValueError:
            raise PackageError(f"pip failed: {printable(line.decode(errors='replace').strip())[:200]}") from None
        return header

    def _exit_code(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.client.wait(SILENCE)
        return None

    def _last_words(self) -> str:
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        return printable(lines[-1].strip())[:200] if lines else f"exit code {self.client.returncode}"


@contextmanager
def archive(requirement: str, sha256: str | None) -> Iterator[Archive]:
    """The source archive of `NAME==VERSION`; one whose index states another SHA-256 is passed over.

    Raises:
        PackageError: no index has it or can be reached, or it stops coming.
    """
    name, _, version = requirement.partition("==")
    command = [sys.executable, "-P", str(CLIENT), name, version, (sha256 or "").lower()]
    with tempfile.TemporaryFile() as said:
        pipe = subprocess.PIPE
        client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=said, bufsize=0)
        with client:
            try:
                yield Archive(client, said)
            finally:
                client.kill()
