"""TV-L1 flow of the same frames with OpenCV and PyTorch on one core, pair by pair in turn, and with PyTorch on a GPU.

Frames are those of UCF101 where LATE_SAMPLE_CLIPS names its folder, else pictures that move. Warp error is the mean
grey-level difference after the second frame is brought back along the flow. Needs PyTorch, NumPy and OpenCV alone, and
says what it could not run.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import yaml
from benchmarks.report import machine, save, ucf101_clips
from src.config import CONF
from src.data.tvl1 import How, settings_of, tvl1

SIZE = (320, 240)  # width, height
PAIRS = 6  # different ones
WAYS = {  # on a GPU: how, and pairs together
    "eager": (How(look=10), (8, 32, 128, 256)),
    "compiled": (How(look=10, compiled=True), (128, 256)),
    "CUDA graphs": (How(look=10, graphed=True), (128,)),
}
Gray = npt.NDArray[np.uint8]
Flow = npt.NDArray[np.float32]  # N, H, W, 2


def pairs() -> tuple[list[tuple[Gray, Gray]], str]:
    """Pairs of following frames, and what they are of."""
    if not os.environ.get("LATE_SAMPLE_CLIPS"):
        return [moving_pictures(seed) for seed in range(PAIRS)], "a turning disk before a moving ground, with noise"
    from src.data.make_flow import gray_frames

    clips = ucf101_clips()
    chosen = clips[:: max(1, len(clips) // PAIRS)][:PAIRS]
    frames = [list(islice(gray_frames(str(clip), 12, SIZE), 10, 12)) for clip in chosen]
    return [(first, second) for first, second in frames], "UCF101"


def moving_pictures(seed: int) -> tuple[Gray, Gray]:
    """Two frames of a textured disk that turns and moves before a ground that moves another way, with noise."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    near, far = (texture(rng, blur) for blur in (2.5, 5.0))
    drift, speed, turn = rng.uniform(-2, 2, 2), rng.uniform(-6, 6, 2), rng.uniform(-0.06, 0.06)
    frames = []
    for t in range(2):
        y, x = np.mgrid[:height, :width].astype(np.float32)
        x_near, y_near = x - width / 2 - speed[0] * t, y - height / 2 - speed[1] * t
        cos, sin = np.cos(turn * t), np.sin(turn * t)
        disk = sample(near, cos * x_near - sin * y_near + width / 2, sin * x_near + cos * y_near + height / 2)
        ground = sample(far, x + drift[0] * t, y + drift[1] * t)
        frame = np.where(np.hypot(x_near, y_near) < height / 4, disk, ground) + rng.normal(0, 2, (height, width))
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames[0], frames[1]


def texture(rng: np.random.Generator, blur: float) -> npt.NDArray[np.float32]:
    """Blurred noise, H, W, that fills the range of grey levels."""
    noise = rng.uniform(0, 1, (SIZE[1], SIZE[0])).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), blur, borderType=cv2.BORDER_REFLECT)
    return (blurred - blurred.min()) / (blurred.max() - blurred.min()) * 215 + 20


