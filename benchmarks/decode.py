"""A 64-frame clip out of a video file, beside FFmpeg's bare decode and beside torchcodec with torchvision.

All ways take the same frames and the same crop of the same videos, in turn; what is timed is the processor's time of
all threads. `taskset -c 1 python -m benchmarks.decode` keeps it on one core. torchcodec is measured where it is
installed (it wants FFmpeg's shared libraries).
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
import torch
from benchmarks.report import machine, save, ucf101_clips
from src.config import ClipSpec
from src.data.annotations import Video
from src.data.dataset import Source, TestViews
from src.data.decode import DECODERS
from src.data.sampling import random_clip
from src.data.transforms import Crop, multi_scale_crop, native_window
from torchvision.transforms.v2 import functional

try:
    from torchcodec.decoders import VideoDecoder
except (ImportError, OSError, RuntimeError):
    VideoDecoder = None

SPECS = {112: ClipSpec(64, 1, 112, (170, 128), False), 224: ClipSpec(64, 1, 224, (340, 256), False)}
SCALES = (1.0, 0.875, 0.75, 0.66)
ROUNDS = 3
LONG = 60  # times 250 frames: ten minutes
TARGET_MS, TARGET_OF_BARE = {112: 14.0, 224: 24.0}, {112: 1.6}
TARGET_CROPS = TARGET_MIDDLE = 1.5


def bare(video: Path, indices: Any) -> None:
    """FFmpeg decodes to the last frame that is needed, nothing else."""
    with av.open(str(video)) as container:
        container.streams.video[0].thread_count = 1
        for number, _ in enumerate(container.decode(video=0)):
            if number == indices.max():
                return


def ours(video: Path, indices: Any, crop: Crop, spec: ClipSpec, decoder: str) -> torch.Tensor:
    """uint8 C, T, H, W; the network's device normalises it."""
    source = Source(spec, decoder=decoder)
    with source.open(listed(video)) as reader:
        return source.views(reader, indices, [crop])[0]


def torchcodec(video: Path, indices: Any, crop: Crop, spec: ClipSpec) -> torch.Tensor:
    """uint8 C, T, H, W. The seek mode is the faster one, which does not scan the file."""
    decoder = VideoDecoder(str(video), num_ffmpeg_threads=1, seek_mode="approximate")
    frames = decoder.get_frames_at(indices.tolist()).data  # T, C, H, W
    box = native_window(crop, spec.frame_size, (frames.shape[3], frames.shape[2]))
    cut = frames[..., box.top : box.bottom, box.left : box.right]
    clip = functional.resize(cut, [spec.crop, spec.crop], antialias=True)
    return (clip.flip(-1) if crop.flip else clip).transpose(0, 1).contiguous()  # T,C,H,W → C,T,H,W


def tested(video: Path, spec: ClipSpec, crops: int) -> None:
    """The first clip of a video in so many crops, to the batch."""
    for _ in TestViews([listed(video)], Source(spec), clips=1, crops=crops, view_batch=crops):
        pass


def listed(video: Path) -> Video:
    return Video(path=str(video), label=0, group=video.stem, name=video.name)


