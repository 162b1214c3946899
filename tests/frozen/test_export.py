"""Features for other programs, read back with nothing of this project."""

import csv
import json
import math
import os
import resource
import shutil
import signal
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from src.errors import UserError
from src.frozen import export as exporting
from src.frozen.data import FeatureData
from src.frozen.export import check_new, export

from tests.frozen.made import filled, tensors, words
from tests.small_runs import write_classes

NUMBERS = {"F32": np.float32, "F16": np.float16}


def read(path: Path) -> dict[str, Any]:
    """A safetensors file, by the description of the format."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, found, places = json.loads(content[8 : 8 + length]), {}, []
    for name, about in header.items():
        start, end = about["data_offsets"]
        values = np.frombuffer(content[8 + length + start : 8 + length + end], NUMBERS[about["dtype"]])
        assert len(values) == math.prod(about["shape"])
        found[name] = values.reshape(about["shape"])
        places += [start, end]
    assert (8 + length) % 8 == 0 and places[0] == 0 and places[-1] == len(content) - 8 - length
    assert places[1:-1:2] == places[2::2]
    return found


def index(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return list(csv.DictReader(stream))


def check(data: FeatureData, folder: Path) -> None:
    """Every row is where the index says, and nothing else is there."""
    rows, expected = index(folder), tensors(data)
    contents = {name: read(folder / name) for name in sorted({row["file"] for row in rows})}
    assert {path.name for path in folder.iterdir()} == {*contents, "index.csv", "README.md"}
    assert sum(len(content["0"]) for content in contents.values()) == len(rows)
    seen = set()
    for row in rows:
        maps = expected[f"{row['phase']} {row['video']}"]
        for pathway, one in enumerate(maps):
            kept = contents[row["file"]][str(pathway)][int(row["row"])]
            view = one[int(row["view"])].numpy()
            if data.phases[row["phase"]].store.tokens:
                view = view[..., 0, 0].T  # C, T, 1, 1 → T, C
            assert kept.shape == view.shape and (kept == view).all()
        seen.add((row["phase"], row["video"], row["view"]))
        assert data.lists.classes[int(row["label"])] == row["class"]
    assert len(seen) == len(rows) == sum(len(maps[0]) for maps in expected.values())


@pytest.fixture
def data(videos: Path, kept: Path, tmp_path: Path) -> FeatureData:
    shutil.copytree(kept, tmp_path / "features")
    return filled(words(videos, tmp_path / "features"))


def test_every_view_is_found_again(data: FeatureData, tmp_path: Path) -> None:
    assert export(data, tmp_path / "new" / "exported") == len(index(tmp_path / "new" / "exported"))
    check(data, tmp_path / "new" / "exported")
    assert {row["phase"] for row in index(tmp_path / "new" / "exported")} == {"train", "val", "test"}
    readme = (tmp_path / "new" / "exported" / "README.md").read_text()
    assert "- `0`: R × T × C = R × 4 × 128, one token per time step" in readme
    for line in ("- train, drawn: {'clips': 4", "- val, centre: 1", "- test, views: {'clips': 'all', 'crops': 1}"):
        assert line in readme
    assert readme.count("- weights: ") == 1


@pytest.mark.parametrize(
    "more",
    [
        ["features.dtype=float16"],
        ["model=slowfast", "model.backbone.blocks=[1,1,1,1]", "model.backbone.width=8", "pooling=average"],
        ["pooling=nonlocal_concat_fc"],
    ],
    ids=["half", "pathways", "maps"],
)
def test_types_pathways_and_maps(more: list[str], videos: Path, tmp_path: Path) -> None:
    data = filled(words(videos, tmp_path / "features", *more), ["val"])
    export(data, tmp_path / "exported")
    check(data, tmp_path / "exported")
    readme = (tmp_path / "exported" / "README.md").read_text()
    assert ("float16" in more[0]) == ("of float16" in readme)
    assert ("R × C × T × H × W" in readme) == ("nonlocal" in more[0])


def test_large_files_are_parted_between_videos(
    data: FeatureData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "LARGEST", 20_000)
    export(data, tmp_path / "exported")
    check(data, tmp_path / "exported")
    names = {row["video"]: row["file"] for row in index(tmp_path / "exported")}
    assert (
        len(set(names.values())) == 6
    )  # a view is 2048 bytes: 6 training videos in three files, both for validation, two and two for testing
    monkeypatch.setattr(exporting, "LARGEST", 1)
    export(data, tmp_path / "single")
    check(data, tmp_path / "single")


def test_names_of_all_kinds(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    names = ['a,"b"', "new\nline", os.fsdecode(b"caf\xe9")]
    write_classes(root, names, clips=3)
    (root / names[0] / "clip0.mp4").rename(root / names[0] / 'x, "y"\n.mp4')
    data = filled(words(root, tmp_path / "features"))
    export(data, tmp_path / "exported")
    check(data, tmp_path / "exported")
    assert {row["class"] for row in index(tmp_path / "exported")} == set(names)
    assert f'{names[0]}/x, "y"\n.mp4' in {row["video"] for row in index(tmp_path / "exported")}


def test_unreadable_videos_are_left_out(videos: Path, tmp_path: Path) -> None:
    root = tmp_path / "videos"
    shutil.copytree(videos, root)
    (root / "val" / "run" / "0.mp4").write_bytes(b"none")
    data = filled(words(root, tmp_path / "features", "data.on_error=skip"), ["val"])
    assert export(data, tmp_path / "exported") == 1
    check(data, tmp_path / "exported")


def test_a_folder_in_use_is_refused(data: FeatureData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "empty").mkdir()
    for name in ("file", "full"):
        for refuse in (check_new, lambda folder: export(data, folder)):
            with pytest.raises(UserError, match=f"features.export=.*{name}: there is something there; give a new"):
                refuse(tmp_path / name)
    assert (tmp_path / "file").read_text() == (tmp_path / "full" / "mine").read_text() == "mine"
    export(data, tmp_path / "empty")
    check(data, tmp_path / "empty")


def test_nothing_half_written_is_left(data: FeatureData, tmp_path: Path) -> None:
    (tmp_path / f".exported.{2**22 + 1}.abcdefgh.unfinished").mkdir()  # of an export that was killed
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"exported: cannot be written \(File too large\); nothing is left of it"):
            export(data, tmp_path / "exported")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == ["features"]
    with pytest.raises(UserError, match=r"index\.csv/x: cannot be written \(.*\); nothing"):
        (tmp_path / "index.csv").write_text("")
        export(data, tmp_path / "index.csv" / "x")
