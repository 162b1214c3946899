"""Features that are read give what the network gives on clips."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from src.data.dataset import drawn_number
from src.frozen.export import export
from src.scores import Scores

from tests.conftest import write_video
from tests.frozen.made import close, filled, tensors, unfilled, words
from tests.tiny import SMALL, networks
from tests.training_runs import TIMES, train

POOLINGS = ("bert_late_fusion", "bert_early_fusion", "nonlocal_concat_fc")  # the last reads maps


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("model", networks())
def test_logits_are_those_of_clips(model: str, pooling: str, videos: Path, tmp_path: Path) -> None:
    size = [f"model={model}", *SMALL.get(model, []), "model.clip.frames=16", "reduction=none"]
    data, recognizer = unfilled([*words(videos, tmp_path), *size, f"pooling={pooling}"])
    data.fill(["val"], quiet())
    recognizer.eval()
    assert data.phases["val"].store.tokens == recognizer.tokens == (pooling != "nonlocal_concat_fc")
    for kept, clips in zip(data.val_dataloader(), data.clips.val_dataloader(), strict=True):
        assert kept["label"].tolist() == clips["label"].tolist()
        assert kept["video_id"].tolist() == clips["video_id"].tolist()
        with torch.no_grad():
            maps = [one.flatten(0, 1) for one in kept["maps"]]
            assert len(maps) == (2 if model == "slowfast" else 1)
            assert close(recognizer.classify(maps), recognizer(clips["clip"].flatten(0, 1)))


@pytest.mark.parametrize("recipe", [(), ("recipe.repeats=2", "recipe.sampling=balanced")])
def test_an_epoch_takes_the_clips_of_the_run_on_clips(recipe: tuple[str, ...], videos: Path, tmp_path: Path) -> None:
    """Order, start, crop and flip of every draw, in several epochs."""
    data, recognizer = unfilled(words(videos, tmp_path, "features.clips=3", *recipe))
    data.fill(["train"], quiet())
    seen = set()
    for epoch in range(4):
        kept, clips = data.train_dataloader(), data.clips.train_dataloader()
        kept.sampler.set_epoch(epoch)
        clips.sampler.set_epoch(epoch)
        for one, other in zip(kept, clips, strict=True):
            assert one["video_id"].tolist() == other["video_id"].tolist()
            expected = recognizer.eval().trunk(other["clip"].flatten(0, 1))[0]
            assert close(one["maps"][0].flatten(0, 1), expected)
        seen |= {(p, drawn_number(0, (epoch, p), 3)) for p in range(6)}
    assert len({number for _, number in seen}) == 3  # epochs take different ones


def test_mirrored_draws_have_the_label_of_what_they_show(tmp_path: Path) -> None:
    for label, name in enumerate(("left", "right", "step right")):
        for split, count in (("train", 2), ("test", 1)):
            for i in range(count):
                write_video(tmp_path / split / name / f"{i}.mp4", 8, seed=50 * label + 10 * i + count, bf="0")
    own = ["data.flip_labels=auto", "protocol=paper", "features.clips=3"]
    data, recognizer = unfilled(words(tmp_path, tmp_path / "kept", *own))
    data.fill(["train"], quiet())
    seen = set()
    for epoch in range(8):
        kept, clips = data.train_dataloader(), data.clips.train_dataloader()
        kept.sampler.set_epoch(epoch)
        clips.sampler.set_epoch(epoch)
        for one, other in zip(kept, clips, strict=True):
            assert one["label"].tolist() == other["label"].tolist()
            expected = recognizer.eval().trunk(other["clip"].flatten(0, 1))[0]
            assert close(one["maps"][0].flatten(0, 1), expected)
            seen |= set(zip(one["video_id"].tolist(), one["label"].tolist(), strict=True))
    shown = {position: {label for video, label in seen if video == position} for position in range(6)}
    assert [video.label for video in data.videos["train"]] == [0, 0, 1, 1, 2, 2]
    assert {0, 1} in shown.values() and shown[4] == shown[5] == {2}  # the last has no counterpart
    export(data, tmp_path / "exported")
    lines = list(csv.DictReader((tmp_path / "exported" / "index.csv").open()))
    assert {(int(line["label"]), line["class"]) for line in lines} == {(0, "left"), (1, "right"), (2, "step right")}
    for line in lines:
        position = [video.name for video in data.videos["train"]].index(line["video"])
        assert int(line["label"]) == data.phases["train"].clips.drawn_label(position, int(line["view"]))


def test_ten_crops_of_kept_features_are_exchanged_like_those_of_clips(tmp_path: Path) -> None:
    for label, name in enumerate(("left", "right")):
        for split, count in (("train", 2), ("test", 2)):
            for i in range(count):
                write_video(
                    tmp_path / "videos" / split / name / f"{i}.mp4", 8, seed=50 * label + 10 * i + len(split), bf="0"
                )
    own = words(tmp_path / "videos", tmp_path / "kept", "data.flip_labels=auto", "protocol=paper", "test.crops=10")
    kept, clips = (train([*own, f"features.cache={cache}"], tmp_path / cache) for cache in ("true", "false"))
    one, other = (Scores.load(run[0].scores) for run in (kept, clips))
    assert np.allclose(one.scores, other.scores, rtol=1e-4, atol=1e-4 * abs(other.scores).max())


def test_the_number_of_clips_adds_draws_and_changes_none(videos: Path, tmp_path: Path) -> None:
    few, many = (filled(words(videos, tmp_path, f"features.clips={n}"), ["train"]) for n in (2, 5))
    assert few.filler.stores["train"].folder != many.filler.stores["train"].folder
    for name, maps in tensors(many).items():
        assert maps[0].shape[0] == 5
        assert close(tensors(few)[name][0], maps[0][:2])
        assert len({one.sum().item() for one in maps[0]}) > 1


def test_the_test_takes_every_view(videos: Path, tmp_path: Path) -> None:
    data, recognizer = unfilled(words(videos, tmp_path, "test.crops=10"))
    data.fill(["test"], quiet())
    kept = {}
    for batch in data.test_dataloader():
        kept |= dict(zip(batch["video_id"].tolist(), batch["maps"][0], strict=True))
    frames = {"test/run/0.mp4": 20, "test/run/1.mp4": 34, "test/jump/0.mp4": 27, "test/jump/1.mp4": 41}
    for i, video in enumerate(data.videos["test"]):
        views = torch.cat([part[0] for part in data.clips.views(video)])
        assert len(kept[i]) == len(views) == 10 * (frames[video.name] // 8)
        assert close(kept[i], recognizer.eval().trunk(views)[0])


@pytest.mark.parametrize("pooling", ["bert", pytest.param("nonlocal_concat_fc", marks=pytest.mark.slow)])
def test_a_run_is_the_same_with_and_without_a_cache(pooling: str, videos: Path, tmp_path: Path) -> None:
    own = words(videos, tmp_path / "features", f"pooling={pooling}", "recipe.epochs=3")
    kept, clips = (train([*own, f"features.cache={cache}"], tmp_path / cache) for cache in ("true", "false"))
    assert kept[1].identity == clips[1].identity
    curves = kept[0].curves()
    assert {"val/loss", "val/top1", "lr"} < curves.keys()
    for name in curves.keys() - set(TIMES):
        one, other = curves[name], clips[0].curves()[name]
        assert one.keys() == other.keys() and one
        assert np.allclose(list(one.values()), list(other.values()), rtol=1e-4, atol=1e-5), name
    first, second = Scores.load(kept[0].scores), Scores.load(clips[0].scores)
    assert first.videos == second.videos and (first.views == second.views).all()
    assert np.allclose(first.scores, second.scores, rtol=1e-4, atol=1e-4 * abs(second.scores).max())
    assert kept[1].seconds.keys() - clips[1].seconds.keys() == {"features"}


def test_half_precision_is_half_the_size_and_nearly_the_same(videos: Path, tmp_path: Path) -> None:
    own = words(videos, tmp_path / "features", "pooling=bert")
    runs = [train([*own, f"features.dtype={dtype}"], tmp_path / dtype) for dtype in ("float32", "float16")]
    assert runs[0][1].identity != runs[1][1].identity
    one, half = (Scores.load(folder.scores).scores for folder, _ in runs)
    assert np.abs(one - half).max() < 0.02 * np.abs(one).max()
    sizes = sorted({path.stat().st_size // 1000 for path in (tmp_path / "features").rglob("*.safetensors")})
    assert sizes[0] < sizes[-1] * 0.6


@pytest.mark.parametrize("precision", ["bf16-mixed", pytest.param("16-mixed", marks=pytest.mark.slow)])
def test_the_precision_of_the_backbone(precision: str, videos: Path, tmp_path: Path) -> None:
    exact, rough = (filled(words(videos, tmp_path, f"features.precision={p}"), ["val"]) for p in ("32-true", precision))
    assert exact.filler.stores["val"].folder != rough.filler.stores["val"].folder
    for name, maps in tensors(rough).items():
        assert maps[0].dtype == torch.float32
        assert not torch.equal(maps[0], tensors(exact)[name][0])
        assert close(maps[0], tensors(exact)[name][0], 0.05)


def quiet():
    from rich.console import Console

    return Console(quiet=True)
