"""Which frames make a clip: integers in, integers out. A video shorter than a clip starts over at its end."""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def _span(length: int, stride: int) -> int:
    """Frames from a clip's first to its last, both included."""
    return (length - 1) * stride + 1


def _clip(start: int, num_frames: int, length: int, stride: int) -> Indices:
    if num_frames < 1 or length < 1 or stride < 1:
        raise ValueError(f"clip of {length} frames, stride {stride}, from {num_frames}: all must be 1 or more")
    return (start + stride * np.arange(length, dtype=np.int64)) % num_frames


def random_clip(num_frames: int, length: int, stride: int, rng: np.random.Generator) -> Indices:
    """Frame indices [T] of a training clip: `length` frames, `stride` apart, from a uniformly random start.

    A clip that is longer than the video starts at its first frame and wraps around.
    """
    latest = max(0, num_frames - _span(length, stride))
    return _clip(int(rng.integers(latest + 1)), num_frames, length, stride)


def centre_clip(num_frames: int, length: int, stride: int) -> Indices:
    """Frame indices [T] of the clip in the middle of the video."""
    return _clip(max(0, num_frames - _span(length, stride)) // 2, num_frames, length, stride)


def consecutive_clips(num_frames: int, length: int, stride: int, limit: int | None = None) -> Indices:
    """Frame indices [V, T] of the non-overlapping clips that a video is cut into for testing.

    Clips follow one another from the first frame on. A rest that is shorter than a clip is dropped, as in the
    authors' release; a video that is shorter than one clip gives one clip that wraps around.

    Args:
        limit: take at most this many, evenly spread over the video (the middle one for 1); None takes all.
    """
    number = max(0, num_frames - _span(length, stride)) // (length * stride) + 1
    chosen = np.arange(number)
    if limit is not None and limit < number:
        if limit < 1:
            raise ValueError(f"{limit} clips a video: take 1 or more, or all")
        chosen = (2 * np.arange(limit) + 1) * number // (2 * limit)
    return np.stack([_clip(int(i) * length * stride, num_frames, length, stride) for i in chosen])
