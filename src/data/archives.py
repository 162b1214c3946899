"""Published archives onto disk, by the last folder of each file, without letting any of them write elsewhere.

Every archive is unpacked into a fresh folder inside the target, checked there, and moved: `UCF-101/Diving/a.avi`
goes to `Diving/a.avi`, `ucfTrainTestlist/classInd.txt` stays as it is. Archives within archives (HMDB51 has one a
class) are unpacked in their turn; hidden files are left out. An archive is refused, and nothing of it kept, where a
member is a link, leads out of the folder, or would meet another member or a different file that is there already,
and where it unpacks to more than the disk has room for or than videos can be packed.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from src import files
from src.data import inventory
from src.errors import UserError
from src.signals import end_with_parent
from src.text import first_line, printable

ENDINGS = (".rar", ".zip")
DONE = ".unpacked.json"  # archives already unpacked, with size and time of change
DEPTH = 2  # archives within archives
SCRATCH = re.compile(rf"\.unpacking-[a-z0-9_]{{8}}|{files.LEFTOVER.pattern}")  # first: as it was called once
MOST_GROWTH = 100  # times the archive's size; videos are packed already
SMALL = 1 << 30  # bytes that any archive may unpack to
PATIENCE_S = 1  # seconds between two looks at a running program
MOST_FILES = 2_000_000  # in one archive; the largest data set has a third of that
BLOCK = 1 << 20  # bytes compared at a time


class Unpacker(NamedTuple):
    """A program that reads .rar, and its command lines."""

    program: str
    names: tuple[str, ...]  # prints the names within, one a line
    extract: tuple[str, ...]


UNPACKERS = (  # best first; Debian's 7zz comes without .rar
    Unpacker("unrar", ("lb", "-p-", "{archive}"), ("x", "-o+", "-p-", "-y", "-idq", "{archive}", "{folder}/")),
    Unpacker("bsdtar", ("-tf", "{archive}"), ("-xf", "{archive}", "-C", "{folder}")),
    Unpacker("unar", (), ("-quiet", "-no-directory", "-force-overwrite", "-o", "{folder}", "{archive}")),
    Unpacker("7zz", ("l", "-ba", "-slt", "{archive}"), ("x", "-y", "-p", "-bd", "-o{folder}", "{archive}")),
    Unpacker("7z", ("l", "-ba", "-slt", "{archive}"), ("x", "-y", "-p", "-bd", "-o{folder}", "{archive}")),
)


def find_archives(folder: Path) -> list[Path]:
    """Archives directly in `folder`, in order of name."""
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in ENDINGS and f.is_file())


def unpack(archives: list[Path], target: Path) -> Iterator[tuple[Path, int]]:
    """Unpack into `target` what has not been unpacked before; yield each archive with its number of files.

    Raises:
        UserError: no program for .rar, a broken archive, one that wants to write elsewhere, or a full disk.
    """
    target.mkdir(parents=True, exist_ok=True)
    for left in target.glob(".unpacking*"):  # of a run that was cut off; whoever unpacks has the folder locked
        if SCRATCH.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
    done = _done(target / DONE)
    for archive in archives:
        status = archive.stat()
        mark = [status.st_size, status.st_mtime_ns]
        if done.get(archive.name) == mark:
            continue
        count = _unpack_one(archive, target)
        done[archive.name] = mark
        files.write_json(target / DONE, done)
        yield archive, count


def _done(record: Path) -> dict[str, list[int]]:
    """Archive → size and time of change, of those that have been unpacked."""
    if not record.is_file():
        return {}
    try:
        done = json.loads(files.read_text(record))
    except ValueError:
        done = None
    if not isinstance(done, dict):
        raise UserError(f"{record} is damaged; remove it to unpack all archives again")
    return done


def _unpack_one(archive: Path, target: Path) -> int:
    _check_room(archive, archive.stat().st_size, target)
    try:
        with files.scratch(target, "unpacking") as scratch:
            places: dict[Path, Path] = {}
            for file in _extracted(archive, scratch, DEPTH):
                place = _place(file, scratch, target)
                if place in places and not _same(places[place], file):
                    raise UserError(
                        f"{archive} holds two different files that would become {printable(place)}; do not trust it"
                    )
                _check_place(archive, file, place, target)
                places[place] = file
            for place, file in places.items():
                if not place.exists():  # else: the same, from a run that was cut off
                    place.parent.mkdir(exist_ok=True)
                    file.chmod(0o644)
                    file.replace(place)
            return len(places)
    except OSError as error:
        raise UserError(
            f"{archive} cannot be unpacked into {target} ({error.strerror or error}); "
            "correct that and run the same command again"
        ) from error


def _check_room(archive: Path, need: int, target: Path) -> None:
    free = shutil.disk_usage(target).free
    if need > free:
        raise UserError(
            f"{archive} needs at least {need / 1e9:.1f} GB under {target}, which has {free / 1e9:.1f} GB free; "
            "free some, or give another data.root"
        )


def _check_growth(archive: Path, unpacked: int) -> None:
    """What the archive holds is not out of all proportion."""
    if unpacked > max(SMALL, MOST_GROWTH * archive.stat().st_size):
        raise UserError(
            f"{archive} unpacks to {unpacked / 1e9:.1f} GB, more than {MOST_GROWTH} times its size; do not trust it"
        )


def _extracted(archive: Path, scratch: Path, depth: int) -> Iterator[Path]:
    """The regular files that come out of an archive, inner archives opened."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    if archive.suffix.lower() == ".zip":
        _unzip(archive, folder)
    else:
        _unrar(archive, folder)
    for file in sorted(folder.rglob("*")):
        mode = file.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or (stat.S_ISREG(mode) and file.lstat().st_nlink > 1):
            raise UserError(
                f"{archive} holds {printable(file.name)}, which is a link or not a regular file; do not trust it"
            )
        if stat.S_ISREG(mode) and file.suffix.lower() in ENDINGS and depth > 1:
            try:
                yield from _extracted(file, scratch, depth - 1)
            except UserError as error:  # begins with a path that nobody will find
                raise UserError(f"{archive}: within it, {str(error).removeprefix(f'{file.parent}/')}") from error
            file.unlink()
        elif stat.S_ISREG(mode) and not file.name.startswith("."):
            yield file


