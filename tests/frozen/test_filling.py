"""Filling: any number at once, replaced and unreadable videos, workers, long videos."""

import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from src.errors import UnreadableVideoError, UserError
from src.frozen import fill
from src.frozen.data import FeatureData
from src.frozen.fill import Filler
from src.frozen.store import Store
from src.scores import Scores

from tests.conftest import write_video
from tests.frozen.made import PHASES, close, filled, leftovers, said, shards, tensors, unfilled, words
from tests.training_runs import train


def threads(data: list[FeatureData]) -> None:
    """Fill all at once."""
    errors: list[BaseException] = []

    def work(one: FeatureData) -> None:
        try:
            one.fill(PHASES, Console(quiet=True))
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=work, args=(one,)) for one in data]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert errors == []


def test_several_at_once_share_the_work(
    videos: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    original = Store.save

    def save(store: Store, identity: str, maps: Any) -> None:
        computed.append(store.path(identity))
        original(store, identity, maps)

    monkeypatch.setattr(Store, "save", save)
    monkeypatch.setattr(fill, "WAIT_S", 0.01)
    folder = tmp_path / "features"
    threads([unfilled(words(videos, folder), rank, 3)[0] for rank in range(3)])
    assert shards(folder) == shards(kept)
    assert leftovers(folder) == []
    assert len(computed) == len(set(computed)) == len(shards(kept))


def test_ranks_begin_at_different_places(videos: Path, tmp_path: Path) -> None:
    whole = unfilled(words(videos, tmp_path))[0].filler.missing(PHASES)[0]
    for rank in range(3):
        tasks, _ = unfilled(words(videos, tmp_path), rank, 3)[0].filler.missing(PHASES)
        assert sorted(tasks) == sorted(whole) and tasks[0] == whole[4 * rank]


def test_what_another_is_computing_is_waited_for(
    videos: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "WAIT_S", 0.01)
    data, _ = unfilled(words(videos, tmp_path))
    store = data.filler.stores["val"]
    identity = store.identity(data.videos["val"][0])
    text: list[str] = []
    with store.claim(identity) as taken:
        assert taken
        thread = threading.Thread(target=lambda: text.append(said(data)))
        thread.start()
        while len(shards(tmp_path)) < len(shards(kept)) - 1:
            assert thread.is_alive()
        thread.join(0.1)
        assert thread.is_alive() and not store.has(identity)
        (store.path(identity)).write_bytes((kept / store.path(identity).relative_to(tmp_path)).read_bytes())
    thread.join()
    assert "features: waiting for another process, which computes 1 videos" in text[0]
    assert shards(tmp_path) == shards(kept) and leftovers(tmp_path) == []


def test_a_lock_whose_file_was_removed_keeps_nobody_out_and_lets_nobody_in(tmp_path: Path, videos: Path) -> None:
    data, _ = unfilled(words(videos, tmp_path))
    store = data.filler.stores["val"]
    with store.claim("ab" + "0" * 30) as first, store.claim("ab" + "0" * 30) as second:
        assert first and not second
        (lock,) = tmp_path.rglob("*.lock")
        lock.unlink()
        with store.claim("ab" + "0" * 30) as third:
            assert third


def test_what_a_killed_process_has_left_is_removed(data: FeatureData, kept: Path, tmp_path: Path) -> None:
    stores = data.filler.stores
    path = stores["test"].path(stores["test"].identity(data.videos["test"][0]))
    path.unlink()
    for left in (f".{path.stem}.lock", f".{path.stem}.1.abcdefgh.unfinished.safetensors"):
        path.with_name(left).write_bytes(b"x")
    done = stores["val"].path(stores["val"].identity(data.videos["val"][0]))
    done.with_name(f".{done.stem}.lock").write_bytes(b"")  # killed between its last two steps
    (stores["val"].folder / f".description.{2**22 + 1}.abcdefgh.unfinished.json").write_bytes(b"{")
    with stores["train"].claim("ab" + "0" * 30):  # of one that lives
        writing = stores["train"].path("ab" + "0" * 30).with_name(f".{'0' * 30}.1.abcdefgh.unfinished.safetensors")
        writing.write_bytes(b"half")
        said(data)
        assert sorted(leftovers(tmp_path)) == sorted([writing.name, f".{'0' * 30}.lock"])
    assert shards(tmp_path / "features") == shards(kept)


@pytest.fixture
def data(videos: Path, kept: Path, tmp_path: Path) -> FeatureData:
    shutil.copytree(kept, tmp_path / "features")
    return unfilled(words(videos, tmp_path / "features"))[0]


def test_a_video_that_is_replaced_while_it_is_decoded_is_taken_as_it_is_now(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "videos"
    shutil.copytree(videos, root)
    new = write_video(tmp_path / "new.mp4", 14, seed=999)
    original = Filler._compute
    place = root / "val" / "jump" / "0.mp4"

    def compute(filler: Filler, *arguments: Any) -> Any:
        made = original(filler, *arguments)
        if new.exists():
            new.rename(place)
        return made

    monkeypatch.setattr(Filler, "_compute", compute)
    data, _ = unfilled(words(root, tmp_path / "features"))
    data.filler.data.videos["val"] = [video for video in data.videos["val"] if video.path == str(place)]
    said(data, ["val"])
    undisturbed = filled(words(root, tmp_path / "other"), ["val"])
    assert torch.equal(tensors(data)["val val/jump/0.mp4"][0], tensors(undisturbed)["val val/jump/0.mp4"][0])
    assert len(shards(tmp_path / "features")) == 1 and leftovers(tmp_path) == []


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_workers_change_nothing(workers: int, videos: Path, kept: Path, tmp_path: Path) -> None:
    filled(words(videos, tmp_path, f"data.workers={workers}"))
    assert shards(tmp_path) == shards(kept) and leftovers(tmp_path) == []


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_videos_with_very_many_views(workers: int, videos: Path, kept: Path, tmp_path: Path) -> None:
    many = filled(words(videos, tmp_path, "test.view_batch=1", f"data.workers={workers}"), ["test"])
    assert max(len(maps[0]) for maps in tensors(many).values()) > fill.PORTIONS
    shutil.copytree(kept, tmp_path / "kept")
    usual = tensors(filled(words(videos, tmp_path / "kept"), ["test"]))
    for name, maps in tensors(many).items():
        assert close(maps[0], usual[name][0])


def test_videos_that_are_shorter_than_a_clip(videos: Path, tmp_path: Path) -> None:
    data = filled(words(videos, tmp_path, "model.clip.frames=48"))
    assert {len(maps[0]) for name, maps in tensors(data).items() if name.startswith("test")} == {1}
    assert {len(maps[0]) for name, maps in tensors(data).items() if name.startswith("train")} == {4}


# Videos that cannot be read


def broken(videos: Path, root: Path, *phases: str) -> Path:
    """The videos, of which one in each of these phases is none."""
    shutil.copytree(videos, root)
    for phase in phases:
        (root / phase / "run" / "0.mp4").write_text(f"no video of {phase}")
    return root


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("phase", PHASES)
def test_an_unreadable_video_is_named(phase: str, workers: int, videos: Path, tmp_path: Path) -> None:
    root = broken(videos, tmp_path / "videos", phase)
    own = words(root, tmp_path / "features", f"data.workers={workers}")
    data, _ = unfilled(own)
    advice = r"or leave such files out with data\.on_error=skip"
    with pytest.raises(UnreadableVideoError, match=rf"{phase}/run/0\.mp4: cannot be read .*, {advice}"):
        said(data, [phase])
    assert leftovers(tmp_path / "features") == []


@pytest.mark.parametrize("cache", ["true", "false"])
def test_skipped_videos_are_told_as_on_clips(
    cache: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken(videos, tmp_path / "videos", *PHASES)
    (root / "train" / "jump" / "1.mp4").unlink()
    write_video(root / "train" / "jump" / "1.mp4", 8, size=(8, 2))  # too small to crop
    own = words(root, tmp_path / "features", "data.on_error=skip", f"features.cache={cache}", "features.clips=2")
    folder, results = train(own, tmp_path / "run")
    assert [len(results.unreadable[phase]) for phase in PHASES] == [2, 1, 1]
    assert [line for line in results.unreadable["train"] if "8x2 pixels are too small for a crop of 32; remove" in line]
    assert all(str(root) in line and "\n" not in line for lines in results.unreadable.values() for line in lines)
    assert results.tested == 3 and "test/run/0.mp4" not in Scores.load(folder.scores).videos
    assert ("left out: " in capsys.readouterr().out) == (cache == "true")


def test_runs_without_any_readable_video_of_a_phase(videos: Path, tmp_path: Path) -> None:
    root = tmp_path / "videos"
    shutil.copytree(videos, root)
    for path in root.glob("test/*/*.mp4"):
        path.write_bytes(b"none")
    own = words(root, tmp_path / "features", "data.on_error=skip", "recipe.epochs=1", "data.allow_overlap=true")
    with pytest.raises(UserError, match=r"none of the 4 test videos can be read \(.*mp4.*\); replace them"):
        train(own, tmp_path / "run")
    data = filled([*own, "test.crops=3"])
    assert len(data.phases["test"].unreadable) == 4
    (batch,) = list(data.test_dataloader())
    assert len(batch["label"]) == 0 and len(batch["unreadable"]) == 4


def test_a_training_batch_without_any_readable_video(videos: Path, tmp_path: Path) -> None:
    data = filled(words(broken(videos, tmp_path / "v", "val"), tmp_path / "f", "data.on_error=skip"), ["val"])
    batch = data.phases["val"][(0, 1)]
    (error,) = data.phases["val"].unreadable.values()
    assert batch["unreadable"] == [error] and batch["label"].tolist() == [-100] and batch["video_id"].tolist() == [-1]
    assert batch["maps"][0].shape[1:] == (1, *data.filler.stores["val"].shapes[0])


def test_a_video_that_has_gone_is_named(videos: Path, tmp_path: Path) -> None:
    root = tmp_path / "videos"
    shutil.copytree(videos, root)
    data, _ = unfilled(words(root, tmp_path / "features"))
    (root / "val" / "run" / "0.mp4").unlink()
    with pytest.raises(UnreadableVideoError, match=r"0\.mp4: cannot be read as a video \(No such file or directory\)"):
        said(data)


# Cut off


def test_filling_that_is_cut_off_anywhere_goes_on(
    videos: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Store.save
    left = 0

    def save(store: Store, identity: str, maps: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        original(store, identity, maps)

    monkeypatch.setattr(Store, "save", save)
    data, _ = unfilled(words(videos, tmp_path))
    rng = random.Random(0)
    for _ in range(4):
        left = rng.randrange(1, 4)
        with pytest.raises(KeyboardInterrupt):
            said(data)
        assert leftovers(tmp_path) == []
    left = 100
    said(data)
    assert shards(tmp_path) == shards(kept)
