"""Which clips a rank reads in an epoch, and in which order."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from src.data.balance import balanced_order


class Place(NamedTuple):
    """Which clip of which video: an epoch that shows a video again draws another clip of it."""

    epoch: int
    position: int  # in the list of videos
    repetition: int = 0


class ClipSampler(Sampler[Place]):
    """Places for one rank: an interleaved share of one order that all ranks agree on, shuffled or not.

    Every rank gets equally many, the first ones again where the number of videos does not divide by `world`.

    balance: label of each video; every class comes equally often.
    repeats: each video comes so often, `batch` places being those of `batch` / `repeats` videos.
    """

    def __init__(
        self,
        n: int,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        *,
        balance: Sequence[int] | None = None,
        repeats: int = 1,
        batch: int = 1,
    ) -> None:
        self.n, self.seed, self.shuffle, self.rank, self.world = n, seed, shuffle, rank, world
        self.balance, self.repeats, self.videos = balance, repeats, max(1, batch // repeats)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw another permutation and other clips; Lightning calls it before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.n // self.world) * self.repeats

    def __iter__(self) -> Iterator[Place]:
        order = self._order()
        length = -(-self.n // self.world) * self.world
        own = [order[i % self.n] for i in range(self.rank, length, self.world)]
        for start in range(0, len(own), self.videos):
            for again in range(self.repeats):  # one round after another: MixUp mixes neighbours, which are two videos
                for place in own[start : start + self.videos]:
                    yield place._replace(repetition=place.repetition * self.repeats + again)

    def _order(self) -> list[Place]:
        """One place for each clip of the epoch before repeats, of all ranks."""
        rng = np.random.default_rng([self.seed, self.epoch])
        order = np.arange(self.n)
        if self.balance is not None:
            order = balanced_order(self.balance, rng)
        elif self.shuffle:
            order = rng.permutation(self.n)
        times = [0] * self.n
        places = []
        for index in order.tolist():
            places.append(Place(self.epoch, index, times[index]))
            times[index] += 1
        return places
