"""Batches of features in the place of clips, for training, validation and testing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch.utils.data import DataLoader, Dataset, IterableDataset

from src.batch import IGNORE, Batch
from src.data.annotations import Lists, Video
from src.data.dataset import Clips
from src.data.transforms import mirrored_views
from src.errors import UserError
from src.frozen.fill import Filled, Filler
from src.frozen.progress import Bar
from src.frozen.store import Maps, Store
from src.text import printable

IN_MEMORY = 1 << 30  # bytes; features of a phase that take more are read again in every epoch
PASSES = 3  # of computing what is missing or damaged, before the disk is to blame
TEST_VIEWS = 64  # in one batch of testing


class DamagedFeaturesError(UserError):
    """Features of a video that cannot be used."""


class Features(Dataset[Batch]):
    """Features of one phase's videos; addressed by lists of places (src.data.dataset) as the sampler gives them.

    clips: in whose place they stand: which of a video's clips an epoch takes, and what it shows.

    Raises:
        UserError: features have gone since they were computed.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        store: Store,
        unreadable: Mapping[int, str],
        clips: Clips,
    ) -> None:
        self.videos, self.store, self.unreadable = list(videos), store, dict(unreadable)
        self.clips = clips
        self._memory: dict[int, Maps] = {}
        self._room = IN_MEMORY

    def __len__(self) -> int:
        return len(self.videos)

    def maps(self, position: int) -> Maps:
        """What is kept of a video, for each pathway V, C, T, H, W."""
        if position in self._memory:
            return self._memory[position]
        video = self.videos[position]
        identity = self.store.identity(video)
        maps = self.store.load(identity)
        if maps is None:
            self.store.remove(identity)  # so that it is computed again
            raise DamagedFeaturesError(
                f"{printable(video.path)}: its features are damaged or have gone; the same command computes them "
                "again and goes on"
            )
        size = sum(one.nbytes for one in maps)
        if size <= self._room:
            self._memory[position] = maps
        self._room -= size
        return maps

    def read(self) -> bool:
        """Read as many features as memory may hold; whether all of these were sound. Damaged ones are removed."""
        sound = True
        for position in range(len(self)):
            if self._room <= 0:
                break
            if position in self.unreadable:
                continue
            try:
                self.maps(position)
            except DamagedFeaturesError:
                sound = False
        return sound

    def __getitems__(self, places: Sequence[tuple[int, ...]]) -> Batch:
        """A batch of one view each: the clip that the epoch takes in training, the centre clip in validation."""
        rows, labels, ids = [], [], []
        for place in places:
            position = place[1]
            if position not in self.unreadable:
                number = self.clips.number(place)
                rows.append([one[number : number + 1] for one in self.maps(position)])
                labels.append(self.clips.drawn_label(position, number))
                ids.append(position)
        left_out = [self.unreadable[place[1]] for place in places if place[1] in self.unreadable]
        if not rows:  # a training step under DDP needs something to run on
            rows, labels, ids = [[torch.zeros(1, *shape) for shape in self.store.shapes]], [IGNORE], [-1]
        return as_batch(rows, labels, ids, left_out)

    def __getitem__(self, place: tuple[int, ...]) -> Batch:
        return self.__getitems__([place])


