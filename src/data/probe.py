"""One video decoded to its end: what it really holds, or why it cannot be used."""

import hashlib
import stat
from pathlib import Path
from typing import Any, NamedTuple

import av

from src.data.decode import TRUNCATED, open_video
from src.data.inventory import Entry
from src.errors import UnreadableVideoError

CHUNK = 1 << 20  # bytes hashed at a time
PICTURES = 32  # read from a frame folder at a time


class Found(NamedTuple):
    """What decoding tells."""

    frames: int
    size: tuple[int, int] | None = None
    fps: float | None = None
    codec: str | None = None
    bad: str | None = None


def probe(task: tuple[str, str]) -> Entry:
    """The inventory's entry for (name, path), path being a video file or a frame folder.

    Never raises for what is wrong with the file: that stands in the entry.
    """
    name, path = task
    try:
        status = Path(path).stat()
    except OSError as error:
        return bad_entry(name, path, error.strerror or str(error))
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return bad_entry(name, path, "it is not a regular file")
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        return bad_entry(name, path, "it is empty (0 bytes)")
    try:
        if stat.S_ISDIR(status.st_mode):
            found, digest = _pictures(path)
        else:
            digest = sha256([Path(path)])
            found = _decode(path)
            if found.bad is None:
                _try_reader(path, found.frames)
    except UnreadableVideoError as error:
        return bad_entry(name, path, error.reason)
    except OSError as error:
        return bad_entry(name, path, error.strerror or str(error))
    return Entry(
        name=name,
        frames=found.frames,
        size=found.size,
        fps=found.fps,
        codec=found.codec,
        bytes=status.st_size,
        mtime=status.st_mtime_ns,
        sha256=digest,
        bad=found.bad,
    )


def bad_entry(name: str, path: str, reason: str) -> Entry:
    """The entry of a file that cannot be used."""
    try:
        status = Path(path).stat()
        size, modified = status.st_size, status.st_mtime_ns
    except OSError:
        size = modified = 0
    reason = " ".join(reason.split())
    return Entry(name, 0, None, None, None, bytes=size, mtime=modified, sha256=None, bad=reason)


def _decode(path: str) -> Found:
    """Count the frames that come out, in order, until the end or the first error."""
    error: str | None = None
    frames = packets = 0
    try:
        with av.open(path) as container:
            if not container.streams.video:
                return Found(0, bad="it has no video stream")
            stream = container.streams.video[0]
            stream.thread_count = 1
            promised = stream.frames
            fps = float(stream.average_rate) if stream.average_rate else None
            codec = stream.codec_context.name
            size: tuple[int, int] | None = None
            try:
                for packet in container.demux(stream):
                    packets += bool(packet.size)
                    for frame in packet.decode():
                        size = size or _upright(frame)
                        frames += 1
            except (av.FFmpegError, ValueError, RuntimeError) as failure:
                error = _reason(failure)
    except (av.FFmpegError, ValueError, RuntimeError) as failure:
        return Found(0, bad=_reason(failure))
    if not frames:
        return Found(0, bad=error or "it holds no frame")
    expected = max(promised, packets if error else 0)
    if frames < TRUNCATED * expected:
        why = f"after {frames} frames: {error}" if error else f"{frames} of the {promised} frames promised"
        return Found(0, size, fps, codec, f"truncated or damaged: {why}")
    return Found(frames, size, fps, codec)


def _upright(frame: Any) -> tuple[int, int]:
    size: tuple[int, int] = (frame.width, frame.height)
    return size[::-1] if frame.rotation % 180 else size


def _try_reader(path: str, frames: int) -> None:
    """Training's reader gives the first, a middle and the last frame."""
    with open_video(path, frames=frames) as reader:
        for index in sorted({0, frames // 2, frames - 1}):
            reader.frames([index])


def _pictures(path: str) -> tuple[Found, str]:
    """A frame folder, RGB or flow: every picture is read."""
    modality = "flow" if next(Path(path).glob("flow_x_*"), None) and not next(Path(path).glob("img_*"), None) else "rgb"
    with open_video(path, modality=modality) as reader:
        for start in range(0, len(reader), PICTURES):
            reader.frames(range(start, min(len(reader), start + PICTURES)))
        found = Found(len(reader), reader.size, None, "pictures")
    return found, sha256(sorted(file for file in Path(path).iterdir() if file.is_file()))


def sha256(files: list[Path]) -> str:
    """SHA-256 of the files one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(CHUNK):
                digest.update(block)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[-1][:160] if text else type(error).__name__
