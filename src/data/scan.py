"""What a video file holds, judged from its packets in milliseconds: how many frames, and how they are to be read.

The truth about a file is what a decode of its best video stream gives in order (`decoded`). A file is plain if
everything in it says that seeking gives the same; everything else is decoded in order.
"""

from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from statistics import median_low
from typing import Any, NamedTuple

import av
from av.stream import Disposition

from src.data import bitstream
from src.data.container import TRUNCATED, truncation
from src.data.h264 import Numbering
from src.data.orientation import AS_DECODED, orientation
from src.errors import UnreadableVideoError
from src.text import first_line

SEEKABLE = ("avi", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")  # containers in which decord finds its way
EIGHT_BITS = ("yuv420p", "yuvj420p")  # other pixels become other RGB in decord
OTHER_COLOURS = (0, 8)  # RGB and YCgCo, which decord takes for YUV
CONCEALED = ("hevc", "vp8", "vp9")  # whose decoders make up what is lost; H.264 numbers its pictures
GAP = 1.5  # times the usual distance between frames, from which on one may have been lost
PLACEHOLDER = 8  # bytes; MPEG-4 packets up to this size stand for a frame that is elsewhere or was dropped
DECODER_ERRORS = (av.FFmpegError, OSError, IndexError, RuntimeError, ValueError)

av.logging.set_level(av.logging.PANIC)


class Keyframes(NamedTuple):
    """Where decoding may begin in a plain file; compact, because scans are remembered. In other files: nowhere."""

    places: Sequence[int]  # ascending: numbers of the frames
    times: Sequence[int]  # of their packets, in the stream's own unit

    def before(self, index: int) -> int:
        """The last one that is not behind a frame: its place here, or -1."""
        return bisect_right(self.places, index) - 1


class Scan(NamedTuple):
    """What the packets tell; where they do not tell the number of frames, what decoding tells."""

    frames: int
    size: tuple[int, int]  # width, height of the first frame, upright
    fps: float  # 0 if the file does not say
    codec: str
    plain: bool  # one packet a frame, and every keyframe is a clean point to start from
    keyframes: Keyframes
    promised: int  # frames by the header, 0 if it does not say
    bad: str | None  # why no clip should be taken from it


@dataclass
class Progress:
    """How far a decode has come.

    frames: number of the next frame.
    """

    frames: int = 0
    packets: int = 0
    error: str | None = None


@contextmanager
def open_stream(path: str) -> Iterator[tuple[Any, Any]]:
    """(container, its best video stream), decoding on one thread (workers are the parallelism).

    Raises:
        UnreadableVideoError: there is no video stream.
    """
    with av.open("file:" + path) as container:
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]  # cover art
        best: Any = container.streams.best("video")
        stream = best if best in streams else next(iter(streams), None)
        if stream is None:
            raise UnreadableVideoError(path, "it has no video stream")
        stream.thread_count = 1
        yield container, stream


def decoded(path: str, progress: Progress) -> Generator[Any, None, None]:
    """Every frame in order, until the end or the first error, which `progress` keeps."""
    with open_stream(path) as (container, stream):
        yield from _frames(container.demux(stream), progress)


def decoded_from(path: str, place: int, time: int, progress: Progress) -> Generator[Any, None, None]:
    """The same from the keyframe with this place and time on; from the first frame if the container misses it."""
    with open_stream(path) as (container, stream):
        packets = _sought(container, stream, time)
        if packets is not None:
            progress.frames = place
            yield from _frames(packets, progress)
            return
    yield from decoded(path, progress)


def _sought(container: Any, stream: Any, time: int) -> Iterator[Any] | None:
    """The packets from the one of this time on, or None."""
    try:
        container.seek(time, stream=stream)
        packets = container.demux(stream)
        first = next(packets)
    except DECODER_ERRORS:
        return None
    return chain([first], packets) if first.pts == time else None


def _frames(packets: Iterator[Any], progress: Progress) -> Generator[Any, None, None]:
    try:
        for packet in packets:
            progress.packets += bool(packet.size)
            for frame in packet.decode():
                progress.frames += 1
                yield frame
    except DECODER_ERRORS as error:
        progress.error = first_line(error)
        progress.packets += sum(1 for packet in _until_error(packets) if packet.size)


def _until_error(packets: Iterator[Any]) -> Iterator[Any]:
    with suppress(*DECODER_ERRORS):
        yield from packets


def judge(path: str, promised: int, progress: Progress) -> str | None:
    """Why a file that was decoded so far is not to be used, or None.

    Args:
        promised: frames by the header, 0 if it does not say. Alone it condemns nothing: edit lists and dropped
            frames leave less of a stream than that.
    """
    done, error = progress.frames, progress.error
    if error and done < TRUNCATED * max(promised, progress.packets):
        return truncation(path) or (f"damaged after {done} frames: {error}" if done else error)
    if not done:
        return "it holds no frame"
    return None if progress.packets >= TRUNCATED * promised > 0 else truncation(path)


