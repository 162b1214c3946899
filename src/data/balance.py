"""Classes that have unequally many training videos: how often an epoch shows each, and how much a clip of it counts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def balanced_order(labels: Sequence[int], rng: np.random.Generator) -> Numbers:
    """Positions of N videos in the order of an epoch that shows every class equally often, N clips in all.

    Where N does not divide by the number of classes, some that are drawn have one clip more. The videos of a class
    come equally often, but for one time more or less.
    """
    known = np.asarray(labels)
    classes = rng.permutation(np.unique(known))
    share, left = divmod(len(known), len(classes))
    order = []
    for place, label in enumerate(classes):
        members = np.flatnonzero(known == label)
        number = share + (place < left)
        rounds = [rng.permutation(members) for _ in range(-(-number // len(members)))]
        order.append(np.concatenate(rounds)[:number] if rounds else members[:0])
    mixed: Numbers = rng.permutation(np.concatenate(order))
    return mixed


def class_weights(labels: Sequence[int], classes: int, balanced: bool) -> list[float]:
    """What a clip of each class counts in the loss: the inverse of the class's share of an epoch, 1 on average over it.

    balanced: every class has the same share.
    """
    counts = np.bincount(labels, minlength=classes)
    if balanced:
        return [1.0 if count else 0.0 for count in counts]
    there = int(np.count_nonzero(counts))
    return [len(labels) / (there * int(count)) if count else 0.0 for count in counts]
