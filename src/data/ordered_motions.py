"""The embedded data set: short clips whose classes differ only in the order of two motions.

Why it exists. Temporal average pooling throws the order of the last feature map away; a head that reads its
tokens in order does not. This set shows exactly that difference, in minutes, on a CPU, with no download. Its
classes come in pairs made of the same two motions in opposite order (left then right, right then left; in one
pair the shape stands and its light changes). A textured shape comes in, makes the first motion and is gone; after
a pause it comes in again at a fresh random place and makes the second one. At least PAUSE frames between the
motions, and LEAD frames before and after them, show nothing but the noisy background: a network whose temporal
receptive field is shorter than PAUSE and at most LEAD + 1 frames (`model=tiny` has 5) never sees both motions at
once, nor a motion together with an end of the clip, whose zero padding would tell the place in time. Neither
place, nor size, nor the moment of change then tells the order. Every group holds twins: the same background,
shape and motions, once in each order, with fresh noise. What happens at each moment is therefore the same in both
classes of a pair, and average pooling can name the pair but only guess the order: it ends near 1/2 at best.

What it does not show. Nothing about real actions: shapes on still backgrounds have no scene, no camera motion and
no people, and real classes seldom hang on order alone, so the margin here says nothing about the margin there. A
network whose receptive field spans the clip (SlowFast, I3D, ResNeXt-101) can tell the order before any pooling,
and may average well here too. And a horizontal flip would turn "left" into "right": it must be off.
"""

import csv
import hashlib
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from filelock import lock_descriptor
from numpy.typing import NDArray

from src import files
from src.data.annotations import Lists, Video
from src.data.moving_shapes import CLASSES, FEWEST, PAIRS, twins
from src.errors import UserError

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
WORKERS = 2  # threads that draw and encode
VERSION = 2  # part of the folder's name: raise it when the pictures change


def lists(root: str | None, set_seed: int, train: int, val: int, test: int, frames: int, size: int) -> Lists:
    """The set with `train`, `val` and `test` clips of `frames` frames at `size` × `size` pixels.

    It is made on first use in `<root>/<hash of the arguments>`, root being `$XDG_CACHE_HOME/late-temporal/
    ordered_motions` where it is None, by WORKERS threads, and read from there afterwards. The same arguments
    give the same pictures on every machine. Raises UserError for numbers that give no balanced set and for a folder
    that cannot be written.
    """
    counts = dict(zip(SPLITS, (train, val, test), strict=True))
    for split, count in counts.items():
        if count < 1 or count % len(CLASSES):
            raise UserError(
                f"ordered_motions: {split}={count} clips over {len(CLASSES)} classes; take a multiple of {len(CLASSES)}"
            )
    if frames < FEWEST or size < 32 or size % 2:
        raise UserError(
            f"ordered_motions: frames={frames}, size={size}; it takes at least {FEWEST} "
            "frames and an even size from 32 pixels"
        )
    arguments = {"version": VERSION, "seed": set_seed, **counts, "frames": frames, "size": size}
    name = hashlib.sha256(json.dumps(arguments).encode()).hexdigest()[:16]
    parent = Path(root) if root is not None else cache_folder()
    folder = parent / name
    try:
        if not folder.is_dir():
            _make(folder, arguments, counts, set_seed, frames, size, WORKERS)
    except OSError as error:
        raise UserError(
            f"{folder}: the data set cannot be written ({error.strerror or error}); "
            "name another folder with data.root=DIR"
        ) from error
    return _read(folder)


def cache_folder() -> Path:
    """Where the set lives unless another folder is named."""
    return files.cache("ordered_motions")


# --- the folder: whole or not at all ---------------------------------------------------------------------------


