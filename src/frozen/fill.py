"""Compute the features that are missing: workers decode, this process runs the network and writes shards.

Any number of processes may do this at once, on one list or on different ones: each video is claimed by a lock while
it is worked on, and the lock of a process that has died is free again. What a video's features are does not depend on
who computes them, nor on which other videos there are, so that a kill and a second start change nothing. A video that
is replaced while it is worked on is worked on again. One that fails half-way has no features at all (in testing on
clips its views up to there count).
"""

import contextlib
import itertools
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from src.data.annotations import Video
from src.data.datamodule import VideoData
from src.data.dataset import Item, skippable
from src.data.handover import packed
from src.data.loader import Loader, worker_options
from src.errors import UnreadableVideoError, UserError
from src.frozen.progress import Bar
from src.frozen.store import Maps, Store
from src.models.recognizer import Recognizer
from src.text import printable

PORTIONS = 4  # of test views that a worker hands over at once; longer videos are decoded by the main process
WAIT_S = 0.5  # between looks at what other processes are computing
AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Task(NamedTuple):
    """The features of one video for one phase."""

    phase: str
    position: int  # in the phase's list


@dataclass
class Filled:
    """What became of it.

    unreadable: of each phase, position of the video → why it has no features.
    """

    clips: int = 0
    seconds: float = 0.0
    in_network: float = 0.0  # seconds
    unreadable: dict[str, dict[int, str]] = field(default_factory=lambda: {"train": {}, "val": {}, "test": {}})

    def add(self, other: "Filled") -> None:
        """Join what another pass has done."""
        self.clips += other.clips
        self.seconds += other.seconds
        self.in_network += other.in_network
        for phase, reasons in other.unreadable.items():
            self.unreadable[phase] |= reasons

    @property
    def summary(self) -> str:
        """One line on clips that were computed."""
        speed, share = self.clips / self.seconds, 100 * self.in_network / self.seconds
        return (
            f"features: {self.clips} clips in {self.seconds:.0f} s ({speed:.1f} clips/s, {share:.0f} % in the network)"
        )


@dataclass
class Filler:
    """Fills the stores of a run's phases.

    recognizer: on `device`, in evaluation mode.
    precision: as trainer.precision.
    rank, world: this process's share of the work begins at another place than that of the others.
    """

    data: VideoData
    stores: Mapping[str, Store]
    recognizer: Recognizer
    device: torch.device
    precision: str
    rank: int = 0
    world: int = 1

    def missing(self, phases: Sequence[str]) -> tuple[list[Task], Filled]:
        """What is to be computed, and the videos that are not even there."""
        tasks = []
        filled = Filled()
        for phase in phases:
            for position in range(len(self.data.videos[phase])):
                task = Task(phase, position)
                try:
                    if not self._has(task):
                        tasks.append(task)
                except UnreadableVideoError as error:
                    self._refuse(task, error, filled)
        first = self.rank * len(tasks) // self.world
        return tasks[first:] + tasks[:first], filled

    def fill(self, phases: Sequence[str], bar: Bar) -> Filled:
        """Compute what is missing of these phases, together with all others that are at it.

        Raises:
            UserError: a video cannot be read (data.on_error=raise), the disk is full.
        """
        self._remove_leftovers(phases)
        tasks, filled = self.missing(phases)
        start = time.perf_counter()
        if tasks:
            self._announce(tasks, bar)
            bar.start(len(tasks))
            told = False
            while tasks:
                done = self._round(tasks, filled, bar)
                waiting = [task for task in tasks if task not in done and not self._has(task)]
                for _ in range(len(tasks) - len(done) - len(waiting)):
                    bar.advance(0)  # done by others
                tasks = waiting
                if tasks and not done:
                    if not told:
                        bar.console.print(f"features: waiting for another process, which computes {len(tasks)} videos")
                    told = True
                    time.sleep(WAIT_S)
            self._remove_leftovers(phases)  # of others that were killed meanwhile
        filled.seconds = time.perf_counter() - start
        return filled

    def _remove_leftovers(self, phases: Sequence[str]) -> None:
        for phase in phases:
            self.stores[phase].remove_leftovers()

    def _announce(self, tasks: Sequence[Task], bar: Bar) -> None:
        """Say what is to come, and refuse to begin where the disk cannot hold it."""
        need = expected_bytes(tasks, self.data, self.stores)
        root = self.stores[tasks[0].phase].folder.parent
        bar.console.print(
            f"features: {len(tasks)} videos to compute, about {max(need, 10**6) / 1e6:,.0f} MB in {printable(root)}"
        )
        check_room(need, root)

    def _round(self, tasks: list[Task], filled: Filled, bar: Bar) -> set[Task]:
        """Compute those that no other process is computing; gives back which."""
        done: set[Task] = set()
        with Claims(tasks, self.stores, self.data.videos) as claims:
            own = iter(claims)
            first = next(own, None)
            if first is None:  # nothing to start workers for
                return done
            loader = Loader(
                Decoding(self.data),
                batch_size=None,
                sampler=itertools.chain([first], own),
                collate_fn=packed,
                **worker_options(min(self.data.workers, len(tasks)), self.data.seed) | {"persistent_workers": False},
            )
            for clips in loader:
                task = claims.taken.popleft()
                if self._complete(task, claims.identity(task), clips, filled, bar):
                    done.add(task)
                claims.release(task)
        return done

    def _complete(self, task: Task, identity: str, clips: Any, filled: Filled, bar: Bar) -> bool:
        """Features of one video; False where it has changed since it was claimed."""
        video, store = self.data.videos[task.phase][task.position], self.stores[task.phase]
        try:
            if clips["error"]:
                raise clips["error"][0]
            portions = self._portions(video) if clips["long"] else iter([clips["clip"]])
            maps, number = self._compute(portions, filled)
            if store.identity(video) != identity:
                return False
        except UserError as error:
            self._refuse(task, error, filled)
            bar.advance(0, error)
            return True
        store.save(identity, maps)
        filled.clips += number
        bar.advance(number)
        return True

    def _refuse(self, task: Task, error: UserError, filled: Filled) -> None:
        if self.data.on_error == "raise":
            raise skippable(error)
        filled.unreadable[task.phase][task.position] = str(error)

    def _portions(self, video: Video) -> Iterator[Tensor]:
        for item in self.data.test_views().video(video):
            if item.error is not None:
                raise item.error
            yield item.views

    def _compute(self, portions: Iterator[Tensor], filled: Filled) -> tuple[Maps, int]:
        """Features of the views V, C, T, H, W (uint8) that come in portions, and how many there were."""
        parts: list[Maps] = []
        for views in portions:
            for portion in torch.split(views, self.data.view_batch):
                start = time.perf_counter()
                parts.append(self._network(portion))
                filled.in_network += time.perf_counter() - start
        maps = [torch.cat(pathway) for pathway in zip(*parts, strict=True)]
        return maps, len(maps[0])

    @torch.inference_mode()
    def _network(self, views: Tensor) -> Maps:
        precision = AUTOCAST[self.precision]
        with torch.autocast(self.device.type, dtype=precision, enabled=precision is not None):
            maps = self.recognizer.trunk(views.to(self.device, non_blocking=True))
        return [one.float().cpu() for one in maps]

    def _has(self, task: Task) -> bool:
        store = self.stores[task.phase]
        return store.has(store.identity(self.data.videos[task.phase][task.position]))


