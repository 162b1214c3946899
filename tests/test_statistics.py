import math

import numpy as np
import pytest
from src.statistics import binomial, bootstrap, deviation, holm, sign_test, summarize


def signs(*counts: tuple[int, int]) -> np.ndarray:
    """Differences from (value, how often)."""
    return np.concatenate([np.full(count, value, dtype=np.int64) for value, count in counts])


def test_summary_weighs_splits_alike() -> None:
    summary = summarize({(1, 0): 10.0, (1, 1): 20.0, (1, 2): 30.0, (2, 0): 40.0})
    assert (summary.mean, summary.n, summary.splits) == (30.0, 4, 2)
    assert summary.sd_seeds == pytest.approx(10.0)
    assert summary.sd_splits == pytest.approx(math.sqrt(200))


def test_one_value_does_not_deviate_and_none_is_refused() -> None:
    assert deviation([3.0]) is None
    with pytest.raises(ValueError, match="no values"):
        summarize({})


@pytest.mark.parametrize(
    ("first", "second", "exact"),
    [  # worked out by hand: 2 * sum of C(n, k) for k up to the smaller count, over 2^n
        (0, 5, 2 * 1 / 32),
        (1, 5, 2 * (1 + 6) / 64),
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (4, 4, 1.0),
        (0, 0, 1.0),
    ],
)
def test_exact_mcnemar(first: int, second: int, exact: float) -> None:
    made = sign_test(signs((-1, first), (1, second), (0, 30)))
    assert made.exact == pytest.approx(exact)


def test_mid_p_takes_half_of_what_was_seen() -> None:
    made = sign_test(signs((-1, 2), (1, 8)))
    assert made.mid == pytest.approx(made.exact - 45 / 1024)


def test_mcnemar_on_the_approval_ratings() -> None:
    """Agresti's two surveys of the same 1600 voters: 86 and 150 changed their minds; z² = 17.36."""
    made = sign_test(signs((-1, 150), (1, 86)))
    expected = 2 * sum(math.comb(236, k) for k in range(87)) / 2**236
    assert made.exact == pytest.approx(expected, rel=1e-9)
    assert made.exact == pytest.approx(3.7e-5, rel=0.02)


def test_videos_judged_twice_count_once() -> None:
    """Two seeds that agree on every video tell no more than one of them."""
    once = signs((-1, 1), (1, 5))
    assert sign_test(2 * once).exact == pytest.approx(sign_test(once).exact)


def test_mixed_magnitudes_agree_with_enumeration() -> None:
    differences = np.array([3, -1, 2, 1, 1, 0, -2])
    sizes = np.abs(differences[differences != 0])
    flips = np.array(np.meshgrid(*[[-1, 1]] * len(sizes))).reshape(len(sizes), -1)
    sums = np.abs((flips * sizes[:, None]).sum(0))
    assert sign_test(differences).exact == pytest.approx((sums >= abs(differences.sum())).mean())


def test_the_test_keeps_its_level() -> None:
    rng = np.random.default_rng(0)
    found = [sign_test(rng.integers(-2, 3, size=40)).exact < 0.05 for _ in range(400)]
    assert np.mean(found) < 0.075


def test_binomial_sums_to_one_where_factorials_overflow() -> None:
    assert binomial(5000).sum() == pytest.approx(1)
    assert binomial(4).tolist() == pytest.approx([x / 16 for x in (1, 4, 6, 4, 1)])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_bootstrap_covers_the_true_difference() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for seed in range(80):
        differences = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=(1, 150))
        low, high = bootstrap(differences, np.ones_like(differences, dtype=bool), draws=200, seed=seed)
        hits.append(low <= 0.2 <= high)
    assert 0.88 <= np.mean(hits) <= 1


def test_bootstrap_weighs_splits_alike_and_repeats_itself() -> None:
    differences = np.array([[1.0] * 90 + [9.0] * 10, [9.0] * 90 + [0.0] * 10])
    present = np.array([[True] * 90 + [False] * 10, [False] * 90 + [True] * 10])
    low, high = bootstrap(differences, present)
    assert (low, high) == (0.5, 0.5)
    assert bootstrap(differences, present) == (low, high)
