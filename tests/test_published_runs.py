"""Look-alikes of the published data sets train from the command line's configuration, as videos and as pictures."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from src.build.compose import compose
from src.build.data import build_data
from src.config import ROOT
from src.data.annotations import Lists, list_digest
from src.data.datamodule import VideoData, split
from src.data.flow import flow_path
from src.data.hmdb51 import hmdb51
from src.data.make_flow import write_video
from src.data.ucf101 import ucf101

from tests import lookalikes
from tests.data import test_archives
from tests.small_runs import start

READERS = {"hmdb51": hmdb51, "ucf101": ucf101}
SMALL = (
    *("model=tiny", "pooling=bert", "logger=csv", "trainer.accelerator=cpu", "recipe.epochs=1", "data.workers=0"),
    *("model.clip.frames=8", "model.clip.crop=32", "model.clip.frame_size=[64,48]", "protocol.fraction=0.3"),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both trees, their frame folders, and the flow of HMDB51's videos."""
    base = tmp_path_factory.mktemp("lookalikes")
    for name, ending in (("hmdb51", ""), ("ucf101", ".jpg")):
        getattr(lookalikes, name)(base / name)
        splits = [READERS[name](str(base / name), number, check_counts=False) for number in (1, 2, 3)]
        lookalikes.frame_folders(splits, base / f"{name}_frames", ending)
    for video in [*splits[0].train, *splits[0].test]:
        frames = len(list((base / "ucf101_frames" / Path(video.name).stem).glob("img_*")))
        motion = [round(127.5 + v * 127.5 / 20) for v in lookalikes.MOTIONS[video.label]]
        fields = np.broadcast_to(np.array(motion, np.uint8), (frames - 1, 48, 64, 2))
        path = flow_path(base / "ucf101", video.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, fields, 0)
    return base


def options(base: Path, data: str, number: int = 2) -> list[str]:
    kind, _, frames = data.partition("_")
    own = ["data=frames"] if frames else [f"data={kind}", "data.check_counts=false"]
    return [*SMALL, *own, f"data.root={base / data}", f"data.split={number}"]


@pytest.mark.parametrize(
    ("data", "more"),
    [
        ("hmdb51", []),
        ("ucf101", ["protocol=paper"]),
        ("ucf101", ["modality=flow"]),
        ("hmdb51_frames", []),
        ("hmdb51_frames", ["modality=flow"]),
        ("ucf101_frames", ["modality=flow", "test.crops=10"]),
    ],
)
def test_one_command_trains(base: Path, tmp_path: Path, data: str, more: list[str]) -> None:
    folder = tmp_path / "run"
    results = start([*options(base, data), *more, f"run_dir={folder}"])
    assert results.tested == 6 and results.split == 2
    assert results.protocol["name"] == ("paper" if "protocol=paper" in more else "holdout")
    assert json.loads((folder / "audit.json").read_text())["validates_on_test"] == ("protocol=paper" in more)
    assert (folder / "scores" / "test.npz").is_file()