class Claims(Sampler[Task]):
    """Gives out tasks as the loader asks for them, each under its lock, and leaves out what others hold or have done.

    taken: tasks whose clips the loader has not given yet, in its order.
    """

    def __init__(
        self, tasks: Sequence[Task], stores: Mapping[str, Store], videos: Mapping[str, Sequence[Video]]
    ) -> None:
        self.tasks, self.stores, self.videos = tasks, stores, videos
        self.taken: deque[Task] = deque()
        self._held: dict[Task, tuple[str, contextlib.ExitStack]] = {}

    def __iter__(self) -> Iterator[Task]:
        for task in self.tasks:
            store = self.stores[task.phase]
            identity = store.identity(self.videos[task.phase][task.position])
            with contextlib.ExitStack() as stack:
                if stack.enter_context(store.claim(identity)) and not store.has(identity):
                    self._held[task] = identity, stack.pop_all()
            if task in self._held:
                self.taken.append(task)
                yield task

    def identity(self, task: Task) -> str:
        """Of the task's video, from before its clips were decoded."""
        return self._held[task][0]

    def release(self, task: Task) -> None:
        """Let go of a task that is done, or given up."""
        self._held.pop(task)[1].close()

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *exception: object) -> None:
        for task in list(self._held):
            self.release(task)


class Decoding(Dataset[dict[str, Any]]):
    """The clips of a task: `clip` V, C, T, H, W; or what is wrong (`error`); or that there are too many (`long`)."""

    def __init__(self, data: VideoData) -> None:
        self.draws = data.phase_clips(data.videos["train"], train=True)
        self.centres = data.phase_clips(data.videos["val"], train=False)
        self.views = data.test_views()

    def __getitem__(self, task: Task) -> dict[str, Any]:
        parts: list[Tensor] = []
        for item in self._items(task):
            if item.error is not None:
                return {"error": [item.error], "long": []}
            parts.append(item.views)
            if len(parts) > PORTIONS:
                return {"error": [], "long": [True]}
        return {"clip": torch.cat(parts), "error": [], "long": []}

    def _items(self, task: Task) -> Iterator[Item]:
        if task.phase == "test":
            yield from self.views.video(self.views.videos[task.position], task.position)
        else:
            yield (self.draws if task.phase == "train" else self.centres).all_draws(task.position)


def expected_bytes(tasks: Sequence[Task], data: VideoData, stores: Mapping[str, Store]) -> int:
    """About how much room the features of these tasks need; the views of a test video follow from its frames."""
    total = 0
    lengths = [video.frames for video in data.videos["test"] if video.frames]
    usual = sum(lengths) // len(lengths) if lengths else 2 * data.source.clip.frames * data.source.clip.stride
    for task in tasks:
        views = 1
        if task.phase == "train":
            views = data.draws or 1
        elif task.phase == "test":
            frames = data.videos["test"][task.position].frames or usual
            clips = max(1, frames // (data.source.clip.frames * data.source.clip.stride))
            if data.source.clip.sampling == "segments":
                clips = data.clips or 1
            views = data.crops * (clips if data.clips is None else min(clips, data.clips))
        total += views * stores[task.phase].bytes_per_view
    return total


def check_room(need: int, folder: Path) -> None:
    """Refuse to begin where the disk cannot hold what is to come.

    Raises:
        UserError: says how much is needed and how much there is.
    """

    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"{folder}: the features need about {need / 1e9:.1f} GB, and there is room for {free / 1e9:.1f} GB; set "
            "features.root to a larger disk, features.dtype=float16 takes half of it, features.keep=tokens less still"
        )
