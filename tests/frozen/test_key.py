"""Features are found again where nothing that counts has changed, and only there."""

import functools
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from src.build import build_recognizer
from src.data import inventory
from src.data.annotations import Video
from src.data.inventory import Entry
from src.errors import UnreadableVideoError
from src.frozen.contents import FILE, Contents
from src.frozen.key import describe, key
from src.frozen.store import Store
from src.models.recognizer import Recognizer

from tests.conftest import write_video
from tests.frozen.made import filled, said, shards, tensors, unfilled, words
from tests.tiny import SMALL
from tests.training_runs import composed

SAME = {  # other values that make the same features
    "seed": 3,
    "recipe.batch_size": 2,
    "recipe.epochs": 7,
    "optim.optimizer.lr": 0.5,
    "data.workers": 2,
    "data.decoder": "pyav",
    "data.root": "/elsewhere",
    "data.on_error": "skip",
    "test.view_batch": 3,
    "model.channels_last": True,
    "model.checkpointing": True,
    "trainer.compile": True,
    "pooling.dropout": 0.9,
    "features.cache": False,
    "features.root": "/elsewhere",
    "trainer.precision": "bf16-mixed",
    "trainer.devices": 2,
    "weights.kind": "file",
}
OTHER = {  # those that make others, and of which phases
    "model.clip.frames": (12, "train val test"),
    "model.clip.stride": (2, "train val test"),
    "model.clip.crop": (24, "train val test"),
    "model.clip.frame_size": ([128, 96], "train val test"),
    "model.clip.keep_aspect": (False, "train val test"),
    "model.clip.sampling": ("segments", "train val test"),
    "model.clip.fps": (12.5, "train val test"),
    "model.mean": ([0.5, 0.5, 0.5], "train val test"),
    "model.std": ([0.5, 0.5, 0.5], "train val test"),
    "model.backbone.strides": ([1, 2, 1, 1], "train val test"),
    "modality.name": ("flow", "train val test"),
    "features.dtype": ("float16", "train val test"),
    "features.precision": ("bf16-mixed", "train val test"),
    "features.clips": (5, "train"),
    "data.flip": (False, "train"),
    "data.scales": ([1.0, 0.5], "train"),
    "test.crops": (3, "test"),
    "test.clips": (2, "test"),
}


@functools.cache
def configuration(*more: str) -> DictConfig:
    return composed(tuple(words(Path("/videos"), "/features", *more)))


def network(cfg: DictConfig) -> Recognizer:
    torch.manual_seed(0)
    return build_recognizer(cfg, 5)


def keys(cfg: DictConfig, recognizer: Recognizer | None = None) -> dict[str, str]:
    return {phase: key(value) for phase, value in describe(cfg, recognizer or network(cfg)).items()}


def changed(name: str, value: Any) -> DictConfig:
    cfg = configuration().copy()
    OmegaConf.update(cfg, name, value, force_add=True)
    return cfg


@pytest.mark.parametrize("name", SAME)
def test_what_does_not_count_changes_no_key(name: str) -> None:
    assert keys(changed(name, SAME[name])) == keys(configuration())


@pytest.mark.parametrize("name", OTHER)
def test_what_counts_changes_the_keys_of_its_phases(name: str) -> None:
    value, phases = OTHER[name]
    cfg = changed(name, value)
    recognizer = network(configuration())  # the same weights
    assert cfg != configuration()
    one, other = keys(cfg, recognizer), keys(configuration(), recognizer)
    assert " ".join(phase for phase in one if one[phase] != other[phase]) == phases
    assert len({*one.values()}) == 3


def test_every_head_on_tokens_shares_them() -> None:
    tokens = {pooling: keys(configuration(f"pooling={pooling}")) for pooling in ("concat", "average", "lstm", "bert")}
    assert all(found == tokens["concat"] for found in tokens.values())
    assert keys(configuration("pooling=nonlocal_concat_fc"))["val"] != tokens["concat"]["val"]
    maps = keys(configuration("features.keep=maps"))
    assert maps == keys(configuration("pooling=nonlocal_concat_fc"))