def timed(way: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Milliseconds of processor time, and what the way gives."""
    start = time.process_time()
    result = way(*arguments)
    return 1e3 * (time.process_time() - start), result


def write_long(source: Path, path: Path, distance: int) -> Path:
    """Ten minutes: 250 frames of a video in H.264 with x264's usual options, again and again."""
    part = path.with_suffix(".part.mp4")
    options = {"threads": "1", "x264-params": f"keyint={distance}:min-keyint={distance}:scenecut=0"}
    with av.open(str(source)) as read, av.open(str(part), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        frames = list(read.decode(video=0))
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        for i in range(250):
            frame = frames[i % len(frames)]
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path), "w") as container:
        for repeat in range(LONG):
            with av.open(str(part)) as read:
                if not repeat:
                    stream = container.add_stream_from_template(read.streams.video[0])
                for packet in read.demux(video=0):
                    if packet.size:
                        packet.pts += repeat * 250 * packet.duration
                        packet.dts += repeat * 250 * packet.duration
                        packet.stream = stream
                        container.mux(packet)
    return path


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    measured: dict[tuple[int, str], list[float]] = defaultdict(list)
    difference: dict[tuple[int, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        videos = ucf101_clips()
        long = {d: write_long(videos[0], Path(scratch, f"{d}.mp4"), d) for d in (12, 50, 250)}
        counts, scan_ms = {}, []
        for video in [*videos, *long.values()]:
            ms, reader = timed(Source(SPECS[112]).open, listed(video))
            counts[video] = len(reader)
            scan_ms.append(ms)
        for number in range(ROUNDS * len(videos)):
            video = videos[number % len(videos)]
            for crop, spec in SPECS.items():
                indices = random_clip(counts[video], 64, 1, rng)
                window = multi_scale_crop(spec.frame_size, crop, rng, SCALES, True)
                ways: list[tuple[str, tuple[Any, ...]]] = [("bare decode", (bare, video, indices))]
                ways += [(f"ours, {name}", (ours, video, indices, window, spec, name)) for name in DECODERS]
                if VideoDecoder is not None:
                    ways.append(("torchcodec", (torchcodec, video, indices, window, spec)))
                ways += [(f"{n} test crops", (tested, video, spec, n)) for n in (1, 10)]
                for distance, path in long.items():
                    for place, first in (("start", 0), ("middle", counts[path] // 2 + int(rng.integers(250)))):
                        there = first + np.arange(64)
                        ways.append((f"{place}, keyframes {distance}", (ours, path, there, window, spec, "pyav")))
                clips = {}
                for place in rng.permutation(len(ways)):
                    name, (way, *arguments) = ways[place]
                    ms, clips[name] = timed(way, *arguments)
                    measured[crop, name].append(ms)
                apart = (clips["ours, decord"].int() - clips["ours, pyav"].int()).abs().float().mean()
                difference[crop, "ours, decord"].append(float(apart))
    report(measured, difference, scan_ms, len(videos))


def report(
    measured: dict[tuple[int, str], list[float]],
    difference: dict[tuple[int, str], list[float]],
    scan_ms: list[float],
    videos: int,
) -> None:
    rows = []
    values: dict[str, Any] = {"machine": machine("torch", "torchvision", "decord2", "av"), "ms": {}}
    for (crop, name), times in measured.items():
        ms = {other: median(list_) for (size, other), list_ in measured.items() if size == crop}
        peer, target = "bare decode", f"≤ {TARGET_OF_BARE[crop]}" if crop in TARGET_OF_BARE else ""
        target = f"≤ {TARGET_MS[crop]:g} ms {target}".strip() if name == "ours, pyav" else ""
        if name == "10 test crops":
            peer, target = "1 test crops", f"< {TARGET_CROPS}"
        elif name.startswith("middle"):
            peer, target = name.replace("middle", "start"), f"≤ {TARGET_MIDDLE}"
        elif name.startswith(("1 test", "start")):
            peer = name
        apart = f"{np.mean(difference[crop, name]):.2f}" if (crop, name) in difference else ""
        rows.append([f"{crop}² {name}", f"{ms[name]:.1f}", f"{ms[name] / ms[peer]:.2f} of {peer}", target, apart])
        values["ms"][f"{crop} {name}"] = {"median": ms[name], "all": times}
    save(
        "decode",
        "A 64-frame clip out of a video file",
        ["way", "ms", "ratio", "target", "mean difference from ours, pyav (of 255)"],
        rows,
        values,
        f"Medians of {len(measured[112, 'bare decode'])} clips of {videos} UCF101 videos (320x240, MPEG-4), processor "
        "time, all ways in turn; test crops are of one clip, to the batch; start and middle are of ten minutes of "
        "H.264 with a keyframe every so many frames. Scanning a file, once a process, costs "
        f"{median(scan_ms[:videos]):.1f} ms more (of ten minutes {scan_ms[-1]:.0f}).",
    )


if __name__ == "__main__":
    main()
