"""Words and numbers for people: one line for an error, names cut short, and nothing that a terminal would obey."""

import contextlib
import io
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console

NAMED = 5  # how many names one message lists
PLAIN_WIDTH = 160  # columns where no terminal sets the width
DASH = "–"  # in the place of a number that there is not
# Controls, line ends, marks of direction, and what is not seen at all; not the joiners that scripts and emoji need.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ud800-\udfff\ufeff]")


def printable(text: object) -> str:
    """One line that can be sent to any terminal: control characters and stray bytes are shown as escapes."""
    return CONTROL.sub(lambda match: _escape(match[0]), str(text))


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode() if code < 0xD800 else f"\\u{code:04x}"


def folded(name: str) -> str:
    """What names share that are easily mixed up: Unicode form, case, and how and how often blanks are written."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split())


def first_line(error: BaseException, limit: int = 160) -> str:
    """The first line of what an exception says, cut to `limit` characters; its type where it says nothing."""
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return " ".join(lines[0].split())[:limit] if lines else type(error).__name__


def disk_message(error: OSError) -> str:
    """One line for a file that cannot be read or written, with what to do."""
    name = f"{error.filename}: " if error.filename else ""
    return f"{printable(name)}{first_line(error)}; make room or check the permissions, and run again"


def listed(names: Sequence[object], limit: int = NAMED, separator: str = ", ") -> str:
    """`a, b, c and 4 more`."""
    shown = separator.join(printable(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def counted(number: int, what: str) -> str:
    """`1 clip`, `2 clips`."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def console(*, stderr: bool = False) -> Console:
    """Where tables and lines go: no markup in names, no wrapped lines, wide where no window sets the width."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        soft_wrap=True,
        markup=False,
        highlight=False,
        emoji=False,
        width=None if stream.isatty() else PLAIN_WIDTH,
    )


class Tolerant(io.TextIOBase):
    """A text stream that stops writing, rather than raising, once nobody reads it any more (`| head -1`)."""

    def __init__(self, inner: TextIO) -> None:
        self.inner = inner
        self.closed_by_reader = False

    def write(self, text: str) -> int:
        try:
            if not self.closed_by_reader:
                self.inner.write(text)
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        try:
            if not self.closed_by_reader:
                self.inner.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        self.closed_by_reader = True
        with contextlib.suppress(OSError):  # what the interpreter flushes at its end goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.inner.fileno())

    def isatty(self) -> bool:
        return self.inner.isatty()

    def fileno(self) -> int:
        return self.inner.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.inner.encoding


def protect_streams() -> None:
    """Make standard output and error take any text in any locale, and survive a reader that has gone."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
            setattr(sys, name, Tolerant(stream))


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number for people, a dash for none; minus signs are typographic."""
    if value is None:
        return DASH
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def probability(p: float) -> str:
    """A p-value as it is printed."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def mean_of(mean: float, deviation: float | None) -> str:
    """A mean with its standard deviation, where it has one."""
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"