@pytest.fixture(scope="module")
def ordered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets whose labels are told by the order of time."""
    base = tmp_path_factory.mktemp("ordered")
    for make in (lookalikes.ssv2, lookalikes.jester, lookalikes.diving48):
        make(base / make.__name__)
    return base


@pytest.mark.parametrize(
    ("data", "more"),
    [
        ("ssv2", ["sampling=segments", "test.crops=10"]),
        ("ssv2", ["data.test_on=test", "model.clip.fps=6"]),
        ("jester", ["test.crops=10"]),
        ("diving48", ["sampling=segments", "test.clips=2"]),
    ],
)
def test_one_command_trains_on_sets_of_ordered_labels(
    ordered: Path, tmp_path: Path, data: str, more: list[str]
) -> None:
    words = [*SMALL, f"data={data}", f"data.root={ordered / data}", "data.check_counts=false", *more]
    results = start([*words, f"run_dir={tmp_path / 'run'}"])
    assert results.tested == 4 and results.unreadable == {} and results.data.official
    assert np.load(tmp_path / "run" / "scores" / "test.npz")["scores"].shape == (4, 4)


def test_a_class_without_training_videos_is_seen_in_the_mirror(ordered: Path, tmp_path: Path) -> None:
    """Swipes to the left come from mirrored swipes to the right."""
    root = tmp_path / "jester"
    for part in ("20bn-jester-v1", "jester-v1-labels.csv", "jester-v1-validation.csv"):
        (root / part).parent.mkdir(exist_ok=True)
        (root / part).symlink_to(ordered / "jester" / part)
    lines = (ordered / "jester" / "jester-v1-train.csv").read_text().splitlines()
    (root / "jester-v1-train.csv").write_text("\n".join(line for line in lines if not line.endswith("Left")))
    words = [*SMALL, "data=jester", f"data.root={root}", "data.check_counts=false", "protocol=paper", "data.scales=[1]"]
    data = build_data(compose(words))
    loader = data.train_dataloader()
    seen = set()
    for epoch in range(6):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            seen |= set(batch["label"].tolist())
    assert {data.lists.classes[label] for label in seen} == set(lookalikes.JESTER_CLASSES)


def batches(data: VideoData) -> list[tuple[torch.Tensor, torch.Tensor]]:
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    return [(batch["clip"], batch["label"]) for loader in loaders for batch in loader]


def difference(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first.float() - second.float()).abs().mean())


@pytest.mark.parametrize(
    ("name", "modality", "bound"), [("hmdb51", "rgb", 2.5), ("ucf101", "rgb", 2.5), ("ucf101", "flow", 1.0)]
)
def test_clips_from_pictures_are_those_from_videos_within_jpeg_loss(
    base: Path, name: str, modality: str, bound: float
) -> None:
    """Same list, seed and lengths: the same videos, starts and crops. `bound`: mean difference in grey levels."""
    made = [
        build_data(compose([*options(base, data), f"modality={modality}", "protocol=paper"]))
        for data in (name, f"{name}_frames")
    ]
    if modality == "flow":  # the flow of videos is one field shorter than the authors' pictures
        for phase, videos in made[1].videos.items():
            made[1].videos[phase] = [replace(video, frames=(video.frames or 0) - 1) for video in videos]
    pairs = list(zip(*map(batches, made), strict=True))
    assert len(pairs) >= 3
    for (video, label), (pictures, same) in pairs:
        assert torch.equal(label, same) and video.shape == pictures.shape
        assert difference(video, pictures) < bound
        if modality == "rgb":  # and one frame on it is another picture
            assert difference(video[..., 1:, :, :], pictures[..., :-1, :, :]) > 4 * bound


@pytest.mark.parametrize("name", READERS)
def test_the_protocols_on_published_lists(base: Path, name: str) -> None:
    lists: Lists = READERS[name](str(base / name), 1, check_counts=False)
    assert split(lists, "paper", None, 0) == (lists.train, lists.test)
    train, val = split(lists, "holdout", 0.3, 0)
    assert val and sorted(train + val, key=lists.train.index) == lists.train
    assert not {video.group for video in train} & {video.group for video in val}
    assert {video.label for video in train} == {video.label for video in val} == {0, 1, 2}
    again = split(replace(lists, train=lists.train[::-1]), "holdout", 0.3, 0)
    assert list_digest(again[1]) == list_digest(val)
    assert any(list_digest(split(lists, "holdout", 0.3, seed)[1]) != list_digest(val) for seed in range(1, 6))


def test_real_clips_of_ucf101(tmp_path: Path) -> None:
    samples = lookalikes.sample_clips()
    if samples is None or not (samples / "ucf101_sample").is_dir():
        pytest.skip("no sample clips")
    root = lookalikes.ucf101(tmp_path / "ucf101", real=samples / "ucf101_sample")
    words = [*options(root.parent, "ucf101", 1), "test.view_batch=4", "model.clip.frame_size=[340,256]"]
    results = start([*words, f"run_dir={tmp_path / 'run'}"])
    assert results.tested == 3 and results.unreadable == {}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not test_archives.HAS_UNPACKER, reason="no program for .rar is installed")
@pytest.mark.parametrize("name", READERS)
def test_from_archives_to_results_by_the_command_line(tmp_path: Path, name: str) -> None:
    """The commands that a user types: prepare with flow, train on RGB, train on flow."""
    tree = getattr(lookalikes, name)(tmp_path / "made")
    (tmp_path / "downloads").mkdir()
    {"hmdb51": test_archives.hmdb_archives, "ucf101": test_archives.ucf_archives}[name](tree, tmp_path / "downloads")
    root = tmp_path / "data" / name
    chosen = [f"data={name}", f"data.root={root}", "data.check_counts=false", "data.split=3"]

    def command(module: str, *arguments: str) -> str:
        words = [sys.executable, "-m", f"src.{module}", *chosen, *arguments]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
        return done.stdout

    said = command("prepare", f"archives={tmp_path / 'downloads'}", "flow=dis")
    assert "without" not in said, said
    for modality in ("rgb", "flow"):
        folder = tmp_path / modality
        more = [f"modality={modality}", "data.flow=dis", f"run_dir={folder}"]
        said = command("train", *SMALL, *more)
        results = json.loads((folder / "results.json").read_text())
        assert results["tested"] == 6 and results["modality"] == modality and results["split"] == 3
        audited = json.loads((folder / "audit.json").read_text())["phases"]["train"]
        assert audited["frames_known"] == audited["videos"]
        assert f"{name} split 3" in said and f"{audited['longest'][0]} frames" in said
