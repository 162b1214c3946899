"""A page about a trained network: what it learned from, how good it is, what it confuses, what it costs, how to use it.

Names of classes and videos come from data; they are escaped, so that they are shown and nothing else.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.config import ClipSpec
from src.errors import UserError
from src.exporting.targets import UNSTATED
from src.prediction.exported import Exported
from src.reports import order
from src.reports.order import OrderRow
from src.reports.runs import Run, protocol_label, read_run
from src.reports.tables import escape_markdown, pipes
from src.runs.folder import RunFolder
from src.runs.records import RunRecord
from src.scores import Scores
from src.statistics import wilson
from src.text import listed, number, printable

PAIRS = 10  # of confused classes
NAMED = 400  # classes that the page lists
TOPS = {"top1": 1, "top3": 3, "top5": 5}
METRICS = {
    "top1": "top-1",
    "top3": "top-3",
    "top5": "top-5",
    "mean_class": "mean over classes",
    "macro_f1": "macro F1",
    "map": "mAP",
}
RECIPE = ("recipe.epochs", "recipe.batch_size", "recipe.accumulate", "recipe.lr", "seed")  # as runs describe it


def card(folder: RunFolder, about: Exported, files: Sequence[str] = ()) -> str:
    """The page of a run, as Markdown.

    files: names of the files beside the page that hold the network.

    Raises:
        UserError: the run has not been tested, or its records cannot be read.
    """
    run, record = read_run(folder), folder.read_run()
    if run is None or record is None:
        raise UserError(f"{folder}: it has not been tested, so that there is nothing to say of it; let the run finish")
    parts = [
        _front_matter(about, run),
        f"# {_shown(about.title)}\n",
        _what(about),
        "## What it was trained on\n",
        _training(run, record, about),
        "## How good it is\n",
        _metrics(run),
        *_confusions(run.scores),
        "## What it costs\n",
        _cost(run),
        *_order(run),
        "## How to use it\n",
        _usage(about, files),
        "## Licence\n",
        f"{_shown(about.licence)}. The data that it learned from, and weights that it started from, have their own.",
    ]
    notes = [f"- {_shown(problem.replace(f'{folder}/', ''))}" for problem in run.problems]
    return "\n".join([*parts, *(["\n## Notes\n", *notes] if notes else [])]) + "\n"


def _shown(text: object) -> str:
    return escape_markdown(printable(text))


def _front_matter(about: Exported, run: Run) -> str:
    """What hubs read; JSON is YAML, so names cannot leave their quotes."""
    licence = "unknown" if about.licence == UNSTATED else "other"
    lines = ["---", f"license: {licence}"]
    if licence == "other":
        lines.append(f"license_name: {json.dumps(printable(about.licence))}")
    lines += ["pipeline_tag: video-classification", "tags:"]
    tags = ("action-recognition", *_names(about), printable(run.results.data.name))
    lines += [f"- {json.dumps(tag)}" for tag in tags]
    return "\n".join([*lines, "---", ""])


def _names(about: Exported) -> list[str]:
    choices = dict(word.partition("=")[::2] for word in about.overrides)
    return [choices[group] for group in ("model", "pooling") if group in choices]


def _what(about: Exported) -> str:
    clip = about.clip
    size = f"short side {clip.frame_size[1]}" if clip.keep_aspect else f"{clip.frame_size[0]}×{clip.frame_size[1]}"
    channels = 2 if about.modality == "flow" else 3
    rows = [
        ["backbone and head", " and ".join(_names(about))],
        ["input", f"{about.modality}, uint8 (N, {channels}, {clip.frames}, {clip.crop}, {clip.crop})"],
        ["clip", f"{clip.frames} frames, {_apart(clip)}; frames brought to {size}, crop of {clip.crop}"],
        ["output", f"{len(about.classes)} logits"],
        ["weights", f"{about.weights}, SHA-256 {about.sha256}"],
    ]
    names = listed([escape_markdown(name) for name in about.classes], NAMED)
    return "\n".join([*pipes(["", "value"], rows), "", f"Classes, in the order of the outputs: {names}.", ""])


def _apart(clip: ClipSpec) -> str:
    if clip.sampling == "segments":
        return "the centres of equal parts of the video"
    return f"{clip.stride} apart" + (f" at {clip.fps:g} frames a second" if clip.fps is not None else "")


def _training(run: Run, record: RunRecord, about: Exported) -> str:
    results, data = run.results, run.results.data
    revision = record.origin.revision or {}
    commit = str(revision.get("commit", "not recorded")) + (" with changes" if revision.get("changed") else "")
    lists = "as published" if data.official else "its owner's lists"
    counts = f"{data.train.videos} for training, {data.val.videos} for validation, {data.test.videos} for testing"
    rows = [
        ["data", f"{data.name}{'' if data.split is None else f', split {data.split}'} ({lists})"],
        ["videos", counts],
        ["test list", f"SHA-256 {data.test.sha256}"],
        ["protocol", protocol_label(results.protocol)],
        ["epochs", f"{results.epochs}" + (f", the best was {results.best.epoch + 1}" if results.best else "")],
        ["optimiser", results.optimizer],
        ["started from", _started_from(record)],
        *([name, str(record.description[name])] for name in RECIPE if name in record.description),
        ["identity", f"{results.identity} (the hash of everything that defines the run)"],
        ["made", f"{record.origin.started}, commit {commit}, PyTorch {record.origin.packages.get('torch')}"],
    ]
    return "\n".join([*pipes(["", "value"], rows), ""])


def _started_from(record: RunRecord) -> str:
    kind = record.description.get("weights.kind")
    if not kind:
        return "random weights"
    name = record.description.get("weights.source.file")
    return str(name) if kind == "published" and name else f"a file, SHA-256 {record.description.get('weights.path')}"


def _metrics(run: Run) -> str:
    """The metrics; those that are shares of videos with Wilson's interval, the others with the bootstrap's."""
    count = run.results.tested
    rows = []
    for name, value in run.metrics.items():
        interval = "–"
        if name in TOPS and count:
            low, high = wilson(round(value * count / 100), count)
            interval = f"{100 * low:.2f} to {100 * high:.2f}"
        elif name in run.results.intervals:
            low, high = run.results.intervals[name]
            interval = f"{low:.2f} to {high:.2f}"
        rows.append([METRICS.get(name, printable(name)), number(value), interval])
    protocol = run.results.protocol.get("name")
    notes = [
        f"Over {count} test videos.",
        "Intervals (Wilson; for means over classes the bootstrap's) speak of other videos of this kind, not of seeds.",
    ]
    if protocol == "paper":
        notes.append("The test list also chose the epoch, as in the paper: the numbers are optimistic.")
    if run.results.diverged:
        notes.append("**The training loss was not finite at some point.**")
    unreadable = len(run.results.unreadable.get("test", []))
    if unreadable:
        notes.append(f"{unreadable} test videos could not be read and are left out.")
    return "\n".join([*pipes(["metric", "%", "95 % interval"], rows), "", " ".join(notes), ""])


def _confusions(scores: Scores | None) -> list[str]:
    """The pairs of classes that are taken for one another most often, as shares of the true class."""
    if scores is None or scores.targets is not None:
        return []
    counts = scores.confusion()
    wrong = counts - np.diag(np.diag(counts))
    pairs = [(int(wrong[i, j]), int(counts[i].sum()), i, j) for i, j in zip(*np.nonzero(wrong), strict=True)]
    pairs.sort(key=lambda pair: (-pair[0] / pair[1], -pair[0], pair[2], pair[3]))
    if not pairs:
        return ["No test video was given another class.\n"]
    rows = []
    for count, total, i, j in pairs[:PAIRS]:
        names = [printable(scores.classes[i]), printable(scores.classes[j])]
        rows.append([*names, f"{count} of {total}", f"{100 * count / total:.0f}"])
    return ["### What it confuses most\n", *pipes(["true", "taken for", "videos", "%"], rows), ""]


def _cost(run: Run) -> str:
    cost = run.results.cost
    rows = [
        ["parameters", f"{cost.params / 1e6:.4g} M"],
        ["multiply-accumulates for a clip", f"{cost.macs / 1e9:.4g} G"],
        ["operations for a clip, as the paper counts", f"{cost.operations / 1e9:.4g} G"],
    ]
    return "\n".join([*pipes(["", "value"], rows), ""])


def _order(run: Run) -> list[str]:
    if run.order is None:
        return []
    head, rows = order.table([OrderRow("network", f"seed {run.results.seed}", run.order)])
    columns = [list(pair) for pair in zip(head[2:], rows[0][2:], strict=True)]
    explained = (
        "Time steps of the last feature map shuffled, reversed, or hidden one at a time (replaced by the mean of the "
        "others); p of McNemar's exact test against the true order."
    )
    return ["## How much the order of time matters\n", *pipes(["", "value"], columns), "", explained, ""]


def _usage(about: Exported, files: Sequence[str]) -> str:
    known = [name for name in files if Path(name).suffix in (".onnx", ".safetensors")]
    file = known[0] if known else "network.safetensors"
    lines = ["```bash", f"python -m src.predict run={file} video=clip.mp4", "```", ""]
    lines += [
        "The command is of the project that trained it (commit above). A file in ONNX runs without it: its input",
        "`clip` is uint8 as above, RGB, not normalised; its metadata hold `classes` and `clip`.",
    ]
    return "\n".join([*lines, ""])