@lru_cache(maxsize=100_000)
def scan(path: str, modified: int, bytes_: int) -> Scan:
    """Read a file's packets; decode to its end only where they do not tell how many frames there are.

    Args:
        modified, bytes_: the state of the file that the result, remembered in this process, is true of.

    Raises:
        UnreadableVideoError: there is no video stream.
        One of DECODER_ERRORS: the file cannot be opened.
    """
    with open_stream(path) as (container, stream):
        codec, promised, fps = stream.codec_context, stream.frames, float(stream.average_rate or 0)
        name = container.format.name
        seekable = name in SEEKABLE and codec.name in bitstream.CODECS and len(container.streams.video) == 1
        packets = _Packets(codec)
        for packet in _until_error(container.demux(stream)):
            if packet.size:
                packets.add(packet)
        expected = promised if promised or name.startswith("mov") else packets.number  # fragments promise 0
        plain = seekable and packets.number == expected and packets.plain()
        codec_name = codec.codec.canonical_name
    progress = Progress()
    frames = decoded(path, progress)
    first = next(frames, None)
    size = (0, 0) if first is None else upright(first)
    plain = plain and first is not None and _is_common(first)
    if plain:
        frames.close()
        progress = Progress(packets.number, packets.number)
    else:
        for _ in frames:
            pass
    bad = judge(path, promised, progress)
    return Scan(progress.frames, size, fps, codec_name, plain, packets.keyframes(plain), promised, bad)


def upright(frame: Any) -> tuple[int, int]:
    """Width and height of a frame as players show it."""
    return orientation(frame).size(frame.width, frame.height)


def _is_common(frame: Any) -> bool:
    """Pixels that decord turns into the same RGB: of odd sides, it reads the last row of colour wrong."""
    plain = frame.format.name in EIGHT_BITS and not frame.interlaced_frame and frame.colorspace not in OTHER_COLOURS
    return plain and not frame.width % 2 and not frame.height % 2 and orientation(frame) == AS_DECODED


class _Packets:
    """What the packets of a stream tell of it, taken one after the other."""

    def __init__(self, codec: Any) -> None:
        self.number = 0
        self._keyframes: list[int] = []
        self._codec, self._length = codec, bitstream.length_bytes(codec.name, codec.extradata)
        self._numbering = Numbering(codec.extradata, self._length) if codec.name == "h264" else None
        self._times: list[int | None] = []
        self._is_shown_when_decoded = True
        self._newest: int | None = None  # time of the last keyframe
        self._set_up: bytes | None = None  # what the first keyframe states
        self._in_step = True

    def add(self, packet: Any) -> None:
        """Look at the next packet."""
        self._in_step = self._in_step and self._is_one_frame(packet) and self._continues(packet)
        if packet.is_keyframe:
            self._keyframes.append(self.number)
        self._times.append(packet.pts)
        self._is_shown_when_decoded = self._is_shown_when_decoded and packet.pts == packet.dts
        self.number += 1

    def plain(self) -> bool:
        """Every packet is one frame, known by its time, and seeking gives the frames of a decode in order."""
        if not self.number or not self._in_step or len(set(self._times)) < self.number:
            return False
        times = [time for time in self._times if time is not None]
        if times == sorted(times) and (self._codec.has_b_frames or not self._is_shown_when_decoded):
            return False  # such times say the order of decoding (H.264 in AVI)
        return self._codec.name not in CONCEALED or not _has_gap(times)

    def keyframes(self, plain: bool) -> Keyframes:
        """Where decoding may begin."""
        places = self._keyframes if plain else []
        return Keyframes(array("q", places), array("q", [self._times[place] or 0 for place in places]))

    def _is_one_frame(self, packet: Any) -> bool:
        if packet.pts is None or packet.is_discard or packet.is_corrupt or packet.size < PLACEHOLDER:
            return False
        if self._numbering is not None and not self._numbering.follows(bytes(packet)):
            return False
        return bitstream.is_shown(self._codec.name, memoryview(packet))

    def _continues(self, packet: Any) -> bool:
        """Decoding may begin at every keyframe: nothing is shown before it that comes later, no set-up changes."""
        if self._newest is not None and packet.pts < self._newest:
            return False
        if not packet.is_keyframe:
            return self._newest is not None
        stated = bitstream.keyframe(self._codec.name, bytes(packet), self._length)
        if stated is None or packet.has_sidedata("new_extradata"):
            return False
        if self._set_up is None:
            self._set_up = stated
        self._newest = packet.pts
        return stated in (b"", self._set_up)


def _has_gap(times: list[int]) -> bool:
    """Frames may have been lost between two others."""
    distances = [later - earlier for earlier, later in pairwise(sorted(times))]
    return bool(distances) and max(distances) > GAP * median_low(distances)
