"""Charts: axes that hold their values, and curves that are averaged over runs."""

import itertools
import re

import numpy as np
import pytest
from src.reports import charts


def test_ticks_are_round_and_hold_the_values() -> None:
    assert charts.ticks(0.12, 0.57) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert charts.ticks(20, 30, 6) == [20, 22, 24, 26, 28, 30]


@pytest.mark.parametrize("magnitude", [1e-320, 1e-12, 1e-5, 1, 1e4, 1e15, 1e29])
def test_axes_stand_whatever_the_values_are(magnitude: float) -> None:
    rng = np.random.default_rng(0)
    cases = [(x, x) for x in (0.0, magnitude, -magnitude)] + [(magnitude, magnitude * (1 + 1e-15))]
    for _ in range(200):
        low, high = sorted(rng.normal(size=2) * magnitude)
        cases.append((float(low), float(high)))
    for low, high in cases:
        ticks = charts.ticks(low, high)
        assert all(a < b for a, b in itertools.pairwise(ticks))
        slack = 1e-6 * (ticks[-1] - ticks[0])
        assert ticks[0] <= low + slack and high - slack <= ticks[-1]
        assert 2 <= len(ticks) <= 14


def test_a_band_is_the_mean_and_range_where_all_runs_have_values() -> None:
    runs = [{"val/top1": {1: 10.0, 2: 20.0, 3: 30.0}}, {"val/top1": {1: 20.0, 2: 60.0}}, {"val/loss": {1: 1.0}}]
    band = charts.band(runs, "val/top1")
    assert band == charts.Band({1: 15.0, 2: 40.0}, {1: 10.0, 2: 20.0}, {1: 20.0, 2: 60.0}, 2)
    assert charts.band(runs, "train/loss") is None


def test_a_chart_of_constant_values_is_drawn() -> None:
    band = charts.band([{"val/loss": {1: 1e-12, 2: 1e-12}}], "val/loss")
    assert band is not None
    drawn = charts.lines({0: band}, ["a & <b>"], "", "loss")
    assert "nan" not in drawn and "inf" not in drawn
    assert "a &amp; &lt;b&gt;, epoch 2" in drawn


def test_a_confusion_matrix_shows_shares_of_the_true_class() -> None:
    drawn = charts.confusion(np.array([[3, 1], [0, 0]]), ["x", "<y>"], 0)
    assert "x taken for &lt;y&gt;: 1 (25 %)" in drawn
    assert len(re.findall(r"<rect x=", drawn)) == 2  # a cell without videos is left blank