def _make(
    folder: Path,
    arguments: dict[str, int],
    counts: dict[str, int],
    seed: int,
    frames: int,
    size: int,
    workers: int,
) -> None:
    """Writes everything beside its final place and renames it at the end, so that nobody meets half a set."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if folder.is_dir():  # another process made it while this one waited
            return
        files.remove_leftovers(folder.parent)
        log.info("making the embedded data set (%d clips) in %s", sum(counts.values()), folder)
        try:
            with files.filling(folder) as part:
                _write(part, counts, seed, frames, size, workers)
                (part / "arguments.json").write_text(json.dumps(arguments) + "\n")
        except OSError:
            if not folder.is_dir():  # else: without a lock, another process was faster with the same set
                raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for the lock, and hold it in the block; the file system may know none (the rename still holds)."""
    with path.open("w") as handle:
        with suppress(OSError):
            lock_descriptor(handle.fileno(), poll_interval=0.05)
        yield


def _write(folder: Path, counts: dict[str, int], seed: int, frames: int, size: int, workers: int) -> None:
    for name in CLASSES:
        (folder / name).mkdir()
    pool = ThreadPoolExecutor(workers)  # drawing and encoding both spend their time outside of the GIL
    try:
        for split_index, split in enumerate(SPLITS):
            groups = range(counts[split] // 2)
            rows = pool.map(
                lambda group, split=split, key=split_index: _write_twins(
                    folder, f"{split}_{group:04d}", group % len(PAIRS), [seed, key, group], frames, size
                ),
                groups,
            )
            with (folder / f"{split}.csv").open("w", newline="") as handle:
                writer = csv.writer(handle)
                writer.writerow(("path", "label", "group", "split"))
                for group, paths in zip(groups, rows, strict=True):
                    writer.writerows((*path, f"{split}_{group:04d}", split) for path in paths)
    finally:
        pool.shutdown(cancel_futures=True)  # a signal does not wait for the clips that are still to come


def _write_twins(folder: Path, group: str, pair: int, key: list[int], frames: int, size: int) -> list[tuple[str, str]]:
    """One group: (path inside the folder, class) of its two clips."""
    rows = []
    for name, clip in zip(CLASSES[2 * pair : 2 * pair + 2], twins(pair, key, frames, size), strict=True):
        path = f"{name}/{group}.mp4"
        encode(folder / path, clip)
        rows.append((path, name))
    return rows


def _read(folder: Path) -> Lists:
    sides: list[list[Video]] = []
    for split in SPLITS:
        with (folder / f"{split}.csv").open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        sides.append(
            [Video(str(folder / row["path"]), CLASSES.index(row["label"]), row["group"], row["path"]) for row in rows]
        )
    train, val, test = sides
    return Lists(list(CLASSES), train, val, test, str(folder), None, "ordered_motions", official=True)


def encode(path: Path, clip: NDArray[np.uint8]) -> None:
    """Write T,H,W,3 (H and W even) as lossless H.264.

    Lossless, because x264's decisions may depend on the processor, and with them what a lossy file shows. Decoding
    gives `to_yuv(clip)` whatever the encoder decided. Its fastest preset is also the fastest to decode.
    """
    options = {"qp": "0", "preset": "ultrafast", "bf": "0", "g": "8", "threads": "1"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options=options)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in to_yuv(clip):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        container.mux(stream.encode())


def to_yuv(clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB T,H,W,3 → planar YUV T,H·3/2,W with colour at half size (BT.601, 16..235), in integers.

    FFmpeg's own conversion rounds differently from processor to processor.
    """
    frames, height, width, _ = clip.shape
    red, green, blue = np.moveaxis(clip.astype(np.int32), 3, 0)
    y = ((66 * red + 129 * green + 25 * blue + 128) >> 8) + 16
    blocks = frames, height // 2, 2, width // 2, 2
    red, green, blue = (colour.reshape(blocks).sum(axis=(2, 4)) for colour in (red, green, blue))
    u = ((-38 * red - 74 * green + 112 * blue + 512) >> 10) + 128
    v = ((112 * red - 94 * green - 18 * blue + 512) >> 10) + 128
    planes = [plane.reshape(frames, -1) for plane in (y, u, v)]
    packed = np.concatenate(planes, axis=1).reshape(frames, height * 3 // 2, width)
    return packed.astype(np.uint8)
