"""Balanced epochs, class weights, and videos that come several times in a batch."""

from collections import Counter

import numpy as np
import pytest
import torch
from src.data.balance import balanced_order, class_weights
from src.data.dataset import Clips, drawn_number
from src.data.sampler import ClipSampler, Place

from tests.data.test_dataset import SPEC, Source
from tests.data.test_dataset import lists as lists  # a fixture
from tests.tiny import video_data

LABELS = [0] * 7 + [1] * 2 + [3] * 4  # no video of class 2


@pytest.mark.parametrize("epoch", range(5))
def test_a_balanced_epoch_shows_every_class_equally_often(epoch: int) -> None:
    places = list(sampler(epoch, balance=LABELS))
    assert len(places) == len(LABELS)
    counts = Counter(LABELS[place.position] for place in places)
    assert sorted(counts.values()) == [4, 4, 5] and set(counts) == {0, 1, 3}
    for label in counts:
        each = Counter(place.position for place in places if LABELS[place.position] == label)
        members = LABELS.count(label)
        assert {counts[label] // members, -(-counts[label] // members)} >= set(each.values())
    assert len(set(places)) == len(places)  # a video that comes again is another clip of it


def sampler(epoch: int, rank: int = 0, world: int = 1, **options) -> ClipSampler:
    made = ClipSampler(len(LABELS), 5, True, rank, world, **options)
    made.set_epoch(epoch)
    return made


def test_which_class_has_one_more_and_which_videos_come_changes_with_the_epoch() -> None:
    epochs = [list(balanced_order(LABELS, np.random.default_rng(seed))) for seed in range(40)]
    counts = [Counter(LABELS[i] for i in epoch) for epoch in epochs]
    assert {max(count, key=count.__getitem__) for count in counts} == {0, 1, 3}
    assert {i for epoch in epochs for i in epoch} == set(range(len(LABELS)))


@pytest.mark.parametrize("options", [{}, {"balance": LABELS}, {"repeats": 2, "batch": 6, "balance": LABELS}])
def test_ranks_share_the_epoch_that_one_process_has(options: dict) -> None:
    whole = Counter(sampler(3, **options))
    shares = [list(sampler(3, rank, 2, **options)) for rank in range(2)]
    assert len(shares[0]) == len(shares[1]) == len(sampler(3, 0, 2, **options)) == 7 * options.get("repeats", 1)
    assert set(shares[0] + shares[1]) == set(whole)


@pytest.mark.parametrize("balance", [None, LABELS])
def test_a_video_comes_so_often_in_its_batch_and_in_another_clip_each_time(balance: list[int] | None) -> None:
    places = list(sampler(1, balance=balance, repeats=3, batch=12))
    assert len(places) == 3 * len(LABELS) == len(set(places)) == len(sampler(1, balance=balance, repeats=3, batch=12))
    for start in range(0, len(places), 12):
        batch = places[start : start + 12]
        videos = Counter(place.position for place in batch)
        assert all(number % 3 == 0 for number in videos.values()) and len(set(batch)) == len(batch)
        if balance is None and len(videos) > 1:
            for one, other in zip(batch, batch[1:] + batch[:1], strict=True):  # which MixUp mixes
                assert one.position != other.position
    once = list(sampler(1, balance=balance))
    firsts = [p._replace(repetition=p.repetition // 3) for p in places if p.repetition % 3 == 0]
    assert firsts == once


def test_repeats_in_a_batch_are_other_clips_of_the_same_videos(lists) -> None:
    data = video_data(lists, SPEC, batch_size=4, repeats=2)
    for batch in data.train_dataloader():
        ids = batch["video_id"].tolist()
        half = len(ids) // 2
        assert ids[:half] == ids[half:]
        assert not torch.equal(batch["clip"][:half], batch["clip"][half:])


def test_without_repetition_the_draw_is_as_it_was(lists) -> None:
    clips = Clips(lists.train, Source(SPEC), True, 3, True, (1.0, 0.75))
    assert torch.equal(clips[2, 1].clip, clips[Place(2, 1, 0)].clip)
    first = np.random.default_rng([3, 2, 1]).integers(1 << 30, size=4)
    assert first.tolist() == np.random.default_rng([3, 2, 1, 0]).integers(1 << 30, size=4).tolist()


def test_kept_clips_come_one_after_another() -> None:
    numbers = [drawn_number(0, (4, 2, repetition), 3) for repetition in range(6)]
    assert sorted(numbers[:3]) == [0, 1, 2] and numbers[:3] == numbers[3:]


def test_class_weights_are_the_inverse_of_what_an_epoch_shows() -> None:
    weights = class_weights(LABELS, 4, balanced=False)
    assert weights == pytest.approx([13 / (3 * 7), 13 / (3 * 2), 0, 13 / (3 * 4)])
    assert sum(weights[label] for label in LABELS) == pytest.approx(len(LABELS))
    assert class_weights(LABELS, 4, balanced=True) == [1, 1, 0, 1]
