"""A 64-frame training clip: from the video file, against the authors' way through one JPEG a frame.

Both take the same frames and the same crop of the same videos, in turn, on one core; what is timed is the
processor's time of all threads, which other load on the machine does not change much.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2
import numpy as np
import torch
from benchmarks.report import machine, save, ucf101_clips
from src.config import ClipSpec
from src.data.decode import open_video
from src.data.sampling import random_clip
from src.data.transforms import Crop, cut, multi_scale_crop, virtual_size

SPECS = {112: ClipSpec(64, 1, 112, (170, 128)), 224: ClipSpec(64, 1, 224, (340, 256))}
TARGET = {112: 1 / 3, 224: 1 / 4}
ROUNDS = 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Times = dict[str, float]


class Watch:
    """Milliseconds of processor time between calls."""

    def __init__(self) -> None:
        self.times: Times = {}
        self._last = time.process_time()

    def __call__(self, stage: str) -> None:
        now = time.process_time()
        self.times[stage], self._last = 1e3 * (now - self._last), now


def ours(video: Path, indices: Any, crop: Crop, spec: ClipSpec) -> tuple[Any, Times]:
    """uint8 C,T,H,W; the network's device normalises it."""
    watch = Watch()
    with open_video(str(video)) as reader:
        frames = reader.frames(indices.tolist())
        size = reader.size
    watch("decode")
    clip = cut(frames, crop, virtual_size(size, spec), spec.crop)
    watch("crop and resize")
    return clip, watch.times


def authors(folder: Path, indices: Any, crop: Crop, spec: ClipSpec) -> tuple[Any, Times]:
    """As the release does: read and resize each picture, crop and resize each into float64, normalise in float."""
    watch = Watch()
    pictures = [cv2.imread(str(folder / f"img_{i + 1:05d}.jpg"), cv2.IMREAD_COLOR)[:, :, ::-1] for i in indices]
    watch("decode")
    pictures = [cv2.resize(picture, spec.frame_size, interpolation=cv2.INTER_LINEAR) for picture in pictures]
    clip = np.concatenate(pictures, axis=2)  # H,W,T·C
    watch("resize")
    window = clip[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    scaled = np.zeros((spec.crop, spec.crop, clip.shape[2]))
    for t in range(0, clip.shape[2], 3):
        scaled[:, :, t : t + 3] = cv2.resize(window[:, :, t : t + 3], (spec.crop, spec.crop))
    if crop.flip:
        scaled = np.fliplr(scaled)
    watch("crop and resize")
    tensor = torch.from_numpy(scaled.copy().transpose(2, 0, 1)).float().div(255)  # T·C,H,W
    for channel, plane in enumerate(tensor):
        plane.sub_(MEAN[channel % 3]).div_(STD[channel % 3])
    tensor = tensor.view(-1, 3, spec.crop, spec.crop).transpose(0, 1)  # T·C,H,W → T,C,H,W → C,T,H,W
    watch("normalise")
    return tensor, watch.times


def write_jpegs(video: Path, folder: Path) -> int:
    """One picture a frame at the video's own size, quality 95; the number of frames."""
    folder.mkdir(parents=True)
    count = 0
    with av.open(str(video)) as container:
        for count, frame in enumerate(container.decode(video=0), 1):
            cv2.imwrite(str(folder / f"img_{count:05d}.jpg"), frame.to_ndarray(format="bgr24"))
    return count


def spent(times: Times, stage: str) -> float:
    """Milliseconds of a stage, or of several."""
    if stage.startswith("all"):
        return sum(ms for name, ms in times.items() if stage == "all" or name != "normalise")
    return times.get(stage, 0.0)


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    measured: dict[tuple[int, str], list[Times]] = defaultdict(list)
    difference: dict[int, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        videos = ucf101_clips()
        counts = {video: write_jpegs(video, Path(scratch, video.stem)) for video in videos}
        started = time.process_time()
        for video in videos:
            open_video(str(video)).__exit__()  # packets are scanned once a process and video
        scan = 1e3 * (time.process_time() - started) / len(videos)
        for _ in range(ROUNDS):
            for video in videos:
                indices = random_clip(counts[video], 64, 1, rng)
                for crop, spec in SPECS.items():
                    window = multi_scale_crop(spec.frame_size, crop, rng)
                    ways: list[tuple[str, Callable[..., tuple[Any, Times]], Path]] = [
                        ("ours", ours, video),
                        ("authors", authors, Path(scratch, video.stem)),
                    ]
                    clips = {}
                    for name, way, source in ways if rng.random() < 0.5 else ways[::-1]:
                        clips[name], times = way(source, indices, window, spec)
                        measured[crop, name].append(times)
                    back = clips["authors"] * torch.tensor(STD).view(3, 1, 1, 1) + torch.tensor(MEAN).view(3, 1, 1, 1)
                    difference[crop].append(float((back * 255 - clips["ours"].float()).abs().mean()))
    rows, values = [], {"machine": machine("torch", "torchvision", "decord", "av"), "scan_ms": scan, "crops": {}}
    for crop in SPECS:
        stages = {}
        for stage in ("decode", "resize", "crop and resize", "normalise", "all but normalise", "all"):
            pair = {}
            for name in ("authors", "ours"):
                pair[name] = median(spent(times, stage) for times in measured[crop, name])
            stages[stage] = pair
            ratio = f"{pair['ours'] / pair['authors']:.2f}" if pair["authors"] and pair["ours"] else ""
            shown = [f"{pair[name]:.1f}" if pair[name] else "-" for name in ("authors", "ours")]
            rows.append([f"{crop}² {stage}", *shown, ratio, f"{TARGET[crop]:.2f}" if stage == "all" else ""])
        ratio = stages["all"]["ours"] / stages["all"]["authors"]
        values["crops"][crop] = {
            "stages": stages,
            "ratio": ratio,
            "target": TARGET[crop],
            "met": ratio <= TARGET[crop],
            "mean_difference_of_255": float(np.mean(difference[crop])),
        }
    save(
        "decode",
        "A 64-frame training clip: video file against JPEG folders",
        ["crop and stage", "authors' way, ms", "ours, ms", "ratio", "target"],
        rows,
        values,
        f"Medians of {len(measured[112, 'ours'])} clips of {len(videos)} UCF101 videos, processor time, both ways "
        "in turn. Ours ends in uint8 (the device normalises). "
        f"Scanning a video, once a process, costs {scan:.1f} ms more.",
    )


if __name__ == "__main__":
    main()
