"""A data set as lists of videos, each with its class, its source and its side of the split.

A reader is a function that returns `Lists`; adding a data set is one such function and one file in conf/data.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from src.errors import UserError
from src.text import listed, printable

log = logging.getLogger(__name__)

UCF_GROUP = r"^(.+_g\d+)_c\d+$"  # v_Diving_g01_c03 → v_Diving_g01


@dataclass(frozen=True)
class Video:
    """One video file (or frame folder): where it is, what it shows, and which source it was cut from."""

    path: str
    label: int  # position in Lists.classes
    group: str  # clips of one source share it and are held out together
    name: str  # path relative to the data root, with "/": the key in score files
    frames: int | None = None  # readable frames from an inventory; None: ask the decoder
    in_order: bool = False  # an inventory says that only a decode in order gives the right frames
    also: tuple[int, ...] = ()  # the further classes that it shows (data.multilabel), all above `label`

    @property
    def labels(self) -> tuple[int, ...]:
        """Every class that it shows."""
        return (self.label, *self.also)


@dataclass(frozen=True)
class Lists:
    """A data set as lists of videos. `val` is None where the data set itself names no validation videos."""

    classes: list[str]
    train: list[Video]
    val: list[Video] | None
    test: list[Video]
    root: str
    split: int | None
    name: str
    official: bool  # lists as published (True), or one's own
    left_out: tuple[str, ...] = ()  # videos that an inventory calls bad, with the reason (data.on_error=skip)


def list_digest(videos: Iterable[Video]) -> dict[str, int | str]:
    """Number of videos and SHA-256 of their sorted names and labels: whether two runs saw the same list."""
    lines = sorted(f"{video.name}\t{','.join(map(str, video.labels))}\n" for video in videos)
    content = "".join(lines).encode("utf-8", "surrogateescape")  # names may hold bytes that are not UTF-8
    return {"videos": len(lines), "sha256": hashlib.sha256(content).hexdigest()}


def check_trainable(lists: Lists) -> None:
    """Refuse lists from which no classifier can learn.

    Raises:
        UserError: there are fewer than two classes.
    """
    if len(lists.classes) < 2:
        raise UserError(
            f"{printable(lists.root)}: there is only one class ({listed(lists.classes)}); "
            "training needs videos of two classes or more"
        )


def group_holdout(train: Sequence[Video], fraction: float, seed: int) -> tuple[list[Video], list[Video]]:
    """Hold out `fraction` of each class by source group: (kept for training, held out), both in list order.

    No group appears on both sides, and every class keeps training videos: a class that cannot spare a group is
    kept whole, with a warning. The same videos, fraction and seed give the same answer whatever their order.

    Raises:
        UserError: the fraction is not between 0 and 1, or no group can be held out at all.
    """
    if not 0 < fraction < 1:
        raise UserError(f"held-out fraction {fraction} is not between 0 and 1; 0.1 is every tenth video")
    total = Counter(label for video in train for label in video.labels)
    sizes: dict[str, Counter[int]] = defaultdict(Counter)
    for video in train:
        sizes[video.group].update(video.labels)
    target = {label: max(1, round(fraction * count)) for label, count in total.items()}
    held: Counter[int] = Counter()
    chosen: set[str] = set()

    def take(group: str) -> None:
        chosen.add(group)
        held.update(sizes[group])

    def spares(group: str) -> bool:
        """Every class of the group keeps training videos without it."""
        return all(held[label] + n < total[label] for label, n in sizes[group].items())

    names = sorted(sizes)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    for group in order:
        gain = sum(min(n, max(0, target[label] - held[label])) for label, n in sizes[group].items())
        if spares(group) and 2 * gain > sizes[group].total():  # brings the classes nearer to their targets
            take(group)
    for label in sorted(total):  # a class of few large groups: its smallest is better than none
        if held[label] == 0:
            rest = [group for group in order if group not in chosen and sizes[group][label] and spares(group)]
            if rest:
                take(min(rest, key=lambda group: sizes[group].total()))
    if not chosen:
        raise UserError(
            f"{len(train)} training videos in {len(sizes)} source groups: none can be held out without "
            "emptying a class; give groups that are smaller, or a list with the split you want"
        )
    missing = [label for label in sorted(total) if held[label] == 0]
    if missing:
        log.warning(
            "%d of %d classes cannot spare a source: none of their videos is held out",
            len(missing),
            len(total),
        )
    kept = [video for video in train if video.group not in chosen]
    return kept, [video for video in train if video.group in chosen]
