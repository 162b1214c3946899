from dataclasses import replace

import numpy as np
import pytest
import torch
from src.batch import IGNORE, views_of
from src.config import ClipSpec
from src.data import pixels, sampling, transforms
from src.data.annotations import Video
from src.data.dataset import Clips, Source, TestViews
from src.data.decode import open_video
from src.data.folder import folder
from src.data.pixels import Box
from src.data.sampler import ClipSampler
from src.errors import UnreadableVideoError, UserError
from torchvision.io import write_jpeg

from tests.tiny import SCALES, video_data

SPEC = ClipSpec(8, 1, 32, (64, 48), False)


@pytest.fixture(scope="module")
def lists(tree):
    return folder(str(tree))


@pytest.fixture
def broken(lists, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    return Video(str(tmp_path / "broken.mp4"), 0, "broken", "broken.mp4")


def with_test(lists, videos):
    return type(lists)(**{**vars(lists), "train": videos, "val": videos, "test": videos})


def clips(lists, seed=0):
    return Clips(lists.train, Source(SPEC), True, seed, True, SCALES)


def same(a, b):
    return len(a) == len(b) and all(
        torch.equal(x["clip"], y["clip"]) and torch.equal(x["video_id"], y["video_id"])
        for x, y in zip(a, b, strict=True)
    )


def test_workers_change_nothing(lists):
    batches = []
    for workers in (0, 2):
        data = video_data(lists, SPEC, batch_size=4, workers=workers, seed=7)
        loader = data.train_dataloader()
        loader.sampler.set_epoch(3)
        batches.append(list(loader))
    assert same(*batches)
    assert batches[0][0]["clip"].shape == (4, 1, 3, 8, 32, 32) and batches[0][0]["clip"].dtype == torch.uint8


def test_epochs_and_seeds_differ(lists):
    def clip(seed, epoch):
        return clips(lists, seed)[epoch, 2].clip

    assert torch.equal(clip(0, 0), clip(0, 0))
    assert not torch.equal(clip(0, 0), clip(0, 1)) and not torch.equal(clip(0, 0), clip(1, 0))


def test_ranks_share_one_permutation():
    whole = [place.position for place in ClipSampler(11, seed=5)]
    assert sorted(whole) == list(range(11))
    shares = [[place.position for place in ClipSampler(11, 5, True, rank, 3)] for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    merged = [shares[i % 3][i // 3] for i in range(12)]
    assert merged[:11] == whole and merged[11] == whole[0]
    tiny = [list(ClipSampler(2, 0, False, rank, 5)) for rank in range(5)]
    assert [len(share) for share in tiny] == [1] * 5


@pytest.mark.parametrize("crops", [1, 3, 10])
def test_stream_gives_every_view_of_every_video_once(lists, crops):
    stream = list(TestViews(lists.train, Source(SPEC), crops=crops, view_batch=4))
    views = {i: [] for i in range(len(lists.train))}
    for batch in stream:
        n, v = views_of(batch).shape[:2]
        assert v <= 4 and n * v <= 4
        for row, index, label in zip(views_of(batch), batch["video_id"].tolist(), batch["label"].tolist(), strict=True):
            assert label == lists.train[index].label
            views[index] += list(row)
    for index, video in enumerate(lists.train):
        with open_video(video.path, "pyav") as reader:
            windows = transforms.crops_for_testing((64, 48), 32, crops)
            size = (32, 32) if crops == 1 else (64, 48 if crops == 10 else 32)
            left, top = ((64 - size[0]) // 2, (48 - size[1]) // 2)
            expected = []
            for clip in sampling.consecutive_clips(len(reader), 8, 1):
                box = Box(left, top, left + size[0], top + size[1])
                frames = torch.from_numpy(reader.cut(clip.tolist(), box, size))
                for window in windows:
                    rows = slice(window.top - top, window.top - top + 32)
                    columns = slice(window.left - left, window.left - left + 32)
                    view = frames[..., rows, columns]
                    expected.append(view.flip(-1) if window.flip else view)
        assert torch.equal(torch.stack(views[index]), torch.stack(expected))


def test_crops_of_a_clip_travel_as_the_frames_that_they_are_parts_of(lists):
    for batch in TestViews(lists.train[-1:], Source(SPEC), crops=10, view_batch=16):
        clips, views = len(batch["clip"][0]), batch["crops"].shape[1]
        assert batch["clip"].shape[2:] == (3, 8, 48, 64) and clips == -(-views // 10) < views
        assert views_of(batch).shape == (1, views, 3, 8, 32, 32)
    (batch,) = TestViews(lists.train[-1:], Source(SPEC), clips=1, view_batch=16)
    assert "crops" not in batch and views_of(batch) is batch["clip"]


def test_ranks_and_workers_share_the_test_videos(lists):
    seen = []
    for rank in range(2):
        data = video_data(lists, SPEC, workers=2)
        data.videos["test"] = lists.train
        data.rank = lambda rank=rank: {"rank": rank, "world": 2}
        for batch in data.test_dataloader():
            seen += [(i, batch["clip"].shape[1]) for i in batch["video_id"].tolist()]
    assert {i for i, _ in seen} == set(range(len(lists.train)))
    total = sum(sum(b["clip"].shape[:2].numel() for b in [x]) for x in TestViews(lists.train, Source(SPEC)))
    assert sum(v for _, v in seen) == total


def test_clips_can_be_limited(lists):
    for batch in TestViews(lists.train, Source(SPEC), clips=1):
        assert batch["clip"].shape[1] == 1 and len(batch["clip"]) <= 8  # packed


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("phase", ["train", "val", "test"])
def test_unreadable_video_reaches_the_main_process_as_itself(lists, broken, workers, phase):
    data = video_data(with_test(lists, [*lists.train[:2], broken]), SPEC, workers=workers)
    with pytest.raises(UnreadableVideoError, match=r"broken\.mp4: cannot be read") as caught:
        list(getattr(data, f"{phase}_dataloader")())
    assert "\n" not in str(caught.value)


def test_unreadable_videos_are_skipped_and_named(lists, broken):
    data = video_data(with_test(lists, [*lists.train[:2], broken]), SPEC, workers=0, on_error="skip")
    for phase in ("train", "val", "test"):
        batches = list(getattr(data, f"{phase}_dataloader")())
        assert {i for b in batches for i in b["video_id"].tolist()} == {0, 1}
        assert [m for b in batches for m in b.get("unreadable", [])] == [
            str(UnreadableVideoError(broken.path, "Invalid data found when processing input"))
        ]


def test_a_batch_without_a_readable_video(lists, broken):
    data = video_data(with_test(lists, [broken]), SPEC, workers=0, on_error="skip")
    (batch,) = data.train_dataloader()
    assert batch["label"].tolist() == [IGNORE] and batch["clip"].shape == (1, 1, 3, 8, 32, 32)
    (batch,) = data.test_dataloader()
    assert batch["clip"].shape == (0, 1, 3, 8, 32, 32) and len(batch["unreadable"]) == 1


def test_small_portions_give_the_same_clip(lists, monkeypatch):
    with open_video(lists.train[3].path) as reader:
        read, box = reader.frames, Box(3, 5, 50, 40)
        whole = pixels.resized_in_portions(read, range(8), box, (32, 32))
        monkeypatch.setattr(pixels, "CHUNK", 3 * 64 * 48 * 3)
        assert np.array_equal(pixels.resized_in_portions(read, range(8), box, (32, 32)), whole)
        assert np.array_equal(pixels.resized(read(range(8)), box, (32, 32)), whole)


def test_too_small_to_crop_names_the_file(lists):
    data = video_data(lists, ClipSpec(8, 1, 400, (500, 500), False), workers=0)
    with pytest.raises(UserError, match=r"clip \d\.mp4: 64x48 pixels are too small for a crop of 400"):
        list(data.val_dataloader())


def test_protocols(lists):
    paper = video_data(lists, SPEC, protocol="paper")
    assert paper.videos == {"train": lists.train, "val": lists.test, "test": lists.test}
    holdout = video_data(lists, SPEC, holdout_fraction=0.3).videos
    assert holdout["val"] and not {v.name for v in holdout["val"]} & {v.name for v in lists.test}
    assert sorted(v.name for v in holdout["val"] + holdout["train"]) == sorted(v.name for v in lists.train)


def test_one_video_to_look_at(lists):
    data = video_data(lists, SPEC, crops=3, view_batch=2)
    video = lists.test[0]
    assert data.frames(video).shape == (8, 32, 32, 3)
    views = list(data.views(video))
    assert all(v.shape[0] == 1 and v.shape[1] <= 2 for v in views)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"holdout_fraction": None}, "protocol holdout needs a fraction"),
        ({"clip": ClipSpec(8, 1, 64, (64, 48), False)}, "crop of 64 does not fit in frames of 64x48"),
    ],
)
def test_wrong_arguments(lists, wrong, message):
    with pytest.raises(UserError, match=message):
        video_data(**{"lists": lists, "clip": SPEC, **wrong})


@pytest.mark.parametrize("view_batch", [1, 4, 5])
def test_workers_change_no_test_batch(lists, view_batch):
    """Which videos share a batch decides a network's last digits."""
    batches = []
    for workers in (0, 1, 2):
        data = video_data(with_test(lists, lists.train), SPEC, workers=workers, view_batch=view_batch)
        loaded = [(batch["video_id"].tolist(), batch["clip"]) for batch in data.test_dataloader()]
        batches.append(sorted(loaded, key=lambda batch: batch[0]))
    for other in batches[1:]:
        assert [ids for ids, _ in other] == [ids for ids, _ in batches[0]]
        for (_, clip), (_, same_clip) in zip(other, batches[0], strict=True):
            assert torch.equal(clip, same_clip)


def test_segments_and_frame_rates_reach_the_pixels(lists):
    video = lists.train[0]
    with open_video(video.path) as reader:
        frames, rate = len(reader), reader.fps
    for spec in (replace(SPEC, sampling="segments"), replace(SPEC, fps=rate / 1.5)):
        source = Source(spec)
        indices = sampling.validation_clip(frames, rate, spec)
        assert len(set(np.diff(indices).tolist())) > 1  # no clip of one stride
        expected = source_pixels(video, indices, source)
        assert torch.equal(Clips([video], source, False, 0, False, (1,))[0, 0].clip[0], expected)
        (views,) = TestViews([video], source, clips=1)
        (tested,) = sampling.testing_clips(frames, rate, spec, 1)
        assert torch.equal(views["clip"][0, 0], source_pixels(video, tested, source))
        drawn = [Clips([video], source, True, 0, False, (1,))[epoch, 0].clip for epoch in range(4)]
        assert not all(torch.equal(drawn[0], other) for other in drawn[1:])


def source_pixels(video, indices, source):
    with open_video(video.path, in_order=True) as reader:
        size = transforms.virtual_size(reader.size, source.clip)
        cutting = transforms.cutting([transforms.centre_crop(size, source.clip.crop)], reader.size, source.clip)
        return torch.from_numpy(reader.cut(indices.tolist(), cutting.box, cutting.size))


def test_a_target_rate_is_refused_where_pictures_do_not_say_theirs(tmp_path):
    for i in range(1, 10):
        write_jpeg(torch.zeros(3, 48, 64, dtype=torch.uint8), str(tmp_path / f"img_{i:05d}.jpg"))
    video = Video(str(tmp_path), 0, "a", "a")
    item = Clips([video], Source(replace(SPEC, fps=25.0)), False, 0, False, (1,))[0, 0]
    assert "its frame rate is not known" in str(item.error) and "model.clip.fps=null" in str(item.error)
    assert Clips([video], Source(SPEC), False, 0, False, (1,))[0, 0].error is None
