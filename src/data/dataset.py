"""Videos as clips: a map-style data set for training and validation, a stream of views for testing.

A video is opened where it is read (in the worker) and closed again: decoders do not survive a fork. What is wrong
with a video travels to the main process as a value, because PyTorch rewrites exceptions that leave a worker.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from src.batch import IGNORE, Batch, cut, stacked
from src.config import ClipSpec
from src.data import sampling, transforms
from src.data.annotations import Video
from src.data.augmentation import Augmentation
from src.data.decode import Reader, open_video
from src.data.mirrored import NEVER, Mirror
from src.data.sampler import Place
from src.errors import UnreadableVideoError, UserError

FLIPS = 1  # behind the seed of a draw: that of its flip


@dataclass(frozen=True)
class Source:
    """How frames are read: the same for every phase."""

    clip: ClipSpec
    modality: str = "rgb"
    decoder: str = "pyav"

    @property
    def channels(self) -> int:
        return 2 if self.modality == "flow" else 3

    def open(self, video: Video) -> Reader:
        """Open a video that is large enough to crop.

        Raises:
            UserError: too small to crop; of unknown frame rate where one is asked for.
            UnreadableVideoError: cannot be opened.
        """
        reader = open_video(video.path, self.decoder, video.frames, self.modality, video.in_order)
        transforms.check_size(video.path, reader.size, self.clip)
        if self.clip.fps is not None and not reader.fps > 0:
            raise UserError(
                f"{video.path}: its frame rate is not known, as of frame folders and flow; leave model.clip.fps=null"
            )
        return reader

    def views(self, reader: Reader, indices: sampling.Indices, crops: Sequence[transforms.Crop]) -> Tensor:
        """One clip in several crops: V, C, T, H, W uint8. Frames are decoded and resized once."""
        cutting = transforms.cutting(crops, reader.size, self.clip)
        return cutting.views(reader.cut(indices.tolist(), cutting.box, cutting.size))

    def nothing(self) -> Tensor:
        """A black clip 1, C, T, H, W, where there must be one."""
        side = self.clip.crop
        return torch.zeros(1, self.channels, self.clip.frames, side, side, dtype=torch.uint8)


class Item(NamedTuple):
    """One clip, or what is wrong with its video. `clip` and `crops` are a row of a batch."""

    clip: Tensor | None  # V, C, T, H, W uint8; with crops K, C, T, H', W'
    label: int
    video_id: int
    error: UserError | None = None
    mirrored: Tensor | None = None  # V bool, where some views of testing are mirror images
    crops: Tensor | None = None  # V, 5

    @property
    def number(self) -> int:
        """Views; 0 of an error."""
        if self.clip is None:
            return 0
        return len(self.clip if self.crops is None else self.crops)

    @property
    def views(self) -> Tensor:
        """V, C, T, H, W uint8."""
        assert self.clip is not None
        return self.clip if self.crops is None else cut(self.clip, self.crops)


class Clips(Dataset[Item]):
    """One clip a video, addressed by a Place: random clip and crop in training, else the centre of both.

    Everything random follows from the seed and the place: any number of workers and ranks gives the same clips.

    draws: a training video has this many clips, the same for every seed, and each epoch takes one of them; None: every
        epoch draws another.
    mirror: class → the class that its mirrored clips show (src/data/mirrored.py); None: labels stay. With it,
        whether a clip is mirrored is drawn by itself: readers of kept features know its label without the video.
    augmentation: of training clips.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        source: Source,
        train: bool,
        seed: int,
        flip: bool,
        scales: Sequence[float],
        draws: int | None = None,
        mirror: Mirror | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.videos = list(videos)
        self.source = source
        self.train = train
        self.seed = seed
        self.flip = flip
        self.scales = tuple(scales)
        self.draws = draws
        self.mirror = mirror
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, place: tuple[int, ...]) -> Item:
        epoch, index, repetition = Place(*place)
        words = None
        if self.train:
            words = [self.seed, epoch, index, *([repetition] if repetition else [])]
            if self.draws is not None:
                words = drawn(self.videos[index], self.number(place))
        return self._item(index, [words])

    def all_draws(self, index: int) -> Item:
        """All clips that epochs choose from: V is `draws` in training, and 1 else."""
        if not self.train:
            return self._item(index, [None])
        assert self.draws is not None
        return self._item(index, [drawn(self.videos[index], number) for number in range(self.draws)])

    def number(self, place: tuple[int, ...]) -> int:
        """Which of a video's clips is taken at a Place; 0 where there is but one."""
        return drawn_number(self.seed, place, self.draws) if self.train and self.draws is not None else 0

    def drawn_label(self, index: int, number: int) -> int:
        """What a video's clip of this number shows, of those that epochs choose from."""
        video = self.videos[index]
        return self.label(video, drawn(video, number)) if self.train else video.label

    def _item(self, index: int, draws: Sequence[Sequence[int] | None]) -> Item:
        """One view for each seed of a draw, or for None the centre; the label is that of the first."""
        video, clip = self.videos[index], self.source.clip
        label = video.label if draws[0] is None else self.label(video, draws[0])
        try:
            with self.source.open(video) as reader:
                size = transforms.virtual_size(reader.size, clip)
                views = []
                for words in draws:
                    if words is not None:
                        rng = np.random.default_rng(words)
                        indices = sampling.training_clip(len(reader), reader.fps, clip, rng)
                        crop = transforms.multi_scale_crop(
                            size, clip.crop, rng, self.scales, self.flip and self.mirror is None
                        )
                        if self._exchanged(video, words):
                            crop = crop._replace(flip=True)
                    else:
                        indices = sampling.validation_clip(len(reader), reader.fps, clip)
                        crop = transforms.centre_crop(size, clip.crop)
                    view = self.source.views(reader, indices, [crop])
                    if words is not None and self.augmentation is not None:
                        view = self.augmentation(view, rng)
                    views.append(view)
                return Item(views[0] if len(views) == 1 else torch.cat(views), label, index)
        except UserError as error:
            return Item(None, label, index, error)

    def label(self, video: Video, words: Sequence[int]) -> int:
        """What a draw of a video shows; the video is not needed for it."""
        if self.mirror is None or not self._exchanged(video, words):
            return video.label
        return self.mirror[video.label]

    def _exchanged(self, video: Video, words: Sequence[int]) -> bool:
        """Whether a draw is mirrored, where that may change its label."""
        if self.mirror is None or not self.flip or self.mirror[video.label] == NEVER:
            return False
        return bool(np.random.default_rng([*words, FLIPS]).random() < 0.5)


