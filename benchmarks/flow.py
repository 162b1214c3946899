"""Ways to make optical flow, and to store it, side by side on the same pairs of UCF101 frames.

Time is the processor's, on one core. End-point error is the mean distance to `tvl1`'s flow, in pixels; warp error
is the mean grey-level difference after the second frame is brought back along the flow.
"""

import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from benchmarks.report import machine, save, ucf101_clips
from src.build.compose import compose
from src.data.flow import open_flow, to_bytes
from src.data.make_flow import algorithm, gray_frames, write_frames, write_video
from src.prepare import flow_spec

METHODS = ("tvl1", "tvl1 flow.device=cpu", "tvl1_fast", "tvl1_fast flow.device=cpu", "dis")
PAIRS = 2  # a video, with every third video
FIELDS = 24  # of one video, for storing


def warp_error(first: Any, second: Any, flow: Any) -> float:
    """Mean difference of grey levels between `first` and `second` moved back along the flow."""
    y, x = np.mgrid[: first.shape[0], : first.shape[1]].astype(np.float32)
    back = cv2.remap(second, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return float(np.abs(back.astype(np.float32) - first).mean())


def making(videos: list[Path]) -> tuple[list[list[str]], dict[str, Any]]:
    """Milliseconds, end-point error and warp error of each way."""
    specs = {name: flow_spec(compose(["data.root=.", *f"flow={name}".split()], "prepare")) for name in METHODS}
    pairs = []
    for video in videos[::3]:
        frames = list(islice(gray_frames(str(video), 12 * PAIRS, specs["tvl1"].size), 12 * PAIRS))
        pairs += [(frames[i], frames[i + 1]) for i in range(0, 12 * PAIRS, 12)]
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    errors: dict[str, list[float]] = {name: [] for name in METHODS}
    warps: dict[str, list[float]] = {name: [] for name in (*METHODS, "none")}
    for first, second in pairs:
        paper = None
        for name in METHODS:
            compute = algorithm(specs[name])
            started = time.process_time()
            flow = next(iter(compute([first, second])))
            times[name].append(1e3 * (time.process_time() - started))
            paper = flow if paper is None else paper
            errors[name].append(float(np.linalg.norm(flow - paper, axis=-1).mean()))
            warps[name].append(warp_error(first, second, flow))
        warps["none"].append(warp_error(first, second, np.zeros((*first.shape, 2), np.float32)))
    rows, values = [], {}
    for name in METHODS:
        ms, error, warp = median(times[name]), float(np.mean(errors[name])), float(np.mean(warps[name]))
        values[name] = {"ms": ms, "end_point_error": error, "warp_error": warp, "pairs": len(pairs)}
        rows.append([f"flow={name}", f"{ms:.0f} ms a pair", f"{error:.3f} px from tvl1", f"warp error {warp:.2f}"])
    values["none"] = {"warp_error": float(np.mean(warps["none"]))}
    rows.append(["no motion", "", "", f"warp error {values['none']['warp_error']:.2f}"])
    return rows, values


def storing(videos: list[Path]) -> tuple[list[list[str]], dict[str, Any]]:
    """Size, error and time to read of each format."""
    compute = algorithm(flow_spec(compose(["data.root=.", "flow=tvl1_fast"], "prepare")))
    flows = []
    for video in videos[::6]:
        frames = list(gray_frames(str(video), FIELDS + 1, (340, 256)))
        flows.append(np.stack([to_bytes(flow) for flow in compute(frames)]))
    rows, values = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, crf in (("video, crf 0", 0), ("video, crf 12", 12), ("video, crf 18", 18), ("frames", None)):
            size, error, spent = 0, [], []
            for i, flow in enumerate(flows):
                path = Path(scratch, f"{i} {name}.mkv" if crf is not None else f"{i}")
                (write_frames if crf is None else write_video)(path, flow, crf or 0)
                size += sum(f.stat().st_size for f in ([path] if crf is not None else path.iterdir()))
                started = time.process_time()
                with open_flow(path) as reader:
                    read = reader.frames(range(FIELDS))
                spent.append(1e3 * (time.process_time() - started) / FIELDS)
                error.append(np.abs(read.astype(np.float32) - flow).mean())
            kilobytes, off, ms = size / len(flows) / FIELDS / 1e3, float(np.mean(error)), median(spent)
            values[name] = {"kB": kilobytes, "error_steps": off, "read_ms": ms}
            rows.append(
                [name, f"{ms:.1f} ms to read a field", f"off by {off:.2f} steps", f"{kilobytes:.1f} kB a field"]
            )
    return rows, values


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    videos = ucf101_clips()
    made, making_values = making(videos)
    stored, storing_values = storing(videos)
    values = {
        "machine": machine("opencv-contrib-python-headless", "av"),
        "making": making_values,
        "storing": storing_values,
    }
    save(
        "flow",
        "Optical flow: making it and storing it",
        ["what", "time", "error", "besides"],
        made + stored,
        values,
        "340x256 pixels, processor time on one core. A step is the distance of two bytes, 0.157 pixels.",
    )


if __name__ == "__main__":
    main()
