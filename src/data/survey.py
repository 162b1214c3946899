"""All videos of a data folder through the worker processes: the inventory, and flow where it is wanted."""

import fcntl
import json
import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from src import files
from src.data import inventory
from src.data.flow import flow_path, flow_root
from src.data.inventory import Entry
from src.data.make_flow import FlowSpec, FlowTask, algorithm, make_flow
from src.data.probe import bad_entry, probe
from src.data.video_files import files_below, is_video
from src.data.workers import Failure, run_limited
from src.errors import UserError

LOCK = ".prepare.lock"
BAD_FILES = "bad_files.txt"
SPEC = "flow.json"


class Progress(Protocol):
    """What is told while videos are worked on."""

    def start(self, what: str, total: int, done: int) -> None: ...

    def advance(self, entry: Entry) -> None: ...


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that one prepare at a time works on it.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 200, 0).decode(errors="replace").strip()
            raise UserError(
                f"{folder} is being prepared already ({holder}); wait until that is done, or end it"
            ) from None
        with _writable(folder):
            os.ftruncate(file, 0)
            started = datetime.now().astimezone().isoformat(timespec="seconds")
            os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0)
        yield
    finally:
        os.close(file)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """The system's word on writing becomes one line with the mend."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror or error}). What is done is kept: make room or get the "
            "right to write and run the same command again; a tree that is read-only for good can be linked into "
            "a folder of your own with cp -rs"
        ) from error


def find_videos(root: Path) -> dict[str, str]:
    """Name → path of everything under `root` that is called like a video, links followed, each folder once.

    What is no regular file (a pipe, a link in a circle) is found too, to be named as bad; hidden names are not.
    """
    return {name: f"{root}/{name}" for name in files_below(root) if is_video(name)}


def take_stock(
    root: Path, videos: dict[str, str], workers: int, limit_s: float, retry_bad: bool, progress: Progress
) -> dict[str, Entry]:
    """Decode every video that the inventory in `root` does not know as it is now; write inventory and bad files.

    Args:
        videos: name → path.
        limit_s: seconds for one video.
        retry_bad: try unchanged files again that were bad.

    Raises:
        UserError: something cannot be written; what is done is kept.
    """
    with _writable(root), inventory.journal(root) as journal:
        known = journal.entries
        for name in set(known) - set(videos):  # gone from disk
            del known[name]
        older = {name for name, entry in known.items() if entry.in_order is None}  # and never compared
        todo = []
        for name, path in videos.items():
            if name in older or not _settled(known.get(name), path, retry_bad):
                todo.append((name, path))
        progress.start("decoding", len(videos), len(videos) - len(todo))
        for (name, path), result in run_limited(probe, todo, workers, limit_s):
            entry = bad_entry(name, path, result.reason) if isinstance(result, Failure) else result
            journal.add(entry)
            progress.advance(entry)
        bad = {name: entry.bad for name, entry in sorted(known.items()) if entry.bad}
        files.write_text(root / BAD_FILES, "".join(f"{printable(n)}\t{printable(r)}\n" for n, r in bad.items()))
    return known


def _settled(entry: Entry | None, path: str, retry_bad: bool) -> bool:
    """The inventory knows the file as it is now."""
    if entry is None or (entry.bad and retry_bad):
        return False
    try:
        return entry.describes(Path(path).stat())
    except OSError:
        return entry.bytes == 0 and bool(entry.bad)


def make_all_flow(
    root: Path,
    videos: dict[str, str],
    entries: dict[str, Entry],
    spec: FlowSpec,
    workers: int,
    limit_s: float,
    retry_bad: bool,
    progress: Progress,
) -> dict[str, Entry]:
    """Flow of every readable video beside `root`, with an inventory of its own; what is there is kept.

    Raises:
        UserError: flow made in another way is there, or it cannot be written; what is done is kept.
    """
    algorithm(spec)  # fails here rather than in every worker
    folder = flow_root(root, spec.method)
    good = {name: path for name, path in videos.items() if not entries[name].bad and Path(path).is_file()}
    _check_stems(good, spec)
    with _writable(folder):
        _same_spec(folder, spec)
        for left in folder.rglob(".*"):  # half-written, of a run that was cut off
            if left.is_file() and left.name != LOCK:
                left.unlink()
    with _writable(folder), inventory.journal(folder) as journal:
        known = journal.entries
        for name in set(known) - set(good):
            del known[name]

        def settled(name: str, path: str) -> bool:
            entry = known.get(name)
            there = entry is not None and (entry.bad or flow_path(root, name, spec.method, spec.form).exists())
            return bool(there) and _settled(entry, path, retry_bad)

        todo = [
            FlowTask(name, path, str(root), entries[name].frames, spec)
            for name, path in good.items()
            if not settled(name, path)
        ]
        progress.start("flow", len(good), len(good) - len(todo))
        for task, result in run_limited(make_flow, todo, workers, limit_s):
            entry = bad_entry(task.name, task.path, result.reason) if isinstance(result, Failure) else result
            journal.add(entry)
            progress.advance(entry)
    return known


def _check_stems(videos: Iterable[str], spec: FlowSpec) -> None:
    """Frame folders are called like the videos without their ending."""
    twice = [stem for stem, n in Counter(name.rpartition(".")[0] for name in videos).items() if n > 1]
    if spec.form == "frames" and twice:
        raise UserError(
            f"{len(twice)} videos differ in their ending only (the first is {twice[0]}), and flow.format=frames "
            "would mix them up; rename them, or take flow.format=video"
        )


def _same_spec(folder: Path, spec: FlowSpec) -> None:
    """Remember how the flow in `folder` is made; refuse to mix."""
    file = folder / SPEC
    wanted: dict[str, Any] = json.loads(json.dumps(asdict(spec)))
    if not file.is_file():
        files.write_json(file, wanted)
        return
    there = json.loads(file.read_text())
    differing = sorted(key for key in wanted if there.get(key) != wanted[key])
    if differing:
        raise UserError(
            f"{folder} holds flow made with other settings ({', '.join(differing)}: see {SPEC} there); remove the "
            "folder, keep the settings, or give flow.method=NAME for a folder of its own"
        )


def printable(text: str | None) -> str:
    """One line, whatever bytes a file name holds."""
    return (text or "").encode("utf-8", "backslashreplace").decode().replace("\n", "\\n").replace("\t", "\\t")