def drawn(video: Video, number: int) -> list[int]:
    """The seed of start, crop and flip of one of a video's clips; another name of the video draws others."""
    name = hashlib.sha256(video.name.encode("utf-8", "surrogateescape")).digest()
    return [number, *name]


def drawn_number(seed: int, place: tuple[int, ...], draws: int) -> int:
    """Which of a video's `draws` clips is taken at a Place: one after another where an epoch shows a video again."""
    epoch, index, repetition = Place(*place)
    return (int(np.random.default_rng([seed, epoch, index]).integers(draws)) + repetition) % draws


class Collate:
    """Items → one batch; unreadable videos end the run (`raise`) or are left out and named (`skip`).

    Where none is left, `placeholder` gives one black clip with the label IGNORE, so that a training step has
    something to run on under DDP; without it the batch is empty (N = 0).
    """

    def __init__(self, source: Source, on_error: str, placeholder: bool = True) -> None:
        self.source, self.on_error, self.placeholder = source, on_error, placeholder

    def __call__(self, items: Sequence[Item]) -> Batch | UserError:
        errors = [item.error for item in items if item.error is not None]
        if errors and self.on_error == "raise":
            return skippable(errors[0])
        good = [item for item in items if item.clip is not None] or [Item(self.source.nothing(), IGNORE, -1)]
        number = 0 if good[0].label == IGNORE and not self.placeholder else len(good)
        batch = Batch(
            clip=stacked([item.clip for item in good if item.clip is not None])[:number],  # N, V, C, T, H, W
            label=torch.tensor([item.label for item in good])[:number],
            video_id=torch.tensor([item.video_id for item in good])[:number],
        )
        flips = [item.mirrored for item in good if item.mirrored is not None]
        if len(flips) == number > 0:
            batch["mirrored"] = torch.stack(flips)  # N, V
        crops = [item.crops for item in good if item.crops is not None]
        if crops:
            batch["crops"] = torch.stack(crops)
        if errors:
            batch["unreadable"] = [str(error) for error in errors]
            batch["unreadable_id"] = [item.video_id for item in items if item.error is not None]
        return batch