def sample(picture: Any, x: Any, y: Any) -> Any:
    return cv2.remap(picture, np.float32(x), np.float32(y), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def warp_error(frames: list[tuple[Gray, Gray]], flow: Flow) -> float:
    """Mean difference of grey levels between the first frames and the second moved back along the flow."""
    y, x = np.mgrid[: flow.shape[1], : flow.shape[2]].astype(np.float32)
    errors = []
    for (first, second), motion in zip(frames, flow, strict=True):
        back = cv2.remap(
            second, x + motion[..., 0], y + motion[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        errors.append(np.abs(back.astype(np.float32) - first).mean())
    return float(np.mean(errors))


Way = Callable[[Sequence[tuple[Gray, Gray]]], Flow]


def opencv(settings: dict[str, Any]) -> Way:
    """OpenCV's flow of pairs, one by one."""
    optflow: Any = cv2.optflow
    made = optflow.DualTVL1OpticalFlow_create(**settings)
    return lambda chunk: np.stack([np.asarray(made.calc(first, second, None), np.float32) for first, second in chunk])


def pytorch(settings: dict[str, Any], device: str, how: How) -> Way:
    """PyTorch's flow of pairs together, copies to and from the device included."""
    chosen = settings_of(settings)

    def make(chunk: Sequence[tuple[Gray, Gray]]) -> Flow:
        first, second = (torch.from_numpy(np.stack(side)).to(device) for side in zip(*chunk, strict=True))
        return tvl1(first, second, chosen, how).permute(0, 2, 3, 1).cpu().numpy()

    return make


def in_turn(ways: dict[str, Way], frames: list[tuple[Gray, Gray]]) -> dict[str, tuple[Flow, list[float]]]:
    """Flow N, H, W, 2 and the seconds of each pair, by way; every pair goes all ways before the next."""
    taken: dict[str, list[tuple[Flow, float]]] = {name: [] for name in ways}
    for number, pair in enumerate(frames):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            taken[name].append(timed(partial(ways[name], [pair])))
    return {
        name: (np.concatenate([flow for flow, _ in results]), [seconds for _, seconds in results])
        for name, results in taken.items()
    }


def in_batches(way: Way, frames: list[tuple[Gray, Gray]], batch: int) -> tuple[Flow, list[float]]:
    """Flow N, H, W, 2, and seconds a pair of each batch; the pairs are repeated until they fill it."""

    def chunk(start: int) -> list[tuple[Gray, Gray]]:
        return [frames[(start + i) % len(frames)] for i in range(batch)]

    way(chunk(0))  # compiles, and takes its memory
    starts = range(0, max(len(frames), 3 * batch), batch)
    results = [timed(partial(way, chunk(start))) for start in starts]
    flow = np.concatenate([flow for flow, _ in results])[: len(frames)]
    return flow, [seconds / batch for _, seconds in results]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work gives, and the seconds that it takes."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


class Table:
    """Rows of one preset; speeds and differences are against the first of them."""

    def __init__(self, preset: str, frames: list[tuple[Gray, Gray]]) -> None:
        self.preset, self.frames = preset, frames
        self.rows: list[list[str]] = []
        self.values: dict[str, Any] = {}
        self.first: tuple[str, Flow, float] | None = None

    def add(self, name: str, flow: Flow, seconds: list[float]) -> None:
        rate = 1 / statistics.median(seconds)
        if self.first is None:
            self.first = name, flow, rate
        other, theirs, other_rate = self.first
        apart = np.linalg.norm(flow - theirs, axis=-1)
        mean, most, error = float(apart.mean()), float(np.percentile(apart, 99)), warp_error(self.frames, flow)
        self.values[name] = {"pairs_per_s": rate, "times": rate / other_rate, "warp_error": error,
                             "beside": other, "apart_mean": mean, "apart_99": most}  # fmt: skip
        far = f"{mean:.4f}, {most:.4f}"
        self.rows.append([f"{self.preset}, {name}", f"{rate:.2f}", f"{rate / other_rate:.1f}", f"{error:.3f}", far])
        print(self.rows[-1], flush=True)

    def missing(self, name: str, reason: str) -> None:
        self.values[name] = {"not_run": reason}
        self.rows.append([f"{self.preset}, {name}", f"not run: {reason}", "", "", ""])
        print(self.rows[-1], flush=True)


def measure(table: Table, frames: list[tuple[Gray, Gray]]) -> Iterator[None]:
    """All ways to make one preset's flow: those of one core in turn, then a GPU's one by one."""
    settings = settings_from(table.preset)
    ways = {"PyTorch, one core": pytorch(settings, "cpu", How())}
    if hasattr(cv2, "optflow"):
        ways = {"OpenCV, one core": opencv(settings), **ways}
    else:
        table.missing("OpenCV, one core", "cv2.optflow is in opencv-contrib-python-headless alone")
    for name, (flow, seconds) in in_turn(ways, frames).items():
        table.add(name, flow, seconds)
    if not torch.cuda.is_available():
        table.missing("PyTorch, GPU", "no GPU")
    yield
    if not torch.cuda.is_available():
        return
    for how_name, (how, batches) in WAYS.items():
        for batch in batches:
            name = f"PyTorch, GPU, {batch} pairs, {how_name}"
            try:
                table.add(name, *in_batches(pytorch(settings, "cuda", how), frames, batch))
            except Exception as error:  # a way that this machine cannot go is a result too
                table.missing(name, f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
            yield


def settings_from(preset: str) -> dict[str, Any]:
    """The settings of conf/flow, without Hydra."""
    chosen: dict[str, Any] = {}
    for name in ("tvl1", preset):  # the fast one is the other with changes
        chosen |= yaml.safe_load((CONF / "flow" / f"{name}.yaml").read_text())["settings"]
    return chosen


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    frames, what = pairs()
    tables = [Table(preset, frames) for preset in ("tvl1", "tvl1_fast")]
    for table in tables:
        for _ in measure(table, frames):
            report(tables, f"{len(frames)} pairs of frames: {what}")  # each time: some take long


def report(tables: list[Table], what: str) -> None:
    """Write what has been measured."""
    packages = "opencv-contrib-python-headless" if hasattr(cv2, "optflow") else "opencv-python-headless"
    values: dict[str, Any] = {"machine": machine("torch", packages)}
    if torch.cuda.is_available():
        values["machine"]["gpu"] = torch.cuda.get_device_name()
    values |= {table.preset: table.values for table in tables}
    save(
        "tvl1",
        "TV-L1 flow with OpenCV and with PyTorch",
        ["how", "pairs a second", "times the first", "warp error", "pixels from the first's: mean, 99 %"],
        [row for table in tables for row in table.rows],
        values,
        f"{SIZE[0]}x{SIZE[1]} pixels, {what}. Wall time, medians.",
        on="cuda" if torch.cuda.is_available() else "cpu",
    )


if __name__ == "__main__":
    main()
