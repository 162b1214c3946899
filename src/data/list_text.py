"""The text of a list, whatever program has saved it."""

import codecs
from pathlib import Path

from src.errors import UserError
from src.files import ENCODING
from src.text import first_line, printable

MARKS = (  # the longer first: UTF-32's begins like UTF-16's
    *((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig")),
)
LARGEST = 1 << 30  # bytes; a list of ten million videos


def read_list_text(file: Path) -> str:
    """The text of a list in UTF-8, or in any Unicode encoding with a byte order mark; stray bytes survive.

    Raises:
        UserError: it cannot be read, or is no text.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise UserError(f"list {printable(file)} cannot be read ({first_line(error)}); check its name") from error
    if len(content) > LARGEST:
        raise UserError(f"list {printable(file)} is over {LARGEST >> 20} MiB large, as no list is; check its name")
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding, ENCODING["errors"])
    except UnicodeDecodeError as error:
        raise UserError(f"list {printable(file)} is not valid {encoding.upper()}; save it as UTF-8") from error
    text = text.lstrip("\ufeff").rstrip("\x1a")  # a second mark; the end of a file in DOS
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UserError(
            f"list {printable(file)} is not a text file (line {line} holds a NUL byte); save it as CSV in UTF-8"
        )
    return text


def numbered_lines(file: Path) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1 and without line ends of any system.

    Raises:
        UserError: it cannot be read, or is no text.
    """
    lines = read_list_text(file).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line.rstrip()) for number, line in enumerate(lines, 1) if line.strip()]