def test_what_stands_behind_the_trunk_does_not_count() -> None:
    """SlowFast's fusion and FRAB leave the trunk as it is; FRMB takes its last block away."""
    small = ["model=slowfast", *SMALL["slowfast"], "features.keep=maps"]
    found = {}
    for pooling in ("bert_early_fusion", "bert_late_fusion"):
        for reduction in ("none", "frab", "frmb"):
            cfg = configuration(*small, f"pooling={pooling}", f"reduction={reduction}")
            recognizer = network(cfg)
            for number, (name, value) in enumerate(sorted(recognizer.backbone.state_dict().items())):
                if value.is_floating_point() and not name.startswith("reduction."):
                    value.fill_(len(name) + number % 1)
            found[pooling, reduction] = keys(cfg, recognizer)["val"]
    early, late = ({r: v for (p, r), v in found.items() if p == f"bert_{side}_fusion"} for side in ("early", "late"))
    assert early["none"] == early["frab"] == late["none"] == late["frab"]
    assert len({early["none"], early["frmb"], late["frmb"]}) == 3


def test_other_weights_are_other_features() -> None:
    cfg = configuration()
    recognizer = network(cfg)
    before = keys(cfg, recognizer)
    for name, value in recognizer.backbone.state_dict().items():
        if not value.is_floating_point():
            continue
        kept = value.flatten()[0].item()
        value.view(-1)[0] = kept + 1e-3
        assert keys(cfg, recognizer)["val"] != before["val"], name
        value.view(-1)[0] = kept
    with torch.no_grad():
        recognizer.classifier.weight += 1
    assert keys(cfg, recognizer) == before


# What is in a video


def video(path: Path, root: Path, **more: Any) -> Video:
    return Video(str(path), 0, "g", str(path.relative_to(root)), **more)


def digest(folder: Path, one: Video, root: Path) -> str:
    return Contents(folder, str(root)).sha256(one)


def test_a_replaced_video_is_another_and_a_touched_or_moved_one_is_not(tmp_path: Path) -> None:
    root, memory = tmp_path / "data", tmp_path / "memory"
    root.mkdir()
    one = video(root / "a.mp4", root)
    (root / "a.mp4").write_bytes(b"first")
    before = digest(memory, one, root)
    os.utime(root / "a.mp4")
    assert digest(memory, one, root) == before
    (root / "a.mp4").rename(root / "b.mp4")
    assert digest(memory, video(root / "b.mp4", root), root) == before
    (root / "a.mp4").write_bytes(b"other")
    assert digest(memory, one, root) != before


@pytest.mark.parametrize("way", ["in place", "renamed"])
def test_size_and_time_kept_by_force_do_not_hide_a_change(way: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"first")
    contents = Contents(tmp_path, str(tmp_path))
    before, status = contents.sha256(video(path, tmp_path)), path.stat()
    other = path if way == "in place" else tmp_path / "other"
    other.write_bytes(b"other")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    for looked in (contents, Contents(tmp_path, str(tmp_path))):
        assert looked.sha256(video(path, tmp_path)) != before


def entry(path: Path, name: str, sha256: str, **more: Any) -> Entry:
    status = path.stat()
    values = {"bytes": status.st_size, "mtime": status.st_mtime_ns, "bad": None, **more}
    return Entry(name, 10, (64, 48), 25.0, "h264", sha256=sha256, **values)


def test_the_hash_of_an_inventory_holds_while_it_is_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"first")
    one = video(path, tmp_path)
    true = digest(tmp_path / "without", one, tmp_path)
    inventory.write(tmp_path, {"a.mp4": entry(path, "a.mp4", "of the inventory")})
    assert digest(tmp_path / "with", one, tmp_path) == "of the inventory"
    assert digest(tmp_path / "without", one, tmp_path) == true  # read before
    status = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as the inventory says, but not as it was seen
    assert digest(tmp_path / "with", one, tmp_path) not in (true, "of the inventory")
    inventory.write(tmp_path, {"a.mp4": entry(path, "a.mp4", "of the inventory", mtime=1)})
    assert digest(tmp_path / "fresh", one, tmp_path) not in (true, "of the inventory")


