"""Features for other programs: safetensors files and a table of what stands in them, with a README beside them."""

import csv
import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from src import files
from src.data.annotations import Video
from src.errors import UserError
from src.frozen.data import FeatureData
from src.frozen.store import Maps, as_tokens
from src.models.weights import safetensors
from src.text import first_line, printable

LARGEST = 256 << 20  # bytes of a file
INDEX = "index.csv"
COLUMNS = ("file", "row", "phase", "video", "group", "view", "label", "class")
README = """# Features of a frozen backbone

Files are safetensors. Each holds, for each pathway of the backbone, one tensor (`0`, `1`, …) of {dtype}:

{shapes}

R is the number of rows in the file. `index.csv` (UTF-8, with a header) has a line for each row: `file`, `row` in it
(from 0), `phase` (train: random clips as drawn in training; val: the centre clip; test: all views), `video`, `group`
(its source), `view` of the video (from 0), `label` and `class`.

    import csv
    from safetensors.torch import load_file
    rows = list(csv.DictReader(open("index.csv", encoding="utf-8", newline="")))
    features = load_file(rows[0]["file"])["0"][int(rows[0]["row"])]

They depend on:

{description}
"""


@dataclass
class Chunk:
    """Rows that are to go into one file."""

    maps: list[Maps] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    bytes: int = 0
    rows: int = 0


def check_new(folder: Path) -> None:
    """Refuse a folder that is in use, before anything is computed for it.

    Raises:
        UserError: the folder exists and is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"features.export={printable(folder)}: there is something there; give a new folder")


def export(data: FeatureData, folder: Path) -> int:
    """Write the features of all phases that have been filled into a new folder, whole or not at all.

    Returns:
        The number of rows.

    Raises:
        UserError: the folder exists and is not empty, or it cannot be written.
    """
    check_new(folder)
    try:
        files.remove_leftovers(folder.parent, f".{glob.escape(folder.stem[:40])}.*")  # of a killed export to it
        with files.filling(folder) as target:
            number = _write_all(data, target)
    except OSError as error:
        raise UserError(
            f"features.export={printable(folder)}: cannot be written ({first_line(error)}); nothing is left of it"
        ) from error
    return number


def _write_all(data: FeatureData, target: Path) -> int:
    lines: list[dict[str, Any]] = []
    for number, chunk in enumerate(_chunks(data)):
        name = f"{chunk.lines[0]['phase']}-{number:05d}.safetensors"
        tensors = {str(i): torch.cat(pathway) for i, pathway in enumerate(zip(*chunk.maps, strict=True))}
        safetensors.write(target / name, tensors, {})
        lines += [line | {"file": name} for line in chunk.lines]
    with (target / INDEX).open("w", newline="", **files.ENCODING) as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    (target / "README.md").write_text(_readme(data), encoding="utf-8")
    return len(lines)


def _chunks(data: FeatureData) -> Iterator[Chunk]:
    """The rows of all phases, in the order of their lists, a file's worth at a time."""
    for phase, features in data.phases.items():
        chunk = Chunk()
        for position, video in enumerate(features.videos):
            if position in features.unreadable:
                continue
            kept = [as_tokens(one) if features.store.tokens else one for one in features.maps(position)]
            size = sum(one.nbytes for one in kept)
            if chunk.rows and chunk.bytes + size > LARGEST:
                yield chunk
                chunk = Chunk()
            chunk.maps.append(kept)
            labels = [features.clips.drawn_label(position, view) for view in range(len(kept[0]))]
            chunk.lines += _lines(data, phase, video, labels, chunk.rows)
            chunk.bytes += size
            chunk.rows += len(kept[0])
        if chunk.rows:
            yield chunk


def _lines(data: FeatureData, phase: str, video: Video, labels: Sequence[int], first: int) -> list[dict[str, Any]]:
    """labels: of the video's views, which differ where they are mirror images of each other."""
    about = {"phase": phase, "video": video.name, "group": video.group}
    lines = []
    for view, label in enumerate(labels):
        shown = {"label": label, "class": data.lists.classes[label]}
        lines.append(about | shown | {"row": first + view, "view": view})
    return lines


def _readme(data: FeatureData) -> str:
    store = next(iter(data.phases.values())).store
    shapes = []
    for number, (channels, time, height, width) in enumerate(store.shapes):
        if store.tokens:
            shapes.append(f"- `{number}`: R × T × C = R × {time} × {channels}, one token per time step")
        else:
            shapes.append(f"- `{number}`: R × C × T × H × W = R × {channels} × {time} × {height} × {width}")
    descriptions = {phase: features.store.description for phase, features in data.phases.items()}
    lines = []
    for phase, description in descriptions.items():
        for name, value in description.items():
            common = all(other.get(name) == value for other in descriptions.values())
            line = f"- {name}: {value}" if common else f"- {phase}, {name}: {value}"
            lines += [] if line in lines else [line]
    return README.format(dtype=_name(store.dtype), shapes="\n".join(shapes), description="\n".join(lines))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
