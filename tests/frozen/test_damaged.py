"""Damaged, foreign and unwritable features: computed again or one line, never a wrong number."""

import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from rich.console import Console
from src.errors import UserError
from src.frozen.data import DamagedFeaturesError, FeatureData
from src.frozen.store import Maps, Store
from src.models.weights import safetensors

from tests.frozen.made import leftovers, said, shards, tensors, unfilled, words


@pytest.fixture
def data(videos: Path, kept: Path, tmp_path: Path) -> FeatureData:
    """Features of the small videos, in a folder of this test's own."""
    shutil.copytree(kept, tmp_path / "features")
    made, _ = unfilled(words(videos, tmp_path / "features"))
    assert said(made) == ""
    return made


def first(data: FeatureData) -> tuple[Store, str, Path, Maps]:
    """A video's store, identity, shard, and what is in it."""
    store = data.filler.stores["val"]
    identity = store.identity(data.videos["val"][0])
    maps = store.load(identity)
    assert maps is not None
    return store, identity, store.path(identity), maps


def same(one: Maps | None, other: Maps) -> bool:
    return one is not None and len(one) == len(other) and all(map(torch.equal, one, other))


def test_a_shard_that_is_cut_off_anywhere_counts_as_missing(data: FeatureData) -> None:
    store, identity, path, _ = first(data)
    content = path.read_bytes()
    for end in [*range(0, 400), *range(400, len(content), 37), len(content) - 1]:
        path.write_bytes(content[:end])
        assert store.load(identity) is None, end
    path.write_bytes(content + b"\0")
    assert store.load(identity) is None
    path.write_bytes(content)
    assert store.load(identity) is not None


def test_flipped_bits_never_change_a_number(data: FeatureData) -> None:
    store, identity, path, maps = first(data)
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    for place in [*range(header), *range(header, len(content), 41), len(content) - 1]:
        for bit in (1, 0x20, 0x80):
            content[place] ^= bit
            path.write_bytes(content)
            found = store.load(identity)
            assert found is None or same(found, maps), place
            assert found is None or place < header
            content[place] ^= bit


def foreign(data: FeatureData) -> dict[str, bytes]:
    """Shards that are sound, and not this one's."""
    store, identity, path, maps = first(data)
    other = store.identity(data.videos["val"][1])
    found = {"another video's": store.path(other).read_bytes()}
    about = {"features": store.folder.name, "video": identity}
    tokens = [one.flatten(2).transpose(1, 2).contiguous() for one in maps]
    for name, kept in {
        "another type": [one.half() for one in tokens],
        "another shape": [one[:, 1:].contiguous() for one in tokens],
        "more views": [torch.cat([one, one]) for one in tokens],
        "no views": [one[:0] for one in tokens],
        "no tensor": [],
        "two pathways": [*tokens, *tokens],
        "a number": [torch.tensor(1.0)],
    }.items():
        whole = store._about(identity, kept)
        safetensors.write(path, {str(i): one for i, one in enumerate(kept)}, whole)
        found[name] = path.read_bytes()
        assert whole.items() > about.items()
    safetensors.write(path, {"0": tokens[0]}, {})
    found["without words"] = path.read_bytes()
    safetensors.write(path, {"0": tokens[0]}, store._about(identity, tokens) | {"features": "0" * 16})
    found["another network's"] = path.read_bytes()
    return found | {"empty": b"", "text": b"hello"}


def test_a_foreign_shard_counts_as_missing(data: FeatureData) -> None:
    store, identity, path, maps = first(data)
    good = path.read_bytes()
    for name, content in foreign(data).items():
        path.write_bytes(content)
        assert store.load(identity) is None, name
    path.write_bytes(good)
    assert same(store.load(identity), maps)