def test_the_hash_of_an_inventory_is_not_that_of_the_flow(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for path in (root / "a.mp4", tmp_path / "flow.mkv"):
        path.write_bytes(b"video")
        os.utime(path, ns=(1, 1))
    inventory.write(root, {"a.mp4": entry(root / "a.mp4", "a.mp4", "of the inventory")})
    flow = Video(str(tmp_path / "flow.mkv"), 0, "g", "a.mp4")
    assert digest(tmp_path / "memory", flow, root) != "of the inventory"


@pytest.mark.parametrize("change", ["content", "renamed", "swapped", "removed", "added"])
def test_one_changed_picture_of_a_folder_counts(change: str, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(1, 4):
        (folder / f"img_{number:05d}.jpg").write_bytes(bytes([number]))
    (folder / "@eaDir").mkdir()  # what storage systems add is no matter
    one = video(folder, tmp_path)
    before = digest(tmp_path / "memory", one, tmp_path)
    first, last = folder / "img_00001.jpg", folder / "img_00003.jpg"
    if change == "content":
        last.write_bytes(b"x")
    if change == "renamed":
        last.rename(folder / "img_00004.jpg")
    if change == "swapped":
        first.write_bytes(b"\x03"), last.write_bytes(b"\x01")
    if change == "removed":
        last.unlink()
    if change == "added":
        (folder / "img_00004.jpg").write_bytes(b"\x04")
    after = digest(tmp_path / "memory", one, tmp_path)
    assert after != before
    if change == "removed":
        last.write_bytes(b"\x03")
        assert digest(tmp_path / "memory", one, tmp_path) == before


def test_what_cannot_be_read_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, reason in (("pipe.mp4", "it is not a regular file"), ("gone.mp4", "No such file")):
        with pytest.raises(UnreadableVideoError, match=rf"{name}: cannot be read as a video \({reason}"):
            digest(tmp_path / "memory", video(tmp_path / name, tmp_path), tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        b"\x00\xff\xfe garbage \x80",
        b"[" * 100_000,
        b'["a"]\n17\nnull\n{"a": 1, "b": 2, "c": 3}\n["a", 1, 2]\n[[], {}, null]\n',
        b"9" * 10_000,
        b"",
    ],
    ids=["garbage", "deep", "other values", "a long number", "empty"],
)
def test_a_damaged_memory_of_hashes_is_no_matter(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"first")
    one = video(path, tmp_path)
    before = digest(tmp_path, one, tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    for content in (damage, damage + b"\n" + whole, whole + damage, whole[:20], whole[:20] + whole, damage + whole):
        (tmp_path / FILE).write_bytes(content)
        assert digest(tmp_path, one, tmp_path) == before
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    assert digest(tmp_path, one, tmp_path) == before


def test_what_is_known_of_frames_counts(tmp_path: Path) -> None:
    """Which frames a clip takes follows from the number that an inventory or a list gives a video."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"first")
    store = Store(tmp_path, {"keep": "maps", "dtype": "float32"}, Contents(tmp_path, str(tmp_path)), [(1, 1, 1, 1)], 1)
    made = [video(path, tmp_path, frames=frames, in_order=order) for frames in (None, 9, 10) for order in (False, True)]
    made.append(Video(str(path), 0, "g", "another name"))
    assert len({store.identity(one) for one in made}) == len(made)
    assert store.identity(made[0]) == store.identity(Video(str(path), 1, "another group", "a.mp4"))


# Whole folders


def test_a_video_that_is_replaced_is_computed_again_and_alone(videos: Path, tmp_path: Path) -> None:
    root, folder = tmp_path / "videos", tmp_path / "features"
    shutil.copytree(videos, root)
    data, _ = unfilled(words(root, folder))
    said(data)
    before, kept = tensors(data), shards(folder)
    assert said(data) == ""
    write_video(root / "val" / "run" / "0.mp4", 14, seed=999)
    assert "features: 1 videos to compute" in said(data)
    after = tensors(data)
    assert [name for name in before if not torch.equal(before[name][0], after[name][0])] == ["val val/run/0.mp4"]
    assert kept.items() < shards(folder).items() and len(shards(folder)) == len(kept) + 1
    shutil.copy2(videos / "val" / "run" / "0.mp4", root / "val" / "run" / "0.mp4")  # back again
    assert said(data) == ""
    assert torch.equal(tensors(data)["val val/run/0.mp4"][0], before["val val/run/0.mp4"][0])


def test_a_moved_folder_of_videos_needs_nothing_new(videos: Path, kept: Path, tmp_path: Path) -> None:
    shutil.copytree(videos, tmp_path / "moved")
    shutil.copytree(kept, tmp_path / "features")
    data, _ = unfilled(words(tmp_path / "moved", tmp_path / "features", "seed=0", "pooling=lstm"))
    assert said(data) == ""
    assert shards(tmp_path / "features") == shards(kept)


def test_another_file_of_weights_under_the_same_name(videos: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    own = words(videos, tmp_path / "features", "weights=file", f"weights.path={file}")
    found = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        torch.save(build_recognizer(configuration(), 2).state_dict(), file)
        found.append(tensors(filled(own, ["val"]))["val val/run/0.mp4"][0])
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])
    assert len(shards(tmp_path / "features")) == 4