def _place(file: Path, scratch: Path, target: Path) -> Path:
    """Where an unpacked file goes: `target`/<its folder>/<its name>."""
    inside = file.relative_to(scratch).parts[1:]  # the first is the folder of the archive
    return target.joinpath(*inside[-2:])


def _check_place(archive: Path, file: Path, place: Path, target: Path) -> None:
    """Nothing is at `place`, or the same file; and its folder is one of `target`'s own.

    Raises:
        UserError: unpacking would replace something, or write elsewhere.
    """
    if not place.parent.resolve().is_relative_to(target.resolve()):
        raise UserError(f"{printable(place.parent)} leads out of {target}; remove it to unpack {archive}")
    if place == target / inventory.FILE:
        raise UserError(f"{archive} holds {inventory.FILE}, which src.prepare writes itself; do not trust it")
    if os.path.lexists(place) and not (place.is_file() and _same(place, file)):
        raise UserError(
            f"{archive} would replace {printable(place)}, which is different from what the archive holds; "
            "move it elsewhere, or remove it"
        )


def _same(first: Path, second: Path) -> bool:
    """Whether two files hold the same bytes."""
    if first.stat().st_size != second.stat().st_size:
        return False
    with first.open("rb") as one, second.open("rb") as other:
        while block := one.read(BLOCK):
            if block != other.read(BLOCK):
                return False
    return True


def _check_names(archive: Path, names: list[str]) -> None:
    """No name leads out of the folder, and none stands twice: which file would be meant?"""
    if len(names) > MOST_FILES:
        raise UserError(f"{archive} holds {len(names):,} files; do not trust it")
    seen: set[PurePosixPath] = set()
    for name in filter(None, names):
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise UserError(f"{archive} would write to {printable(name)}, which is outside its folder; do not trust it")
        if path in seen and not name.endswith(("/", "\\")):
            raise UserError(f"{archive} holds {printable(name)} twice; do not trust it")
        seen.add(path)


def _unzip(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            _check_names(archive, opened.namelist())
            unpacked = sum(info.file_size for info in opened.infolist())
            _check_growth(archive, unpacked)
            _check_room(archive, unpacked, folder.parent.parent)
            for info in opened.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise UserError(f"{archive} holds the link {printable(info.filename)}; do not trust it")
                opened.extract(info, folder)  # stops at the size that `info` states
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UserError(f"{archive} is not a valid .zip file ({first_line(error)}); download it again") from error


def _unrar(archive: Path, folder: Path) -> None:
    """Unpack with the first installed program that can."""
    installed = [unpacker for unpacker in UNPACKERS if shutil.which(unpacker.program)]
    if not installed:
        programs = ", ".join(unpacker.program for unpacker in UNPACKERS)
        raise UserError(
            f"no program to unpack {archive.name} is installed (looked for {programs}); "
            "install one, for example apt-get install unar"
        )
    said = []
    for unpacker in installed:
        try:
            if unpacker.names:
                _check_names(archive, _listed(unpacker, _call(unpacker, unpacker.names, archive, folder)))
            _call(unpacker, unpacker.extract, archive, folder)
        except subprocess.CalledProcessError as error:
            said.append(_last_line(unpacker, error))
            shutil.rmtree(folder)
            folder.mkdir()
            continue
        if any(folder.iterdir()):
            return
        said.append(f"{unpacker.program}: found nothing in it")
    raise UserError(f"{archive} cannot be unpacked ({'; '.join(said)}); download it again")


def _listed(unpacker: Unpacker, output: str) -> list[str]:
    lines = output.splitlines()
    if unpacker.program.startswith("7z"):  # prints more about each member than its name
        return [line.removeprefix("Path = ") for line in lines if line.startswith("Path = ")]
    return lines


def _call(unpacker: Unpacker, words: tuple[str, ...], archive: Path, folder: Path) -> str:
    """Run the program and return what it prints; it is ended when it unpacks too much, or with this process."""
    command = [unpacker.program, *(w.format(archive=archive.absolute(), folder=folder) for w in words)]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        preexec_fn=end_with_parent if sys.platform == "linux" else None,
    ) as process:
        try:
            while True:
                try:
                    out, errors = process.communicate(timeout=PATIENCE_S)
                    break
                except subprocess.TimeoutExpired:
                    _check_growth(archive, _size(folder))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, errors)
    _check_growth(archive, _size(folder))
    return out


def _size(folder: Path) -> int:
    """Bytes in the files below a folder, also while others write and rename there.

    What the disk has lost says less: others write to it as well.
    """
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(place) / name).lstat().st_size
    return total


def _last_line(unpacker: Unpacker, error: subprocess.CalledProcessError) -> str:
    said = (error.stderr.strip() or error.stdout.strip()).splitlines()
    return f"{unpacker.program}: {printable(said[-1]) if said else f'status {error.returncode}'}"
