"""Classes that name sides: what a mirrored clip shows, in training, in ten crops, and where it must not be made."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from src.config import ClipSpec
from src.data import transforms
from src.data.annotations import Lists, Video
from src.data.dataset import Clips, Source, drawn
from src.data.folder import folder
from src.data.mirrored import NEVER, check_mirrored_views, mirror, names_sides, seen_directly
from src.errors import UserError
from src.prediction.many import logits_of

from tests.conftest import write_video
from tests.tiny import SCALES, video_data

SPEC = ClipSpec(4, 1, 32, (64, 48), False)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["Swiping Left", "Swiping Right", "Stop"], [1, 0, 2]),
        (["swipe_left", "swipe_right"], [1, 0]),
        (["SwipeLeft", "SwipeRight"], [1, 0]),
        (["LEFT", "right"], [1, 0]),
        (["left_right", "right_left", "up_down"], [1, 0, 2]),
        (["Pulling [something] from left to right", "Pulling [something] from right to left"], [1, 0]),
        (["Turning Hand Clockwise", "Turning Hand Counterclockwise"], [1, 0]),
        (["turn counter-clockwise", "turn clockwise"], [1, 0]),
        (["anti_clockwise", "clockwise"], [1, 0]),
        (["step left", "stop"], [NEVER, 1]),  # no counterpart
        (["putting upright", "leftovers", "brightness"], [0, 1, 2]),  # no sides
        (["swipe left", "SwipeLeft", "swipe right"], [NEVER, NEVER, NEVER]),  # which of the two is meant?
        (["Schwenk links", "Schwenk rechts"], [0, 1]),  # other languages: data.flip_labels=FILE
    ],
)
def test_counterparts_by_name(classes: list[str], expected: list[int]) -> None:
    assert mirror(classes, "auto") == tuple(expected)
    assert mirror(classes, "none") is None
    for one, other in enumerate(expected):
        assert other == NEVER or expected[other] == one  # twice mirrored is the same again


def test_pairs_by_name() -> None:
    assert names_sides(["right hook", "left hook", "jab"]) == [("right hook", "left hook")]


CLASSES = ["links", "rechts", "a, b", "c", "kick"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("links,rechts\n", [1, 0, 2, 3, 4]),
        ("rechts;links\n\nkick\n", [1, 0, 2, 3, NEVER]),
        ('"a, b",c\n', [0, 1, 3, 2, 4]),
        ("a, b\tc\n", [0, 1, 3, 2, 4]),
        ("a, b\n", [0, 1, NEVER, 3, 4]),
        ("c,c\n", [0, 1, 2, 3, 4]),
        ("", [0, 1, 2, 3, 4]),
    ],
)
def test_pairs_of_a_file(tmp_path: Path, text: str, expected: list[int]) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    assert mirror(CLASSES, "pairs.csv", tmp_path / "pairs.csv") == tuple(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("links,rechts\nlinks,kick\n", r"pairs.csv: lines 1 and 2 name links; keep one"),
        ("links,oben\n", r"pairs.csv line 1: links,oben is not `class,class` with classes of the data"),
        ("links,rechts,kick\n", r"line 1: links,rechts,kick is not"),
    ],
)
def test_pairs_that_cannot_be_meant(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        mirror(CLASSES, "pairs.csv", tmp_path / "pairs.csv")
    assert "\n" not in str(caught.value)


# Training


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Lists:
    root = tmp_path_factory.mktemp("sides")
    for i, name in enumerate(("left", "right", "stop", "turn right twice")):
        for copy in range(2):
            write_video(root / name / f"{copy}.mp4", frames=4, seed=10 * i + copy)
    return folder(str(root))


def test_a_mirrored_clip_has_the_label_of_what_it_shows(lists: Lists) -> None:
    found = mirror(lists.classes, "auto")
    assert found == (1, 0, 2, NEVER)
    clips = Clips(lists.train, Source(SPEC), True, 0, True, (1.0,), mirror=found)
    crops = every_crop()
    for index, video in enumerate(lists.train):
        with clips.source.open(video) as reader:
            views = [clips.source.views(reader, np.arange(4), [crop])[0] for crop in crops]
            images = [clips.source.views(reader, np.arange(4), [crop._replace(flip=True)])[0] for crop in crops]
        seen = set()
        for epoch in range(24):
            item = clips[epoch, index]
            flipped = not any(torch.equal(item.clip[0], view) for view in views)
            assert not flipped or any(torch.equal(item.clip[0], image) for image in images)
            assert item.label == (found[video.label] if flipped else video.label)
            seen.add(flipped)
        assert seen == ({False} if found[video.label] == NEVER else {False, True})


def every_crop() -> list[transforms.Crop]:
    crops = set()
    for seed in range(400):
        crops.add(transforms.multi_scale_crop((64, 48), 32, np.random.default_rng(seed), (1.0,), False))
    return sorted(crops)


def test_half_of_the_clips_are_mirrored_and_none_where_flips_are_off(lists: Lists) -> None:
    video = next(video for video in lists.train if lists.classes[video.label] == "left")
    found = mirror(lists.classes, "auto")
    clips = Clips([video], Source(SPEC), True, 0, True, SCALES, mirror=found)
    labels = [clips.label(video, [0, epoch, 0]) for epoch in range(400)]
    assert 160 < labels.count(1) < 240 and set(labels) == {0, 1}
    off = Clips([video], Source(SPEC), True, 0, False, SCALES, mirror=found)
    assert {off.label(video, [0, epoch, 0]) for epoch in range(50)} == {0}


def test_without_a_map_clips_are_what_they_were(lists: Lists) -> None:
    """Pixels of earlier runs stay."""
    plain = Clips(lists.train, Source(SPEC), True, 3, True, SCALES)
    rng = np.random.default_rng([3, 5, 1])
    video = lists.train[1]
    with plain.source.open(video) as reader:
        rng.integers(1)
        crop = transforms.multi_scale_crop((64, 48), 32, rng, SCALES, True)
        expected = plain.source.views(reader, np.arange(4), [crop])
    item = plain[5, 1]
    assert torch.equal(item.clip, expected) and item.label == video.label


def test_the_label_of_a_draw_is_known_without_its_video(lists: Lists) -> None:
    clips = Clips(lists.train, Source(SPEC), True, 0, True, SCALES, draws=6, mirror=mirror(lists.classes, "auto"))
    for index, video in enumerate(lists.train):
        views = clips.all_draws(index).clip
        for epoch in range(30):
            item, number = clips[epoch, index], clips.number((epoch, index))
            assert torch.equal(item.clip[0], views[number])
            assert item.label == clips.drawn_label(index, number) == clips.label(video, drawn(video, number))
    labels = {clips.drawn_label(0, number) for number in range(6)}
    gone = Clips([replace(lists.train[0], path="/gone")], clips.source, True, 0, True, SCALES, 6, clips.mirror)
    assert {gone.drawn_label(0, number) for number in range(6)} == labels


# Testing


def test_logits_of_mirrored_views_are_exchanged() -> None:
    logits = torch.arange(2 * 2 * 3.0).view(2, 2, 3)
    mirrored = torch.tensor([[False, True], [True, False]])
    direct = seen_directly(logits, mirrored, (1, 0, 2))
    assert direct.tolist() == [[[0, 1, 2], [4, 3, 5]], [[7, 6, 8], [9, 10, 11]]]
    deep = seen_directly(logits[:, :, None].expand(-1, -1, 4, -1), mirrored, (1, 0, 2))  # N V A K
    assert all(torch.equal(deep[:, :, a], direct) for a in range(4))
    assert seen_directly(logits, None, (1, 0, 2)) is logits and seen_directly(logits, mirrored, None) is logits


@pytest.mark.parametrize(("crops", "size"), [(10, 4), (10, 8), (10, 30), (3, 8), (1, 8)])
def test_views_of_testing_say_which_are_mirrored(lists: Lists, crops: int, size: int) -> None:
    video = replace(lists.test[0] if lists.test else lists.train[0])
    spec = replace(SPEC, frames=2)  # two clips a video
    data = video_data(lists, spec, crops=crops, view_batch=size, protocol="paper")
    given: list[bool] = []
    for item in data.test_views().video(video):
        if crops == 10:
            given += item.mirrored.tolist()
        else:
            assert item.mirrored is None
    assert given == ([False] * 5 + [True] * 5) * 2 * (crops == 10)
    batches = list(data.test_views())
    assert all(("mirrored" in batch) == (crops == 10) for batch in batches)
    for batch in batches if crops == 10 else []:
        assert torch.equal(batch["mirrored"], batch["crops"][..., 4].bool())


def test_ten_crops_are_refused_where_a_class_has_no_mirror_image(lists: Lists) -> None:
    found = mirror(lists.classes, "auto")
    with pytest.raises(UserError, match=r"test.crops=10 .*, and turn right twice have no mirror image"):
        video_data(lists, SPEC, crops=10, mirror=found, protocol="paper")
    video_data(lists, SPEC, crops=3, mirror=found, protocol="paper")
    check_mirrored_views(["left", "right"], (1, 0), 10)
    check_mirrored_views(lists.classes, None, 10)


def test_a_network_that_reads_sides_gains_from_ten_crops_of_both_directions(lists: Lists) -> None:
    """A perfect network answers every view with what it shows: exchanged, all views of a video agree."""
    found = (1, 0, 2)
    for video in (Video("", label, "", "") for label in range(3)):
        mirrored = transforms.mirrored_views(0, 20, 10)[None]
        shown = [found[video.label] if flip else video.label for flip in mirrored[0].tolist()]
        logits = torch.nn.functional.one_hot(torch.tensor(shown), 3).float()[None]
        assert torch.equal(seen_directly(logits, mirrored, found).mean(1)[0].argmax(), torch.tensor(video.label))


def test_predict_exchanges_the_logits_of_mirrored_views() -> None:
    cpu = torch.device("cpu")
    network = SimpleNamespace(device=cpu, recognizer=lambda clips: clips[:, 0, 0, 0, :2].float(), mirror=(1, 0))
    clips = torch.arange(2, dtype=torch.uint8).expand(1, 2, 3, 4, 2, 2)  # each view gives the logits 0, 1
    assert logits_of(network, clips, torch.tensor([[False, True]])).tolist() == [[[0, 1], [1, 0]]]
    assert logits_of(network, clips).tolist() == [[[0, 1], [0, 1]]]
