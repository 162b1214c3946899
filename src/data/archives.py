"""Published archives onto disk, by the last folder of each file, without letting any of them write elsewhere.

Every archive is unpacked into a fresh folder inside the target, checked there, and moved: `UCF-101/Diving/a.avi`
goes to `Diving/a.avi`, `ucfTrainTestlist/classInd.txt` stays as it is. Archives within archives (HMDB51 has one a
class) are unpacked in their turn.
"""

import json
import shutil
import stat
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from src import files
from src.errors import UserError

ENDINGS = (".rar", ".zip")
DONE = ".unpacked.json"  # archives already unpacked, with size and time of change
SCRATCH = ".unpacking-"
DEPTH = 2  # archives within archives


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
    for left in target.glob(f"{SCRATCH}*"):  # of a run that was cut off
        shutil.rmtree(left)
    record = target / DONE
    done = json.loads(record.read_text()) if record.is_file() else {}
    for archive in archives:
        status = archive.stat()
        mark = [status.st_size, status.st_mtime_ns]
        if done.get(archive.name) == mark:
            continue
        count = _unpack_one(archive, target)
        done[archive.name] = mark
        files.write_json(record, done)
        yield archive, count


def _unpack_one(archive: Path, target: Path) -> int:
    need, free = archive.stat().st_size, shutil.disk_usage(target).free
    if need > free:
        raise UserError(
            f"{archive} needs more than {need / 1e9:.1f} GB under {target}, which has {free / 1e9:.1f} GB free; "
            "free some, or give another data.root"
        )
    with tempfile.TemporaryDirectory(dir=target, prefix=SCRATCH) as scratch:
        try:
            return sum(_move(file, Path(scratch), target) for file in _extracted(archive, Path(scratch), DEPTH))
        except OSError as error:
            raise UserError(
                f"{archive} cannot be unpacked into {target} ({error.strerror or error}); "
                "mend that and run the same command again"
            ) from error


def _extracted(archive: Path, scratch: Path, depth: int) -> Iterator[Path]:
    """The regular files that come out of an archive, inner archives opened."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    if archive.suffix.lower() == ".zip":
        _unzip(archive, folder)
    else:
        _unrar(archive, folder)
    for file in sorted(folder.rglob("*")):
        mode = file.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise UserError(f"{archive} holds {file.name!r}, which is no regular file; download it again")
        if stat.S_ISREG(mode) and file.suffix.lower() in ENDINGS and depth > 1:
            yield from _extracted(file, scratch, depth - 1)
            file.unlink()
        elif stat.S_ISREG(mode):
            yield file


def _move(file: Path, scratch: Path, target: Path) -> int:
    """Bring a file to `target`/<its folder>/<its name>; the number of files moved."""
    inside = file.relative_to(scratch).parts[1:]  # the first is the folder of the archive
    place = target.joinpath(*inside[-2:])
    if place.parent != target and place.parent.is_symlink() and not place.parent.is_dir():
        raise UserError(f"{place.parent} is a link to nowhere; remove it")
    place.parent.mkdir(exist_ok=True)
    file.chmod(0o644)
    file.replace(place)
    return 1


def _check_names(archive: Path, names: list[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise UserError(f"{archive} wants to write to {name!r}, outside its folder; do not trust it")


def _unzip(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            _check_names(archive, opened.namelist())
            need, free = sum(info.file_size for info in opened.infolist()), shutil.disk_usage(folder).free
            if need > free:
                raise UserError(
                    f"{archive} needs {need / 1e9:.1f} GB under {folder.parent.parent}, which has "
                    f"{free / 1e9:.1f} GB free; free some, or give another data.root"
                )
            for info in opened.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise UserError(f"{archive} holds the link {info.filename!r}; do not trust it")
                opened.extract(info, folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{archive} is no sound .zip ({error}); download it again") from error


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
            listed = _call(unpacker, unpacker.names, archive, folder).splitlines() if unpacker.names else []
        except subprocess.CalledProcessError as error:
            said.append(_last_line(unpacker, error))
            continue
        _check_names(archive, [x.removeprefix("Path = ") for x in listed if x.startswith("Path") or " = " not in x])
        try:
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


def _call(unpacker: Unpacker, words: tuple[str, ...], archive: Path, folder: Path) -> str:
    command = [unpacker.program, *(w.format(archive=archive.absolute(), folder=folder) for w in words)]
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=True
    )
    return ended.stdout


def _last_line(unpacker: Unpacker, error: subprocess.CalledProcessError) -> str:
    said = (error.stderr.strip() or error.stdout.strip()).splitlines()
    return f"{unpacker.program}: {said[-1] if said else f'status {error.returncode}'}"
