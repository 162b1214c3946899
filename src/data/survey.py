"""All videos of a data folder through the worker processes: the inventory, and flow where it is wanted."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from src import files
from src.data import inventory
from src.data.flow import SPEC, flow_path, flow_root
from src.data.inventory import Entry
from src.data.make_flow import FlowSpec, FlowTask, check_free, make_flow
from src.data.probe import bad_entry, probe
from src.data.video_files import files_below, is_video
from src.data.workers import MEMORY, Failure, run_limited
from src.errors import UserError
from src.text import first_line, printable

LOCK = ".prepare.lock"
BAD_FILES = "bad_files.txt"


class Progress(Protocol):
    """What is reported while videos are processed."""

    def start(self, what: str, total: int, done: int) -> None: ...

    def advance(self, entry: Entry) -> None: ...


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that one prepare at a time works on it.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    file = folder / LOCK
    with ExitStack() as stack:
        with _writable(folder):
            free = stack.enter_context(files.locked(file))
        if not free:
            holder = _holder(file)
            raise UserError(f"{folder} is being prepared already ({holder}); wait until that has ended, or end it")
        with _writable(folder):
            started = datetime.now().astimezone().isoformat(timespec="seconds")
            if os.name == "posix":
                file.write_text(f"process {os.getpid()} on {socket.gethostname()} since {started}\n")
        yield


def _holder(file: Path) -> str:
    try:
        return files.read_text(file).strip()
    except PermissionError:  # Windows lets nobody read a locked file
        return "another process"


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """An error of the file system becomes one line that says what to do."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror or error}). Finished work is kept: make room or get the "
            "permission to write and run the same command again; a folder that stays read-only can be linked into "
            "a folder of your own with cp -rs"
        ) from error


def find_videos(root: Path) -> dict[str, str]:
    """Name → path of everything under `root` that is called like a video, links followed, each folder once.

    What is not a regular file (a pipe, a link in a circle) is found too, to be named as bad; hidden names are not.
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
        with closing(run_limited(probe, todo, workers, limit_s)) as results:
            for (name, path), entry in results:
                if isinstance(entry, Failure):
                    entry = bad_entry(name, path, entry.reason)
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
    folder = flow_root(root, spec.method)
    good = {name: path for name, path in videos.items() if not entries[name].bad and Path(path).is_file()}
    good = _one_a_place(root, good, spec)
    with _writable(folder):
        _same_spec(folder, spec)
        files.remove_leftovers(folder)
    with _writable(folder), inventory.journal(folder) as journal:
        known = journal.entries
        for name in set(known) - set(good):
            del known[name]
        todo: list[FlowTask] = []
        for name, path in good.items():
            target = flow_path(root, name, spec.method, spec.form)
            entry = known.get(name)
            if entry is not None and (entry.bad or target.exists()) and _settled(entry, path, retry_bad):
                continue
            check_free(target)
            todo.append(FlowTask(name, path, str(root), entries[name].frames, spec))
        progress.start("flow", len(good), len(good) - len(todo))
        try:
            # PyTorch and CUDA map far more than they use.
            memory = MEMORY if spec.device is None else None
            with closing(run_limited(make_flow, todo, workers, limit_s, memory)) as results:
                for task, made in results:
                    if isinstance(made, Failure):
                        made = bad_entry(task.name, task.path, made.reason)
                    journal.add(made)
                    progress.advance(made)
        finally:
            files.remove_leftovers(folder)  # of workers that were ended
    return known


def _one_a_place(root: Path, videos: dict[str, str], spec: FlowSpec) -> dict[str, str]:
    """One name for each place where flow is written: a video may be known by several spellings of its path.

    Raises:
        UserError: the flow of different videos would be written to one place.
    """
    first: dict[Path, str] = {}
    for name, path in videos.items():
        other = first.setdefault(flow_path(root, name, spec.method, spec.form), name)
        if not Path(path).samefile(videos[other]):
            raise UserError(
                f"{printable(other)} and {printable(name)} would have their flow in one place"
                + (" with flow.format=frames, which leaves endings out" if spec.form == "frames" else "")
                + "; rename one of them"
                + (", or use flow.format=video" if spec.form == "frames" else "")
            )
    return {name: videos[name] for name in first.values()}


def _same_spec(folder: Path, spec: FlowSpec) -> None:
    """Remember how the flow in `folder` is made; refuse to mix."""
    file = folder / SPEC
    wanted: dict[str, Any] = json.loads(json.dumps(spec.record()))
    if not file.is_file():
        files.write_json(file, wanted)
        return
    try:
        there = json.loads(files.read_text(file))
        if not isinstance(there, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise UserError(f"{file} is damaged ({first_line(error)}); remove it to make all flow anew") from error
    differing = sorted(key for key in {*wanted, *there} if there.get(key) != wanted.get(key))
    if differing:
        raise UserError(
            f"{folder} holds flow made with other settings ({', '.join(differing)}: see {SPEC} there); remove the "
            "folder, keep its settings, or give flow.method=NAME for a separate folder"
        )
