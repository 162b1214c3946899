"""Metrics, intervals and calibration: by hand, and as torchmetrics computes them."""

import math

import numpy as np
import pytest
import torch
from src.metrics import BINS, Confidences, Outcomes, fit_temperature, golden_section, intervals
from src.scores import Scores
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score

from tests.test_scores import make


def drawn(videos: int = 300, classes: int = 7, seed: int = 0, missing: bool = False) -> Scores:
    """Scores that are right for many videos. missing: the last class occurs in no label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes - missing, videos)
    values = rng.normal(size=(videos, classes)) * 1.5
    values[np.arange(videos), labels] += 2
    return make(values.tolist(), labels.tolist())


def tensors(scores: Scores) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(scores.scores), torch.from_numpy(scores.labels)


def test_macro_f1_by_hand() -> None:
    scores = make([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], [0, 1, 1, 1])
    # class 0: precision 1/2, recall 1: 2/3; class 1: precision 1, recall 1/3: 1/2; class 2 is given and never true: 0
    assert scores.metrics()["macro_f1"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 3, abs=1e-3)


@pytest.mark.parametrize("missing", [False, True])
def test_macro_f1_is_torchmetrics(missing: bool) -> None:
    scores = drawn(missing=missing)
    expected = multiclass_f1_score(*tensors(scores), num_classes=7, average="macro")
    assert scores.metrics()["macro_f1"] == pytest.approx(100 * expected.item(), abs=1e-3)


def test_a_video_without_a_prediction_is_a_miss_and_no_mistake_of_another_class() -> None:
    scores = make([[np.nan, 0], [0, 1], [1, 0]], [0, 1, 0])
    assert scores.outcomes().predicted.tolist() == [-1, 1, 0]
    assert scores.metrics()["macro_f1"] == pytest.approx(100 * (2 / 3 + 1) / 2, abs=1e-3)


def test_calibration_by_hand() -> None:
    found = Confidences(np.array([0.9, 0.9, 0.55, 0.2]), np.array([True, False, True, False]), np.array([0.1, 2, 1, 3]))
    # one bin holds both of 0.9, at |1/2 - 0.9|; the other two hold one video each
    expected = 100 * (2 * 0.4 + (1 - 0.55) + 0.2) / 4
    assert found.measures() == pytest.approx({"ece": expected, "nll": 6.1 / 4})


def test_a_confidence_at_the_edge_belongs_to_the_bin_below_it() -> None:
    """Guo et al.: bin m holds ((m - 1) / M, m / M]; a network that is always sure has all in the last one."""
    sure = Confidences(np.ones(4), np.array([True, True, True, False]), np.zeros(4))
    assert sure.measures()["ece"] == pytest.approx(25.0)


def test_calibration_is_torchmetrics() -> None:
    scores = drawn()
    logits, labels = tensors(scores)
    found = scores.confidences().measures()
    expected = multiclass_calibration_error(logits.softmax(1), labels, num_classes=7, n_bins=BINS, norm="l1")
    assert found["ece"] == pytest.approx(100 * expected.item(), abs=1e-3)
    assert found["nll"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), abs=1e-6)
    assert found["nll"] == pytest.approx(scores.loss())


def test_temperature_by_hand() -> None:
    """Three of four right at the same score: best where the first class has 3/4, 2 / T = ln 3."""
    scores = make([[2, 0]] * 4, [0, 0, 0, 1])
    temperature = scores.temperature()
    assert temperature == pytest.approx(2 / math.log(3), rel=1e-5)
    assert temperature is not None
    assert scores.confidences(temperature).measures()["ece"] == pytest.approx(0, abs=1e-3)


def test_temperature_undoes_a_scale_and_changes_no_decision() -> None:
    scores = drawn(2000)
    temperature = scores.temperature()
    assert temperature is not None
    hotter = make((3 * scores.scores).tolist(), scores.labels.tolist())
    assert hotter.temperature() == pytest.approx(3 * temperature, rel=1e-4)
    scaled, plain = hotter.confidences(3 * temperature).measures(), hotter.confidences().measures()
    assert scaled["nll"] < plain["nll"] and scaled["ece"] < plain["ece"]
    assert np.array_equal(hotter.confidences(3 * temperature).right, hotter.confidences().right)
    for other in (0.9, 1.1):
        assert (
            scores.confidences(other * temperature).measures()["nll"]
            > scores.confidences(temperature).measures()["nll"]
        )


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([[2, 0], [0, 2]], [0, 1]),  # all right: the colder the better
        ([[2, 0], [0, 2]], [1, 0]),  # all wrong: the hotter the better
        ([[1, 1], [1, 1]], [0, 1]),  # nothing said: every temperature is as good
        ([[np.nan, 0], [0, 2]], [0, 1]),
        (np.zeros((0, 2)), []),
    ],
)
def test_videos_that_fix_no_temperature(scores: list[list[float]], labels: list[int]) -> None:
    values = np.array(scores, dtype=np.float32).reshape(-1, 2)
    assert fit_temperature(values, np.array(labels, dtype=np.int64)) is None


@pytest.mark.parametrize("lowest", [-2.9, 0.1, 2.9])
def test_golden_section(lowest: float) -> None:
    assert golden_section(lambda x: (x - lowest) ** 2, -3, 3) == pytest.approx(lowest, abs=1e-6)


# Intervals


def test_weights_are_repeated_videos() -> None:
    scores = drawn(40, missing=True)
    times = np.random.default_rng(1).integers(0, 4, 40)
    again = np.repeat(np.arange(40), times)
    repeated = make(scores.scores[again].tolist(), scores.labels[again].tolist())
    weights = times.astype(np.float64)
    assert scores.outcomes().metrics(weights) == pytest.approx(repeated.outcomes().metrics())
    assert scores.confidences().measures(weights) == pytest.approx(repeated.confidences().measures())


def test_every_metric_has_an_interval_around_it() -> None:
    scores = drawn()
    found = scores.intervals()
    measured = scores.metrics() | scores.confidences().measures()
    assert list(found) == list(measured)
    for name, (low, high) in found.items():
        assert low < high, name
        if name != "ece":  # drawing again adds noise to every bin, so that the error of most draws is above its own
            assert low < measured[name] < high, name
    assert found == scores.intervals()


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    right = np.arange(1000) < 700
    outcomes = Outcomes(10, np.zeros(1000, np.int64), np.where(right, 0, 9), np.where(right, 0, 1))
    low, high = intervals(outcomes.metrics, 1000)["top1"]
    margin = 100 * 1.96 * math.sqrt(0.7 * 0.3 / 1000)
    assert (low, high) == pytest.approx((70 - margin, 70 + margin), abs=0.4)


def test_intervals_of_what_does_not_vary_and_of_nothing() -> None:
    perfect = make([[9, 0, 0, 0], [0, 9, 0, 0]], [0, 1])
    assert perfect.intervals()["top1"] == perfect.intervals()["macro_f1"] == (100.0, 100.0)
    nothing = Scores(["a"], [], perfect.labels[:0], perfect.scores[:0, :1], perfect.views[:0])
    assert nothing.intervals() == {}


def test_scores_that_are_not_finite_have_metrics_and_no_calibration() -> None:
    scores = make([[np.nan, 0], [0, 1], [1, 0]], [0, 1, 0])
    assert set(scores.intervals()) == set(scores.metrics())
