"""The data of one run: lists split by the protocol, and a loader for each phase."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from src.config import ClipSpec
from src.data.annotations import Lists, Video, group_holdout
from src.data.augmentation import Augmentation
from src.data.dataset import Clips, Collate, Source, TestViews
from src.data.handover import Packing, packed
from src.data.loader import Loader, worker_options
from src.data.mirrored import NEVER, Mirror, check_mirrored_views
from src.data.pixels import Frames
from src.data.sampler import ClipSampler
from src.errors import UserError


class VideoData(pl.LightningDataModule):
    """Lists of videos → batches (see src/batch.py). The Trainer needs `use_distributed_sampler=False`.

    `videos` holds the videos of each phase: train, val and test.

    Args:
        lists: what a reader in src/data returns.
        clip: what the network takes.
        modality: rgb, or flow.
        decoder: pyav, or decord; both give the same clips.
        batch_size: training and validation videos in a batch, on each rank.
        workers: processes that decode; 0 decodes in the main process.
        seed: of order, clips, crops and the hold-out; the number of workers changes nothing.
        on_error: raise, or skip: leave unreadable videos out and name them in the batch.
        flip: mirror half of the training clips; wrong where left and right tell classes apart.
        mirror: what a mirrored clip of each class shows (src/data/mirrored.py); None: the same as the clip.
        scales: of the short side, for training crops.
        draws: clips of a training video that epochs choose from; None: each epoch draws another.
        clips: of a test video, evenly spread; None cuts it from beginning to end.
        crops: of each test clip: 1, 3 or 10.
        view_batch: test views in a batch; memory follows from it.
        protocol: paper validates on the test list; holdout on the lists' own validation videos or, without such,
            on training videos held out by source group.
        holdout_fraction: how much of the training list is held out; None for the paper's protocol.
        augmentation: of training clips.
        balanced: an epoch shows every class equally often.
        repeats: how often a training video is in its batch, each time in another clip.

    Raises:
        UserError: a crop larger than the frame, nothing to hold out.
    """

    def __init__(
        self,
        *,
        lists: Lists,
        clip: ClipSpec,
        modality: str,
        decoder: str,
        batch_size: int,
        workers: int,
        seed: int,
        on_error: str,
        flip: bool,
        scales: Sequence[float],
        clips: int | None,
        crops: int,
        view_batch: int,
        protocol: str,
        holdout_fraction: float | None,
        draws: int | None = None,
        mirror: Mirror | None = None,
        augmentation: Augmentation | None = None,
        balanced: bool = False,
        repeats: int = 1,
    ) -> None:
        super().__init__()
        _check_crop(clip)
        check_mirrored_views(lists.classes, mirror, crops)
        self.lists = lists
        self.source = Source(clip, modality, decoder)
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self.on_error = on_error
        self.flip = flip
        self.mirror = mirror
        self.scales = tuple(scales)
        self.draws = draws
        self.augmentation = augmentation
        self.balanced = balanced
        self.repeats = repeats
        self.clips = clips
        self.crops = crops
        self.view_batch = view_batch
        train, val = split(lists, protocol, holdout_fraction, seed)
        self.videos: dict[str, list[Video]] = {"train": train, "val": val, "test": lists.test}

    def train_dataloader(self) -> Loader:
        """Shuffled random clips; `set_epoch` of its sampler draws new ones."""
        return self._clips("train")

    def val_dataloader(self) -> Loader:
        """Centre clips, in list order; padded on the last ranks, so tell videos apart by `video_id`."""
        return self._clips("val")

    def test_dataloader(self) -> Loader:
        """Every view of every video of this rank, none twice."""
        number = len(self.videos["test"])
        return Loader(self.test_views(), batch_size=None, collate_fn=packed, **self._workers(number))

    def views(self, video: Video) -> Iterator[Tensor]:
        """All test views of any one video, in portions 1, V, C, T, H, W (uint8)."""
        for item in self.test_views().video(video):
            if item.error is not None:
                raise item.error
            yield item.views[None]

    def frames(self, video: Video) -> Frames:
        """The centre clip of any one video in its centre crop, to look at: T, H, W, C uint8."""
        item = Clips([video], self.source, train=False, seed=self.seed, flip=False, scales=(1,))[0, 0]
        if item.clip is None:
            raise item.error or UserError(f"{video.path}: it gives no clip")
        frames: Frames = item.clip[0].permute(1, 2, 3, 0).numpy()  # C, T, H, W → T, H, W, C
        return frames

    def test_views(self) -> TestViews:
        """The test videos of this rank."""
        return TestViews(
            self.videos["test"],
            self.source,
            clips=self.clips,
            crops=self.crops,
            view_batch=self.view_batch,
            on_error=self.on_error,
            **self.rank(),
        )

    def phase_clips(self, videos: list[Video], train: bool) -> Clips:
        """Training or centre clips of some videos."""
        more = self.draws, self.mirror, self.augmentation
        return Clips(videos, self.source, train, self.seed, self.flip, self.scales, *more)

    def sampler(self, phase: str, rank: int, world: int) -> ClipSampler:
        """Which clips of training or validation a rank reads, and in which order."""
        videos = self.videos[phase]
        if phase != "train":
            return ClipSampler(len(videos), self.seed, False, rank, world)
        labels = [video.label for video in videos] if self.balanced else None
        more: dict[str, Any] = {"balance": labels, "repeats": self.repeats, "batch": self.batch_size}
        return ClipSampler(len(videos), self.seed, True, rank, world, **more)

    def _clips(self, phase: str) -> Loader:
        videos = self.videos[phase]
        return Loader(
            self.phase_clips(videos, train=phase == "train"),
            batch_size=self.batch_size,
            sampler=self.sampler(phase, **self.rank()),
            collate_fn=Packing(Collate(self.source, self.on_error)),
            **self._workers(len(videos)),
        )

    def unmirrored(self) -> frozenset[int]:
        """The labels whose training clips are never mirrored, though others are."""
        pairs = enumerate(self.mirror or ()) if self.flip else ()
        return frozenset(label for label, other in pairs if other == NEVER)

    def rank(self) -> dict[str, int]:
        """Number of this process's rank, and of all ranks."""
        trainer = self.trainer
        return {"rank": trainer.global_rank, "world": trainer.world_size} if trainer else {"rank": 0, "world": 1}

    def _workers(self, videos: int) -> dict[str, Any]:
        return worker_options(min(self.workers, videos), self.seed)


def split(lists: Lists, protocol: str, fraction: float | None, seed: int) -> tuple[list[Video], list[Video]]:
    """(training videos, validation videos) under a protocol."""
    if protocol == "paper":
        return lists.train, lists.test
    if lists.val is not None:
        return lists.train, lists.val
    if fraction is None:
        raise UserError("protocol holdout needs a fraction of the training list; 0.1 holds out every tenth video")
    return group_holdout(lists.train, fraction, seed)


def _check_crop(clip: ClipSpec) -> None:
    width, height = clip.frame_size
    if (height if clip.keep_aspect else min(width, height)) < clip.crop:
        raise UserError(
            f"a crop of {clip.crop} does not fit in frames of {width}x{height}; make model.clip.frame_size larger"
        )
