"""What several runs say together, and what two rows say about one another. Plain NumPy, no SciPy.

A row's number is the mean over splits of the mean over seeds, as the paper averages its splits: a split that has
more seeds weighs no more. Beside it stand n and the standard deviation over all runs (n - 1 below the sum). Where a
row has several splits and several seeds both sources are told apart as well: `sd_seeds` is the deviation within a
split, pooled over splits; `sd_splits` that of the splits' means. Splits differ by their videos and are no random
sample, so `sd_splits` is no error bar of the mean.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Key = tuple[int | None, int]  # split (None where a data set has none), seed


@dataclass(frozen=True)
class Summary:
    """Mean and deviations of one metric, in its own unit; None where one run leaves nothing to deviate."""

    mean: float
    n: int
    splits: int
    sd: float | None
    sd_seeds: float | None
    sd_splits: float | None


def summarize(values: Mapping[Key, float]) -> Summary:
    """Mean over splits of the mean over seeds, with the deviations described above.

    Raises:
        ValueError: no value at all.
    """
    if not values:
        raise ValueError("no values to summarize")
    by_split: dict[int | None, list[float]] = {}
    for (split, _), value in values.items():
        by_split.setdefault(split, []).append(value)
    means = [sum(v) / len(v) for v in by_split.values()]
    within = sum((x - m) ** 2 for m, v in zip(means, by_split.values(), strict=True) for x in v)
    freedom = len(values) - len(by_split)
    return Summary(
        mean=sum(means) / len(means),
        n=len(values),
        splits=len(by_split),
        sd=deviation(list(values.values())),
        sd_seeds=math.sqrt(within / freedom) if freedom else None,
        sd_splits=deviation(means),
    )


def deviation(values: list[float]) -> float | None:
    """Sample standard deviation, None for fewer than two values."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((x - mean) ** 2 for x in values) / (len(values) - 1))


@dataclass(frozen=True)
class SignTest:
    """Two-sided p-values; `exact` never errs too often, `mid` counts the observed value half: less cautious."""

    exact: float
    mid: float


def sign_test(differences: NDArray[np.int64]) -> SignTest:
    """McNemar's exact test, also where a video was judged several times (by several seeds, in several splits).

    Under the null hypothesis the two rows are exchangeable on every video, so each video's difference could as well
    have the other sign. With one judgement a video the differences are -1, 0, 1 and this is McNemar's exact
    binomial test of the discordant videos. With more, all judgements of one video flip together: they are not
    independent, and counting them as if they were would make p too small. The distribution is exact: a convolution.

    Args:
        differences: (videos,), how often the second row was right minus how often the first one was.
    """
    observed = abs(int(differences.sum()))
    probability = np.ones(1)
    for size, count in zip(*np.unique(np.abs(differences[differences != 0]), return_counts=True), strict=True):
        # `count` signs of magnitude `size`: their sum runs from -count * size to count * size in steps of 2 * size.
        ways = np.zeros(2 * int(count) * int(size) + 1)
        ways[:: 2 * int(size)] = binomial(int(count))
        probability = np.convolve(probability, ways)
    distance = np.abs(np.arange(len(probability)) - len(probability) // 2)
    beyond = float(probability[distance > observed].sum())
    same = float(probability[distance == observed].sum())
    return SignTest(exact=min(1.0, beyond + same), mid=min(1.0, beyond + same / 2))


def binomial(count: int) -> NDArray[np.float64]:
    """Probabilities of 0..count heads in `count` throws of a fair coin, (count + 1,)."""
    logs = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(count + 1)]
    return np.exp(np.array(logs) - count * math.log(2))


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction for several comparisons in one table, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def wilson(hits: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval of a share, 95 % by default: (low, high) in 0..1. `count` must be at least 1."""
    share = hits / count
    centre = share + z * z / (2 * count)
    margin = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)


def bootstrap(
    differences: NDArray[np.float64],
    present: NDArray[np.bool_],
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a difference of top-1, in the unit of `differences`.

    Videos are drawn with replacement; all that was measured on a video comes with it. Each draw's value is the mean
    over splits of the split's mean difference, as in `summarize`.

    Args:
        differences: (splits, videos), mean over seeds; ignored where a video is not in a split's test list.
        present: (splits, videos), whether it is.
    """
    generator = np.random.default_rng(seed)
    values = np.where(present, differences, 0.0)
    videos = values.shape[1]
    at_once = max(1, 500_000 // videos)  # a few MB
    parts = []
    for start in range(0, draws, at_once):
        drawn = generator.integers(videos, size=(min(at_once, draws - start), videos))
        count = present[:, drawn].sum(2)  # splits, draws
        means = np.where(count > 0, values[:, drawn].sum(2) / count.clip(min=1), np.nan)
        parts.append(np.nanmean(means, axis=0))
    low, high = np.quantile(np.concatenate(parts), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