def test_damaged_shards_are_computed_again_and_alone(data: FeatureData, kept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    stores = data.filler.stores
    for phase, change in (("train", b""), ("val", b"x" * 99), ("test", None)):
        path = stores[phase].path(stores[phase].identity(data.videos[phase][1]))
        content = path.read_bytes()
        path.write_bytes(content[:-3] if change is None else change)
    before = tensors(data)
    (stores["val"].folder / "description.json").write_bytes(b"\x00{")
    assert "features: 3 videos to compute" in said(data)
    assert all(map(same, tensors(data).values(), before.values()))
    assert shards(folder) == shards(kept)
    assert leftovers(folder) == []
    for store in stores.values():
        there = kept / store.folder.name / "description.json"
        assert (store.folder / "description.json").read_bytes() == there.read_bytes()


def test_a_folder_in_the_place_of_a_shard_is_one_line(data: FeatureData) -> None:
    _, _, path, _ = first(data)
    path.unlink()
    (path / "inside").mkdir(parents=True)
    with pytest.raises(UserError, match=r"safetensors: features cannot be written \(.*irectory") as refused:
        said(data)
    assert "\n" not in str(refused.value)


def test_features_that_go_during_training_are_one_line_and_mended_by_the_next_run(
    data: FeatureData, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.frozen.data.IN_MEMORY", 0)
    assert said(data) == ""
    _, _, path, _ = first(data)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFeaturesError, match=r"0\.mp4: its features are damaged or have gone; the same command"):
        list(data.val_dataloader())
    assert not path.exists()
    said(data)
    assert len(list(data.val_dataloader())) == 1
    assert shards(tmp_path / "features") == shards(kept)


def test_a_disk_that_damages_everything_is_one_line(data: FeatureData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "load", lambda store, identity: None)
    with pytest.raises(DamagedFeaturesError, match="damaged as soon as they are written"):
        data.fill(["val"], Console(quiet=True))


# Folders that cannot be written


def test_a_full_disk_is_one_line_and_leaves_what_is_there(videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    data, _ = unfilled(words(videos, folder))
    data.fill(["val"], Console(quiet=True))
    before = shards(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, limits[1]))
    try:
        with pytest.raises(UserError, match=r"features cannot be written \(File too large\); what is there is kept"):
            data.fill(["test"], Console(quiet=True))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert shards(folder) == before and leftovers(folder) == []
    assert "features: 4 videos to compute" in said(data, ["test"])


def test_a_root_that_cannot_be_a_folder_is_one_line(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        data, _ = unfilled(words(videos, root))
        with pytest.raises(UserError, match="features cannot be written") as refused:
            said(data)
        assert "\n" not in str(refused.value) and "Unreadable" not in type(refused.value).__name__
    assert (tmp_path / "file").read_text() == "mine"


def test_too_little_room_is_refused_before_anything_is_computed(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = unfilled(words(videos, tmp_path / "features"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"the features need about \d+\.\d GB, and there is room for 0\.0 GB; set"):
        said(data)
    assert shards(tmp_path / "features") == {}
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=2**40))
    assert "features: 12 videos to compute, about 1 MB in " in said(data)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=0))
    assert said(data) == ""  # nothing is missing, so nothing is needed


def test_numbers_that_float16_cannot_hold_are_not_kept(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, recognizer = unfilled(words(videos, tmp_path, "features.dtype=float16"))
    norm = [module for module in recognizer.backbone.modules() if isinstance(module, torch.nn.BatchNorm3d)][-1]
    norm.bias.data.fill_(1e6)
    with pytest.raises(UserError, match=r"too large for features\.dtype=float16; take features\.dtype=float32"):
        said(data)
    assert shards(tmp_path) == {}


@pytest.mark.skipif(not shutil.which("chattr"), reason="needs a way to make a folder read-only for anybody")
def test_a_read_only_folder_is_read(videos: Path, kept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    shutil.copytree(kept, folder)
    (folder / "contents.jsonl").unlink()
    if subprocess.run(["chattr", "-R", "+i", str(folder)], capture_output=True).returncode:
        pytest.skip("this file system has no such mark")
    try:
        data, _ = unfilled(words(videos, folder))
        assert said(data) == ""
        data, _ = unfilled(words(videos, folder, "data.flip=false"))
        with pytest.raises(UserError, match=r"features cannot be written \(Operation not permitted\)"):
            said(data)
    finally:
        subprocess.run(["chattr", "-R", "-i", str(folder)], check=True)
