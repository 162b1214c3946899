"""One video decoded to its end: what it really holds, how it is to be read, or why it cannot be used."""

import stat
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from src.data.decode import examine, open_video
from src.data.decord_reader import DecordReader
from src.data.inventory import Entry
from src.data.picture import RGB
from src.data.pixels import Frames
from src.data.scan import Progress, Scan, decoded, judge
from src.errors import ShortageError, UnreadableVideoError, is_shortage
from src.files import sha256

PICTURES = 32  # read from a frame folder at a time
COMPARED = 300  # frames up to which all of a video are compared
RUNS = 30  # of a longer one: keyframes after which some frames are
TOLERANCE = 2  # levels of 255: FFmpeg 4 (in decord) and later ones round single MPEG-4 pixels differently


def probe(task: tuple[str, str]) -> Entry:
    """The inventory's entry for (name, path), path being a video file or a frame folder.

    Never raises for what is wrong with the file: the entry says so.

    Raises:
        ShortageError: this process has too many files open.
    """
    name, path = task
    try:
        status = Path(path).stat()
        entry = _pictures(name, path) if stat.S_ISDIR(status.st_mode) else _video(name, path)
    except UnreadableVideoError as error:
        return bad_entry(name, path, error.reason)
    except OSError as error:
        if is_shortage(error):
            raise ShortageError(path) from error
        return bad_entry(name, path, error.strerror or str(error))
    return replace(entry, bytes=status.st_size, mtime=status.st_mtime_ns)


def bad_entry(name: str, path: str, reason: str) -> Entry:
    """The entry of a file that cannot be used."""
    try:
        status = Path(path).stat()
        size, modified = status.st_size, status.st_mtime_ns
    except OSError:
        size = modified = 0
    reason = " ".join(reason.split())
    return Entry(name, 0, None, None, None, bytes=size, mtime=modified, sha256=None, bad=reason, in_order=False)


def _video(name: str, path: str) -> Entry:
    """A plain file is decoded to its end here, beside training's reader; the others the scan has decoded."""
    known = examine(path)
    frames, bad, in_order = known.frames, known.bad, not known.plain
    if not in_order:
        progress, same = _compare(path, known)
        frames, bad = progress.frames, judge(path, known.promised, progress)
        in_order = progress.error is not None or frames != known.frames or not same
    if bad is None:
        with open_video(path, frames=frames, in_order=in_order) as reader:
            reader.frames([0])
    return Entry(
        name=name,
        frames=0 if bad else frames,
        size=known.size,
        fps=known.fps or None,
        codec=known.codec,
        bytes=0,
        mtime=0,
        sha256=sha256(Path(path)),
        bad=bad,
        in_order=in_order,
    )


def _compare(path: str, known: Scan) -> tuple[Progress, bool]:
    """Decode a file to its end in order; whether training's reader gives the same frames.

    Two readers take turns from keyframe to keyframe, so that each has to seek to each of its own.
    """
    progress, to_rgb, same = Progress(), RGB(known.size), True
    with DecordReader(path, known.frames, known) as even, DecordReader(path, known.frames, known) as odd:
        turns = sample(even.keyframes(), known.frames)
        for frame in decoded(path, progress):
            index = progress.frames - 1
            if same and index in turns:
                reader = (even, odd)[turns[index]]
                same = _alike(reader.frames([index])[0], to_rgb(frame)) and not reader.gave_up
        return progress, same and not even.gave_up


def sample(keyframes: list[int], count: int) -> dict[int, int]:
    """Frame → turn (0 or 1) of what is compared: all of a short video, else a sample after spread keyframes."""
    runs = list(pairwise([*keyframes, count]))
    if count <= COMPARED:
        return {i: turn % 2 for turn, (start, end) in enumerate(runs) for i in range(start, end)}
    turns: dict[int, int] = {}
    step = max(1, -(-len(runs) // RUNS))
    for turn, (start, end) in enumerate(runs[::step]):
        distance = 1
        while start + distance - 1 < end:  # close to the keyframe first, where seeking goes wrong
            turns[start + distance - 1] = turn % 2
            distance *= 2
    return turns


def _alike(a: Frames, b: Frames) -> bool:
    return a.shape == b.shape and int((np.maximum(a, b) - np.minimum(a, b)).max()) <= TOLERANCE


def _pictures(name: str, path: str) -> Entry:
    """A frame folder, RGB or flow: every picture is read."""
    only_flow = next(Path(path).glob("flow_x_*"), None) and not next(Path(path).glob("img_*"), None)
    with open_video(path, modality="flow" if only_flow else "rgb") as reader:
        count, size = len(reader), reader.size
        for start in range(0, count, PICTURES):
            reader.frames(range(start, min(count, start + PICTURES)))
    digest = sha256(*sorted(file for file in Path(path).iterdir() if file.is_file()))
    return Entry(name, count, size, None, "pictures", 0, 0, digest, bad=None, in_order=False)