def skippable(error: UserError) -> UserError:
    """The error with the advice that holds where a whole data set is read."""
    if isinstance(error, UnreadableVideoError):
        return UnreadableVideoError(error.path, error.reason, "or leave such files out with data.on_error=skip")
    return error


class TestViews(IterableDataset[Batch | UserError]):
    """All views of every video, in batches of at most `view_batch` views; each video is decoded once.

    A video belongs to one rank and one worker, and none is read twice. Its views come one after another, in
    one or more rows of one or more batches, so that memory does not grow with its length; videos with equally few
    views share a batch. A video that fails half-way keeps the views that came before, and is named in `unreadable`.
    Which videos share a batch does not depend on the number of workers: a network's last digits follow from it.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    def __init__(
        self,
        videos: Sequence[Video],
        source: Source,
        clips: int | None = None,
        crops: int = 1,
        view_batch: int = 8,
        on_error: str = "raise",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.videos, self.source, self.clips, self.crops = list(videos), source, clips, crops
        self.view_batch, self.rank, self.world = view_batch, rank, world
        self.collate = Collate(source, on_error, placeholder=False)

    def __iter__(self) -> Iterator[Batch | UserError]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        own = range(self.rank, len(self.videos), self.world)
        groups = [own[start : start + self.view_batch] for start in range(0, len(own), self.view_batch)]
        for group in groups[first::step]:
            yield from self._batches(group)

    def _batches(self, indices: Sequence[int]) -> Iterator[Batch | UserError]:
        """The batches of some videos."""
        row: list[Item] = []  # of one batch: items with equally many views, and errors
        for index in indices:
            for item in self.video(self.videos[index], index):
                others = [other for other in row if other.number]
                if item.number and others and not self._fits(item, others):
                    yield self.collate(row)
                    row = []
                row.append(item)
        if row:
            yield self.collate(row)

    def _fits(self, item: Item, others: Sequence[Item]) -> bool:
        """Whether an item may share a batch with others: equally many views, of frames of one shape."""
        first = others[0]
        assert item.clip is not None and first.clip is not None
        alike = item.number == first.number and item.clip.shape == first.clip.shape
        return alike and item.number * (len(others) + 1) <= self.view_batch

    def video(self, video: Video, index: int = 0) -> Iterator[Item]:
        """One video's views in portions of at most `view_batch`."""
        clip = self.source.clip
        try:
            with self.source.open(video) as reader:
                size = transforms.virtual_size(reader.size, clip)
                crops = transforms.crops_for_testing(size, clip.crop, self.crops)
                cutting = transforms.cutting(crops, reader.size, clip)
                waiting: list[tuple[Tensor, Tensor]] = []  # frames C, T, H', W' and a crop (5) of them
                given = 0
                for indices in sampling.testing_clips(len(reader), reader.fps, clip, self.clips):
                    frames = torch.from_numpy(reader.cut(indices.tolist(), cutting.box, cutting.size))
                    waiting += [(frames, crop) for crop in cutting.crops]
                    while len(waiting) >= self.view_batch:
                        yield self._portion(waiting[: self.view_batch], cutting.is_whole, video, index, given)
                        waiting, given = waiting[self.view_batch :], given + self.view_batch
                if waiting:
                    yield self._portion(waiting, cutting.is_whole, video, index, given)
        except UserError as error:
            yield Item(None, video.label, index, error)

    def _portion(
        self, views: Sequence[tuple[Tensor, Tensor]], is_whole: bool, video: Video, index: int, first: int
    ) -> Item:
        """Some views of a video, from view `first` on, each a crop (5) of frames C, T, H', W', which crops share."""
        clips: list[Tensor] = []
        crops = []
        for frames, crop in views:
            if not clips or frames is not clips[-1]:
                clips.append(frames)
            crops.append(torch.cat([torch.tensor([len(clips) - 1]), crop[1:]]))
        flips = transforms.mirrored_views(first, len(views), self.crops) if self.crops == 10 else None
        placed = None if is_whole else torch.stack(crops)
        return Item(stacked(clips), video.label, index, mirrored=flips, crops=placed)