class FeatureViews(IterableDataset[Batch]):
    """The features of all views of every video of a rank; videos with equally many views share a batch."""

    def __init__(self, features: Features, crops: int, rank: int, world: int) -> None:
        self.features, self.crops, self.rank, self.world = features, crops, rank, world

    def __iter__(self) -> Iterator[Batch]:
        rows: list[Maps] = []
        ids: list[int] = []
        left_out: list[str] = []
        for position in range(self.rank, len(self.features), self.world):
            if position in self.features.unreadable:
                left_out.append(self.features.unreadable[position])
                continue
            maps = self.features.maps(position)
            views = len(maps[0])
            if rows and (len(rows[0][0]) != views or (len(rows) + 1) * views > TEST_VIEWS):
                yield self._batch(rows, ids, left_out)
                rows, ids, left_out = [], [], []
            rows.append(maps)
            ids.append(position)
        if rows or left_out:
            yield self._batch(rows, ids, left_out)

    def _batch(self, rows: list[Maps], ids: list[int], left_out: list[str]) -> Batch:
        labels = [self.features.videos[position].label for position in ids]
        if rows:
            batch = as_batch(rows, labels, ids, left_out)
            if self.crops == 10:
                number, views = batch["maps"][0].shape[:2]
                batch["mirrored"] = mirrored_views(0, views, self.crops).expand(number, -1)  # V → N V
            return batch
        empty = [torch.zeros(0, 1, *shape) for shape in self.features.store.shapes]
        nothing = torch.zeros(0, dtype=torch.long)
        return Batch(maps=empty, label=nothing, video_id=nothing, unreadable=left_out)


def as_batch(rows: Sequence[Maps], labels: Sequence[int], ids: Sequence[int], left_out: list[str]) -> Batch:
    """Features of N videos, each with the same number of views, as one batch."""
    maps = [torch.stack(pathway).float() for pathway in zip(*rows, strict=True)]  # N × (V, C, T, H, W) → N, V, …
    batch = Batch(maps=maps, label=torch.tensor(labels), video_id=torch.tensor(ids))
    if left_out:
        batch["unreadable"] = left_out
    return batch


class FeatureData(pl.LightningDataModule):
    """The data of a run as features: what `VideoData` is for clips. `fill` comes first."""

    def __init__(self, filler: Filler) -> None:
        super().__init__()
        self.filler = filler
        self.clips = filler.data
        self.phases: dict[str, Features] = {}

    @property
    def lists(self) -> Lists:
        """As they were read."""
        return self.clips.lists

    @property
    def videos(self) -> dict[str, list[Video]]:
        """Of each phase."""
        return self.clips.videos

    def fill(self, phases: Sequence[str], console: Console) -> Filled:
        """Compute what is missing or damaged of these phases, and take it in.

        Raises:
            UserError: a video cannot be read (data.on_error=raise); features cannot be written.
        """
        total = Filled()
        waiting = list(phases)
        for _ in range(PASSES):
            with Bar(console) as bar:
                filled = self.filler.fill(waiting, bar)
            total.add(filled)
            waiting = [phase for phase in waiting if not self._take(phase, filled.unreadable[phase])]
            if not waiting:
                break
        else:
            folder = self.filler.stores[waiting[0]].folder
            raise DamagedFeaturesError(
                f"{printable(folder)}: features are damaged as soon as they are written; look after the disk, or set "
                "features.root to another folder"
            )
        if total.clips:
            console.print(total.summary)
        return total

    def _take(self, phase: str, unreadable: Mapping[int, str]) -> bool:
        """Take in the features of a phase; whether all were sound."""
        store, videos = self.filler.stores[phase], self.videos[phase]
        clips = self.clips.phase_clips(videos, train=phase == "train")
        self.phases[phase] = Features(videos, store, unreadable, clips)
        return self.phases[phase].read()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled; an epoch takes one clip of each video."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        """Centre clips, in list order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Every view of every video of this rank."""
        return DataLoader(FeatureViews(self.phases["test"], self.clips.crops, **self.rank()), batch_size=None)

    def _loader(self, phase: str) -> DataLoader[Batch]:
        return DataLoader(
            self.phases[phase],
            batch_size=self.clips.batch_size,
            sampler=self.clips.sampler(phase, **self.rank()),
            collate_fn=as_it_is,
            generator=torch.Generator().manual_seed(self.clips.seed),
        )

    def rank(self) -> dict[str, int]:
        """Number of this process's rank, and of all ranks."""
        trainer = self.trainer
        return {"rank": trainer.global_rank, "world": trainer.world_size} if trainer else {"rank": 0, "world": 1}


def as_it_is(batch: Any) -> Any:
    """The batch that `Features.__getitems__` has made."""
    return batch
