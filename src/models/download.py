"""Published weights: out of the cache, or from their public address into it."""

import os
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from src.errors import UserError
from src.models.pickles import sha256 as digest_of

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without an answer


def obtain(weights: Mapping[str, Any]) -> Path | None:
    """The checkpoint file that a `weights` configuration names; downloads it on first use. None for kind=null.

    weights: `kind`, and with kind=file `path`, with kind=published `source`: `file` (name in the cache), `url` and
        `sha256` (or its start) where there are any, `how` to get the file by hand. source=null means that nobody
        published weights.

    Raises:
        UserError: no such file, or it can't be had; says where to get it and where to put it.
    """
    kind = weights["kind"]
    if kind is None:
        return None
    if kind == "file":
        path = Path(weights["path"]).expanduser()
        if not path.is_file():
            raise UserError(f"weights.path={path}: there is no such file")
        return path
    if kind != "published":
        raise UserError(f"weights.kind={kind} does not exist; published, file and null do")
    if weights["source"] is None:
        raise UserError("there are no published weights for this model and modality; use weights=none or file")
    return published(**weights["source"])


def cache() -> Path:
    """$XDG_CACHE_HOME/late-temporal/weights, by default under ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "late-temporal" / "weights"


def published(
    file: str, url: str | None = None, sha256: str | None = None, how: str = "", folder: Path | None = None
) -> Path:
    """The path of `file` in the cache, where it is put first if it is not there and has an address.

    Args:
        sha256: hexadecimal, or the start of it; None where nobody published one.
        how: the way to get the file by hand, for the error message.
        folder: instead of the cache.

    Raises:
        UserError: the file can't be had, or its SHA-256 is another.
    """
    path = (folder or cache()) / file
    by_hand = f"get it by hand ({how or url}) and put it at {path}, or give its place with weights=file weights.path=…"
    if path.is_file():
        _verify(path, sha256, f"{path}: not the published file")
        return path
    if url is None:
        raise UserError(f"{file} can't be downloaded without you: {by_hand}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{file}.part")
    try:
        _fetch(url, part)
    except HTTPError as error:
        raise UserError(f"{file}: {url} answers {error.code} {error.reason}; {by_hand}") from error
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"{file}: {url} can't be reached ({reason}); try again to resume, or {by_hand}") from error
    try:
        _verify(part, sha256, f"{file}: {url} gave another file")
    except UserError:
        part.unlink()
        raise
    part.replace(path)
    return path


def _verify(path: Path, sha256: str | None, complaint: str) -> None:
    if not sha256:
        return
    with path.open("rb") as stream:
        found = digest_of(stream)
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
        resumed = answer.status == 206
        if not resumed:
            have = 0
        rest = answer.headers.get("Content-Length")
        total = have + int(rest) if rest else None
        with part.open("ab" if resumed else "wb") as out:
            _copy(answer, out, part.name.removesuffix(".part"), have, total)
    if total is not None and part.stat().st_size != total:
        raise OSError(f"the connection broke after {part.stat().st_size} of {total} bytes")


def _copy(answer: HTTPResponse, out: Any, name: str, have: int, total: int | None) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(name, total=total, completed=have)
        while chunk := answer.read(CHUNK):
            out.write(chunk)
            progress.advance(task, len(chunk))
