"""What per-video scores amount to: metrics, their intervals over videos, and calibration. Plain NumPy.

Intervals: percentiles of the metric over videos drawn with replacement (Efron and Tibshirani, 1993), with a fixed seed.
They speak of this trained network on other videos of the kind, not of another training.

Calibration: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), Sections 2 and 4.2.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

TOPS = (1, 3, 5)
BINS = 15  # of equal width, for the expected calibration error
DRAWS = 1000
LEVEL = 0.95
SEED = 0
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are tried
STEPS = 40  # of the search, which narrows the range to 1e-8 of it

Floats = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Outcomes:
    """How N videos of K classes were judged; all arrays (N,).

    ranks: how many classes came before the true one.
    predicted: the first class; -1 where there is none, because scores are not finite.
    """

    classes: int
    labels: NDArray[np.int64]
    ranks: NDArray[np.int64]
    predicted: NDArray[np.int64]

    def metrics(self, weights: Floats | None = None) -> dict[str, float]:
        """top1, top3, top5 (below K classes), mean class accuracy and macro F1, in percent.

        Mean class accuracy is over the classes that occur, macro F1 over those that occur or are predicted.

        weights: how often each video counts, (N,); None: once.
        """
        weights = np.ones(len(self.labels)) if weights is None else weights
        right = self.ranks == 0
        values = {f"top{k}": _mean(self.ranks < k, weights) for k in TOPS if k < self.classes}
        true = self._per_class(self.labels, weights)
        hits = self._per_class(self.labels, weights * right)
        given = self._per_class(self.predicted, weights * (self.predicted >= 0))
        occurs, either = true > 0, true + given > 0
        values["mean_class"] = float((hits[occurs] / true[occurs]).mean())
        values["macro_f1"] = float((2 * hits[either] / (true + given)[either]).mean())
        return {name: 100 * value for name, value in values.items()}

    def _per_class(self, classes: NDArray[np.int64], weights: Floats) -> Floats:
        counts: Floats = np.bincount(classes.clip(min=0), weights, self.classes).astype(np.float64)
        return counts


def _mean(values: NDArray[np.bool_] | Floats, weights: Floats) -> float:
    return float((values * weights).sum() / weights.sum())


@dataclass(frozen=True)
class MultilabelOutcomes:
    """How N videos that may show several of K classes were judged.

    ranks: how many classes came before the first true one, (N,).
    targets: which classes are true, (N, K).
    scores: (N, K); a class is said where its score is above 0, which is a probability of 1/2.
    """

    ranks: NDArray[np.int64]
    targets: NDArray[np.bool_]
    scores: NDArray[np.float32]

    def metrics(self, weights: Floats | None = None) -> dict[str, float]:
        """map (mean average precision), top-k (one of the first k is true) and macro F1, in percent.

        Means over classes are over those that occur, of F1 over those that occur or are said.

        weights: how often each video counts, (N,); None: once.
        """
        weights = np.ones(len(self.ranks)) if weights is None else weights
        values = {f"top{k}": _mean(self.ranks < k, weights) for k in TOPS if k < self.targets.shape[1]}
        said = self.scores > 0
        hits, true, given = (weights @ one for one in (said & self.targets, self.targets, said))
        either = true + given > 0
        values["macro_f1"] = float((2 * hits[either] / (true + given)[either]).mean()) if either.any() else 0.0
        precisions = self._average_precisions(weights)
        return {name: 100 * value for name, value in {"map": float(np.mean(precisions[true > 0])), **values}.items()}

    @cached_property
    def _order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each class's videos by falling score, and the place of the last one of the same score: both (N, K)."""
        order = np.argsort(-self.scores, axis=0, kind="stable")
        ranked = np.take_along_axis(self.scores, order, 0)
        places = np.arange(len(order))[:, None]
        ends = np.where(np.diff(ranked, axis=0, append=np.nan) == 0, len(order), places)  # the last of equal ones
        return order, np.minimum.accumulate(ends[::-1], axis=0)[::-1]

    def _average_precisions(self, weights: Floats) -> Floats:
        """Of each class, (K,): the mean over its videos of the precision among all with as high a score."""
        order, ends = self._order
        counted = weights[order]  # N, K
        true = counted * np.take_along_axis(self.targets, order, 0)
        share = true.cumsum(0) / counted.cumsum(0).clip(min=1e-12)
        found: Floats = (true * np.take_along_axis(share, ends, 0)).sum(0) / true.sum(0).clip(min=1e-12)
        return found


@dataclass(frozen=True)
class Confidences:
    """How sure a network was of N videos; all arrays (N,).

    sure: probability of the first class.
    right: whether it is the true one.
    loss: minus the logarithm of the true class's probability.
    """

    sure: Floats
    right: NDArray[np.bool_]
    loss: Floats

    @classmethod
    def of(cls, scores: NDArray[np.float32], labels: NDArray[np.int64], temperature: float = 1.0) -> "Confidences":
        """From finite scores (N, K) before softmax, divided by a temperature, and labels (N,)."""
        logs = log_softmax(scores, temperature)
        true = np.take_along_axis(logs, labels[:, None], 1)[:, 0]
        return cls(np.exp(logs.max(1)), scores.argmax(1) == labels, -true)

    def measures(self, weights: Floats | None = None) -> dict[str, float]:
        """The expected calibration error in percent (`ece`) and the negative log-likelihood in nats (`nll`)."""
        weights = np.ones(len(self.sure)) if weights is None else weights
        bins = np.ceil(self.sure * BINS).astype(np.int64).clip(1, BINS) - 1  # (0, 1/15], (1/15, 2/15], …
        apart = np.bincount(bins, weights * (self.right - self.sure), BINS)
        return {"ece": 100 * float(np.abs(apart).sum() / weights.sum()), "nll": _mean(self.loss, weights)}


def log_softmax(scores: NDArray[np.float32], temperature: float = 1.0) -> Floats:
    """Logarithms of the probabilities that finite scores (N, K) stand for, divided by a temperature first."""
    shifted = (scores.astype(np.float64) - scores.max(1, keepdims=True)) / temperature
    logs: Floats = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logs


def fit_temperature(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float | None:
    """The temperature at which the negative log-likelihood is lowest: scores (N, K), labels (N,).

    It has one minimum, as it is convex in 1/temperature. None where the videos do not say which: there are none, a
    score is not finite, or the lowest lies at an end of the range, as where every video is right.
    """
    if not len(labels) or not np.isfinite(scores).all():
        return None

    def loss(logarithm: float) -> float:
        logs = log_softmax(scores, math.exp(logarithm))
        return float(-np.take_along_axis(logs, labels[:, None], 1).mean())

    low, high = math.log(COLDEST), math.log(HOTTEST)
    found = golden_section(loss, low, high)
    return math.exp(found) if min(found - low, high - found) > 1e-3 else None


def golden_section(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum is lowest between two bounds."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2


def intervals(measure: Callable[[Floats], Mapping[str, float]], videos: int) -> dict[str, Interval]:
    """The 95 % bootstrap interval of each metric that `measure` gives for weights of the videos, (N,)."""
    generator = np.random.default_rng(SEED)
    drawn: dict[str, list[float]] = {}
    for _ in range(DRAWS):
        weights = np.bincount(generator.integers(videos, size=videos), minlength=videos).astype(np.float64)
        for name, value in measure(weights).items():
            drawn.setdefault(name, []).append(value)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    found = {}
    for name, values in drawn.items():
        low, high = np.quantile(values, tails)
        found[name] = (round(float(low), 4), round(float(high), 4))
    return found
