"""Files on disk: written whole or not at all, locked, hashed, and named safely.

Names that come from data (class names, video names, names in archives) pass through `safe_name` before they become
the name of a file, so that nothing is ever written outside the folder that is meant.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

ENCODING: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}  # bytes that are not UTF-8 survive
LONGEST_NAME = 100  # bytes of a safe name; file systems allow 255, and an ending is still to come
HASH_DIGITS = 12  # of the hash in a name that had to change
LONGEST_TEMPORARY = 60  # bytes; of the 107 that Linux allows for a socket, and macOS 103, libraries take up to 40
LOOK_PATIENCE = 0.05  # seconds; two who look at the same time are in each other's way for less
LOCK_PATIENCE = 1.0  # seconds; somebody who only looks at a lock holds it for less than a millisecond


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` (same ending) that takes its place when the block ends without an error.

    What a killed process left behind is known by its name: `.NAME.PROCESS.….unfinished` (see `remove_leftovers`).

    Raises:
        OSError: the disk is full or read-only; it names `path`, which is as it was.
    """
    prefix = _prefix(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(f"{UNFINISHED}{path.suffix}", prefix, path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.filename is None or prefix in str(error.filename):  # a full disk has no name, a temporary one is none
            # A new one, because the names in PyAV's errors cannot be changed.
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def filling(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` when the block ends without an error.

    Raises:
        OSError: there is a file at `path`, or a folder that is not empty; nothing of it is touched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch(path.parent, path.stem) as temporary:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(path)


@contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """A temporary folder in `parent`, removed with all that is in it when the block ends."""
    temporary = Path(tempfile.mkdtemp(UNFINISHED, _prefix(Path(name)), parent))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


QUERY_LIMITED_INFORMATION = 0x1000  # of Windows' OpenProcess
UNFINISHED = ".unfinished"
LEFTOVER = re.compile(r"\..*\.(\d+)\.[a-z0-9_]{8}\.unfinished(\..*)?", re.DOTALL)  # temporary files and folders


def _prefix(path: Path) -> str:
    return f".{path.stem[:40]}.{os.getpid()}."


def remove_leftovers(folder: Path, pattern: str = "**/.*") -> None:
    """Remove temporary files and folders below `folder` whose process no longer exists on this machine."""
    for path in sorted(folder.glob(pattern)):
        match = LEFTOVER.fullmatch(path.name)
        if not match or path.is_symlink() or process_exists(int(match[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def process_exists(number: int) -> bool:
    """Whether a process with this number is running on this machine.

    One that has ended is not, although its number is taken until its parent asks (in a container it may stay so).
    """
    if sys.platform == "win32":  # where os.kill ends what it asks about
        import ctypes

        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(QUERY_LIMITED_INFORMATION, False, number)
        kernel.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    try:
        state = Path(f"/proc/{number}/stat").read_text(**ENCODING).rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it has ended just now, or this system has no /proc
        return not Path("/proc/self/stat").exists()
    return state != "Z"


def new_folder(parent: Path, name: str) -> Path:
    """Make the folder `name` in `parent`, or `name_2` and so on where it exists: each caller gets one of its own."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        path = parent / (name if number == 1 else f"{name}_{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            break
    return path


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, **ENCODING)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For json's `object_pairs_hook`. ValueError for a name that stands twice: readers differ in which one counts."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name appears twice in one object")
    return content


def read_text(path: Path) -> str:
    """The file's text; bytes that are not UTF-8 survive a round trip through `write_text`."""
    return path.read_text(**ENCODING)


def sha256(*paths: Path) -> str:
    """SHA-256 of the files' bytes, one file after the other, as 64 hex digits."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def locked(path: Path, patience: float = LOCK_PATIENCE, *, remove: bool = False) -> Iterator[bool]:
    """Hold an exclusive lock on the file `path` (created if needed); yields False where another process holds it.

    Args:
        patience: seconds to wait for it.
        remove: leave no file behind.

    The kernel releases the lock when the process dies, however it dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    taken = False
    try:
        taken = _take(handle, patience) and _is_at(handle, path)
        yield taken
    finally:
        if remove and taken and os.name == "posix":  # else somebody may have taken it before it is removed
            path.unlink(missing_ok=True)
        os.close(handle)
        if remove and taken and os.name != "posix":  # Windows removes no open file, also not if it is somebody else's
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`: a lock on one that was removed keeps nobody out."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _take(handle: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        if lock_descriptor(handle, blocking=False):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock on `path` now."""
    try:
        handle = os.open(path, os.O_RDONLY)  # others' and read-only folders can be looked at
    except FileNotFoundError:
        return False
    try:
        return not _take(handle, LOOK_PATIENCE)
    finally:
        os.close(handle)


def safe_name(name: str) -> str:
    """A name from outside as one file name: no separators, no control characters, at most LONGEST_NAME bytes.

    Plain names stay as they are. A name that had to change ends in `~` and twelve digits of its hash, so that two
    different names never become one: no plain name holds a `~`.
    """
    plain = re.sub(r"[^\w .+=@()-]", "_", name).strip(" ")
    plain = "_" + plain[1:] if plain.startswith((".", "-")) else plain
    if plain == name and 0 < len(plain.encode()) <= LONGEST_NAME and not plain.endswith("."):
        return plain
    short = plain.encode()[: LONGEST_NAME - 1 - HASH_DIGITS].decode("utf-8", "ignore").rstrip(" .")
    return f"{short or '_'}~{_short_hash(name)}"


def safe_path(name: str) -> Path:
    """A relative path from outside as one that stays below the folder it is joined to.

    Parts that are not safe names are replaced by safe ones; a path that leaves ("..", a leading "/") goes to
    a folder of its own, `outside~` and its hash.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    safe = [safe_name(part) for part in parts if part != ".."] or [safe_name(name)]
    if leaves(name):  # two names that differ only in how they leave must not meet
        safe.insert(0, f"outside~{_short_hash(name)}")
    return Path(*safe)


def home_expanded(path: str | int) -> Path:
    """A path as somebody typed it, with `~` for their home; that of a user who is not there stays as it is."""
    return Path(os.path.expanduser(str(path)))  # noqa: PTH111 - Path's own raises for unknown users


def leaves(name: str) -> bool:
    """Whether a path from outside may leave the folder it is joined to."""
    return name.startswith("/") or ".." in name.split("/")


def _short_hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]


def shorten_temporary_folder() -> None:
    """Leave a $TMPDIR that is too long for the address of a socket: processes could not send each other anything."""
    if len(os.fsencode(tempfile.gettempdir())) <= LONGEST_TEMPORARY:
        return
    for folder in ("/tmp", "/var/tmp"):
        if os.access(folder, os.W_OK | os.X_OK):
            os.environ["TMPDIR"] = tempfile.tempdir = folder
            return


def forget_relative_folders() -> None:
    """Leave out $XDG_… that are no absolute paths, as their specification asks; libraries write warnings about them."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        value = os.environ.get(name)
        if value is not None and not home_expanded(value).is_absolute():
            del os.environ[name]


def cache(what: str) -> Path:
    """Where this program keeps what can be made again: $XDG_CACHE_HOME/late-temporal, by default under ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return home_expanded(root) / "late-temporal" / what


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
