"""Which frames make a clip: indices of a video's frames, for training, validation and testing.

Dense clips are frames at equal distances; a video that is shorter than such a clip starts over at its end. With a
target frame rate the distance follows from the video's own rate, and need not be whole: frames are then the last ones
before their time. Segments cut the whole video into as many parts as the clip has frames and take a frame of each
(Wang et al., Temporal Segment Networks, ECCV 2016).
"""

import numpy as np
import numpy.typing as npt

from src.config import ClipSpec

Indices = npt.NDArray[np.int64]
ROUNDING = 1e-6  # of a frame: 29.97 / 29.97 is 1


def training_clip(num_frames: int, fps: float, clip: ClipSpec, rng: np.random.Generator) -> Indices:
    """Frame indices [T] of a random clip of a video.

    Raises:
        ValueError: a target frame rate, and a video of unknown rate.
    """
    if clip.sampling == "segments":
        return random_segments(num_frames, clip.frames, rng)
    return random_clip(num_frames, clip.frames, stride(clip, fps), rng)


def validation_clip(num_frames: int, fps: float, clip: ClipSpec) -> Indices:
    """Frame indices [T] of the clip in the middle, or of the centres of all segments. Raises as `training_clip`."""
    if clip.sampling == "segments":
        centres: Indices = segments(num_frames, clip.frames)[0]
        return centres
    return centre_clip(num_frames, clip.frames, stride(clip, fps))


def testing_clips(num_frames: int, fps: float, clip: ClipSpec, limit: int | None = None) -> Indices:
    """Frame indices [V, T] of the clips that a video is tested on. Raises as `training_clip`.

    limit: dense clips at most this many, evenly spread; of segments so many interleaved clips. None: all dense clips,
        one of segments.
    """
    if clip.sampling == "segments":
        return segments(num_frames, clip.frames, limit or 1)
    return consecutive_clips(num_frames, clip.frames, stride(clip, fps), limit)


def stride(clip: ClipSpec, fps: float) -> float:
    """Frames of the video from one of the clip to the next.

    Raises:
        ValueError: there is a target frame rate, and the video's own is not known (0).
    """
    if clip.fps is None:
        return clip.stride
    if not fps > 0:
        raise ValueError("clips of a target frame rate need the rate of the video")
    return clip.stride * fps / clip.fps


def apart(num_frames: int, fps: float, clip: ClipSpec) -> float:
    """Frames of a video from one of a clip to the next: of segments, on average."""
    return num_frames / clip.frames if clip.sampling == "segments" else stride(clip, fps)


def random_segments(num_frames: int, length: int, rng: np.random.Generator) -> Indices:
    """Frame indices [T]: one uniformly random frame of each of T equal parts; a short video repeats frames."""
    first, size = _parts(num_frames, length)
    drawn: Indices = first + rng.integers(size)
    return drawn


def segments(num_frames: int, length: int, clips: int = 1) -> Indices:
    """Frame indices [V, T]: of each of T equal parts the centre, or `clips` evenly spread frames, one for each clip."""
    first, size = _parts(num_frames, length)
    return np.stack([first + size * (2 * i + 1) // (2 * clips) for i in range(clips)])


def _parts(num_frames: int, length: int) -> tuple[Indices, Indices]:
    """First frame and number of frames (1 or more) of each part of a video."""
    if num_frames < 1 or length < 1:
        raise ValueError(f"{length} segments of {num_frames} frames: both must be 1 or more")
    edges = np.arange(length + 1, dtype=np.int64) * num_frames // length
    return edges[:-1], np.maximum(1, np.diff(edges))


def _span(length: int, stride: float) -> int:
    """Frames from a clip's first to its last, both included."""
    return int((length - 1) * stride + ROUNDING) + 1


def _clip(start: int, num_frames: int, length: int, stride: float) -> Indices:
    if num_frames < 1 or length < 1 or not stride > 0:
        raise ValueError(f"clip of {length} frames, stride {stride}, from {num_frames}: all must be 1 or more")
    offsets: Indices = np.floor(stride * np.arange(length) + ROUNDING).astype(np.int64)
    indices: Indices = (start + offsets) % num_frames
    return indices


def random_clip(num_frames: int, length: int, stride: float, rng: np.random.Generator) -> Indices:
    """Frame indices [T] of a training clip: `length` frames, `stride` apart, from a uniformly random start.

    A clip that is longer than the video starts at its first frame and wraps around.
    """
    latest = max(0, num_frames - _span(length, stride))
    return _clip(int(rng.integers(latest + 1)), num_frames, length, stride)


def centre_clip(num_frames: int, length: int, stride: float) -> Indices:
    """Frame indices [T] of the clip in the middle of the video."""
    return _clip(max(0, num_frames - _span(length, stride)) // 2, num_frames, length, stride)


def consecutive_clips(num_frames: int, length: int, stride: float, limit: int | None = None) -> Indices:
    """Frame indices [V, T] of the non-overlapping clips that a video is cut into for testing.

    Clips follow one another from the first frame on. A rest that is shorter than a clip is dropped, as in the
    authors' release; a video that is shorter than one clip gives one clip that wraps around.

    Args:
        limit: take at most this many, evenly spread over the video (the middle one for 1); None takes all.
    """
    between = length * stride  # frames from one clip's first to the next one's
    number = int(max(0, num_frames - _span(length, stride)) / between + ROUNDING) + 1
    chosen = np.arange(number)
    if limit is not None and limit < number:
        if limit < 1:
            raise ValueError(f"{limit} clips a video: take 1 or more, or all")
        chosen = (2 * np.arange(limit) + 1) * number // (2 * limit)
    return np.stack([_clip(int(i * between + ROUNDING), num_frames, length, stride) for i in chosen])
