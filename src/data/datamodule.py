"""The data of one run: lists split by the protocol, and a loader for each phase."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from src.batch import Batch
from src.config import ClipSpec
from src.data.annotations import Lists, Video, group_holdout
from src.data.dataset import Clips, ClipSampler, Collate, Source, TestViews
from src.data.decode import DECODERS, Frames
from src.data.transforms import SCALES
from src.errors import UserError

CHOICES = {
    "modality": ("rgb", "flow"),
    "decoder": DECODERS,
    "on_error": ("raise", "skip"),
    "protocol": ("holdout", "paper"),
    "test_crops": (1, 3, 10),
}


class Loader(DataLoader[Any]):
    """A DataLoader that raises, in the main process and as they were, the errors that its workers pass on."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # PyTorch names its private iterator
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            yield batch


class VideoData(pl.LightningDataModule):
    """Lists of videos → batches (see src/batch.py). The Trainer needs `use_distributed_sampler=False`.

    Args:
        lists: what a reader in src/data returns.
        clip: what the network takes.
        modality: rgb, or flow.
        decoder: decord, or pyav; both give the same frames.
        batch_size: training and validation videos in a batch, on each rank.
        workers: processes that decode; 0 decodes in the main process.
        seed: of order, clips, crops and the hold-out; the number of workers changes nothing.
        on_error: raise, or skip: leave unreadable videos out and name them in the batch.
        flip: mirror half of the training clips; wrong where left and right tell classes apart.
        scales: of the short side, for training crops.
        test_clips: clips of a test video, evenly spread; "all" or None cuts it from beginning to end.
        test_crops: 1, 3 or 10 crops of each.
        view_batch: test views in a batch; memory follows from it.
        protocol: paper validates on the test list; holdout on the lists' own validation videos or, without such,
            on training videos held out by source group.
        holdout_fraction: how much of the training list is held out; None for the paper's protocol.

    Raises:
        UserError: a choice that does not exist, a crop larger than the frame, nothing to hold out.
    """

    def __init__(
        self,
        lists: Lists,
        clip: ClipSpec | dict[str, Any],
        modality: str = "rgb",
        decoder: str = "decord",
        batch_size: int = 8,
        workers: int = 2,
        seed: int = 0,
        on_error: str = "raise",
        flip: bool = True,
        scales: Sequence[float] = SCALES,
        test_clips: int | str | None = "all",
        test_crops: int = 1,
        view_batch: int = 8,
        protocol: str = "holdout",
        holdout_fraction: float | None = 0.1,
    ) -> None:
        super().__init__()
        clip = ClipSpec(**clip) if isinstance(clip, dict) else clip
        chosen = {"modality": modality, "decoder": decoder, "on_error": on_error, "protocol": protocol}
        for name, value in {**chosen, "test_crops": test_crops}.items():
            if value not in CHOICES[name]:
                raise UserError(f"{name} {value!r} is unknown; choose from {', '.join(map(str, CHOICES[name]))}")
        _check_numbers(clip, scales, batch_size=batch_size, view_batch=view_batch)
        self.lists, self.batch_size, self.workers = lists, batch_size, workers
        self.source = Source(clip, modality, decoder)
        self.seed, self.on_error, self.flip, self.scales = seed, on_error, flip, tuple(scales)
        self.test_clips, self.test_crops, self.view_batch = _number_of_clips(test_clips), test_crops, view_batch
        self.train_videos, self.val_videos = split(lists, protocol, holdout_fraction, seed)
        self.test_videos: list[Video] = lists.test

    def train_dataloader(self) -> Loader:
        """Shuffled random clips; `set_epoch` of its sampler draws new ones."""
        return self._clips(self.train_videos, train=True)

    def val_dataloader(self) -> Loader:
        """Centre clips, in list order; padded on the last ranks, so tell videos apart by `video_id`."""
        return self._clips(self.val_videos, train=False)

    def test_dataloader(self) -> Loader:
        """Every view of every video of this rank, none twice."""
        return Loader(self._views(), batch_size=None, **self._workers(len(self.test_videos)))

    def views(self, video: Video) -> Iterator[Tensor]:
        """All test views of any one video, in portions 1, V, C, T, H, W (uint8)."""
        for item in self._views().video(video):
            if item.error is not None:
                raise item.error
            if item.clip is not None:
                yield item.clip[None]

    def frames(self, video: Video) -> Frames:
        """The centre clip of any one video in its centre crop, to look at: T, H, W, C uint8."""
        item = Clips([video], self.source, train=False)[0, 0]
        if item.clip is None:
            raise item.error or UserError(f"{video.path}: it gives no clip")
        frames: Frames = item.clip[0].permute(1, 2, 3, 0).numpy()  # C, T, H, W → T, H, W, C
        return frames

    def _views(self) -> TestViews:
        return TestViews(
            self.test_videos,
            self.source,
            clips=self.test_clips,
            crops=self.test_crops,
            view_batch=self.view_batch,
            on_error=self.on_error,
            **self._rank(),
        )

    def _clips(self, videos: list[Video], train: bool) -> Loader:
        data = Clips(videos, self.source, train, self.seed, self.flip, self.scales)
        return Loader(
            data,
            batch_size=self.batch_size,
            sampler=ClipSampler(len(videos), self.seed, shuffle=train, **self._rank()),
            collate_fn=Collate(self.source, self.on_error),
            **self._workers(len(videos)),
        )

    def _rank(self) -> dict[str, int]:
        trainer = self.trainer
        return {"rank": trainer.global_rank, "world": trainer.world_size} if trainer else {"rank": 0, "world": 1}

    def _workers(self, videos: int) -> dict[str, Any]:
        number = min(self.workers, videos)
        common: dict[str, Any] = {"num_workers": number, "pin_memory": torch.cuda.is_available()}
        if number:
            common |= {"persistent_workers": True, "worker_init_fn": _one_thread}
        return common


def split(lists: Lists, protocol: str, fraction: float | None, seed: int) -> tuple[list[Video], list[Video]]:
    """(training videos, validation videos) under a protocol."""
    if protocol == "paper":
        return lists.train, lists.test
    if lists.val is not None:
        return lists.train, lists.val
    if fraction is None:
        raise UserError("protocol holdout needs a fraction of the training list; 0.1 holds out every tenth video")
    return group_holdout(lists.train, fraction, seed)


def _check_numbers(clip: ClipSpec, scales: Sequence[float], **positive: int) -> None:
    for name, value in {"frames": clip.frames, "stride": clip.stride, "crop": clip.crop, **positive}.items():
        if value < 1:
            raise UserError(f"{name} {value} must be 1 or more")
    if min(clip.frame_size[1:] if clip.keep_aspect else clip.frame_size) < clip.crop:
        width, height = clip.frame_size
        raise UserError(f"a crop of {clip.crop} does not fit in frames of {width}x{height}; make frame_size larger")
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise UserError(f"scales {list(scales)} must be parts of the short side: above 0, at most 1")


def _number_of_clips(clips: int | str | None) -> int | None:
    """None for all of a video's clips."""
    if clips is None or clips == "all":
        return None
    if isinstance(clips, int) and clips >= 1:
        return clips
    raise UserError(f"test clips {clips!r}: give a number of 1 or more, or all")


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)  # workers are the parallelism
