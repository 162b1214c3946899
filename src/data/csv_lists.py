"""Lists of videos as people write and export them: read where they have one meaning, refused by line elsewhere.

    path,label,group,split
    run/clip0.mp4,run,session 1,train

Columns may be separated by commas, semicolons, tabs, bars or (where that leaves one reading) spaces, have other
usual names, stand in any order, or have no names. Lines that begin with # are comments.
"""

from pathlib import Path

from src.data.csv_table import beginnings, read_table
from src.data.list_text import read_list_text
from src.data.listing import SPLITS, Listed
from src.data.video_files import DRIVE, Finder
from src.errors import UserError
from src.text import listed, printable


def list_file(base: Path, name: str) -> Path:
    """The list that `data.csv` means: below the data root, else as seen from the current folder."""
    below = base / name
    return Path(name) if not below.is_file() and Path(name).is_file() else below


def read_list(base: Path, file: Path) -> list[Listed]:
    """The videos of a list, in its order; all of them exist.

    Args:
        base: folder that paths are relative to. A path may also be absolute, have backslashes, or lack its ending.

    Raises:
        UserError: the list cannot be read, a line is not of the form, can be read in two ways, or names no file.
    """
    finder = Finder(base)
    shown = printable(file)
    table = read_table(shown, _legible(read_list_text(file), finder), finder.is_file)
    meant = [finder.find(values["path"]) for _, values in table]
    _check_found(shown, base, table, meant)
    entries = []
    for (line, values), (path, *_) in zip(table, meant, strict=True):
        split = _split(shown, line, values["split"]) if "split" in values else ""
        entries.append(Listed(path, values["label"].strip(), values.get("group", "").strip(), split, line))
    return entries


def _legible(text: str, finder: Finder) -> str:
    """Bytes that are not UTF-8 are letters of Windows (CP1252), unless files on disk are called by such bytes."""
    stray = [line for line in text.splitlines() if _has_stray_bytes(line)]
    for line in stray:
        if any(_has_stray_bytes(name) and finder.exists(name.strip('"')) for name in beginnings(line)):
            return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("cp1252") if stray else text
    except UnicodeDecodeError:  # not CP1252 either: kept as bytes
        return text


def _has_stray_bytes(text: str) -> bool:
    return any("\udc80" <= letter <= "\udcff" for letter in text)


def _check_found(file: str, base: Path, table: list[tuple[int, dict[str, str]]], meant: list[list[str]]) -> None:
    """Every path means one file."""
    missing = [row for row, paths in zip(table, meant, strict=True) if not paths]
    if missing:
        line, values = missing[0]
        path = values["path"].strip()
        what = f"{file} line {line}: {printable(path)}"
        if DRIVE.match(path):
            raise UserError(f"{what} is on a Windows drive; write it relative to data.root ({printable(base)})")
        raise UserError(
            f"{what} does not exist ({len(missing)} of {len(table)} videos are not there); correct the line, or "
            f"set data.root (now {printable(base)}) to the folder that the paths are relative to"
        )
    for (line, values), paths in zip(table, meant, strict=True):
        written = printable(values["path"].strip())
        if (base / paths[0]).is_dir():
            raise UserError(f"{file} line {line}: {written} is a folder; name a video in each line")
        if len(paths) > 1:
            raise UserError(f"{file} line {line}: {written} may be {listed(paths)}; add the ending")


def _split(file: str, line: int, written: str) -> str:
    split = SPLITS.get(written.strip().lower())
    if split is None:
        raise UserError(
            f"{file} line {line}: split {printable(written.strip()) or '(empty)'} is not train, val or test"
        )
    return split
