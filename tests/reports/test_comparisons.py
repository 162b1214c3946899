"""Paired comparisons of rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from src.errors import UserError
from src.reports import comparisons
from src.reports.lines import lines_of

from tests.reports.made_runs import entry, scores, share, write_run


def test_rows_under_different_protocols_are_not_compared() -> None:
    lines = lines_of(
        [
            entry("a", [write_run(Path("a"), share(6))]),
            entry("b", [write_run(Path("b"), share(8), protocol="holdout")]),
        ]
    )
    assert comparisons.against_first(lines) == []
    assert "not comparable" in comparisons.compare(lines[0], lines[1]).note


def compared(first: Sequence[bool], second: Sequence[bool], **other: Any) -> comparisons.Comparison:
    write_run(Path("first"), first)
    write_run(Path("second"), second, **other)
    return comparisons.compare(*lines_of([entry("a", [Path("first")]), entry("b", [Path("second")])]))


def test_comparison_counts_the_videos_that_only_one_row_gets_right() -> None:
    # 12 videos: 1 right in the first alone, 6 in the second alone, 5 in both.
    made = compared([True] * 6 + [False] * 6, [False] + [True] * 11)
    assert (made.only_first, made.only_second, made.videos, made.pairs) == (1, 6, 12, 1)
    assert made.difference == pytest.approx(100 * 5 / 12)
    assert made.p == pytest.approx(2 * (1 + 7) / 2**7)
    assert made.p_mid == pytest.approx(made.p - 7 / 2**7)
    assert made.low <= made.difference <= made.high


def test_scores_of_other_classes_are_not_compared() -> None:
    classes = ["up", "down", "left", "right", "in", "other"]
    made = compared(share(5), share(5), made=scores(share(5), classes=classes))
    assert not made.made
    assert "different classes" in made.note


def test_pairs_need_the_same_split_and_seed() -> None:
    made = compared(share(5), share(5), seed=1)
    assert not made.made
    assert made.note == "no split and seed in common"


def test_compare_picks_rows_by_name_or_number() -> None:
    names = ["average", "bert, 2 layers", "bert"]
    lines = lines_of([entry(name, [write_run(Path(f"r{i}"), share(i))]) for i, name in enumerate(names)])
    picked = {text: comparisons.pick(lines, text)[0] for text in ("average,bert, 2 layers", "1,3", "bert,average")}
    assert [(a.name, b.name) for a, b in picked.values()] == [
        ("average", "bert, 2 layers"),
        ("average", "bert"),
        ("bert", "average"),
    ]
    with pytest.raises(UserError, match=r"no row lstm; rows: 1 average, 2 bert, 2 layers, 3 bert"):
        comparisons.pick(lines, "average,lstm")
    with pytest.raises(UserError, match="give two rows"):
        comparisons.pick(lines, "average")


def test_holm_is_over_the_comparisons_that_were_made() -> None:
    ones = [comparisons.Comparison("a", str(p), pairs=pairs, p=p) for p, pairs in [(0.01, 1), (0.5, 0), (0.03, 1)]]
    corrected = comparisons.apply_holm(ones)
    assert [c.p_holm for c in corrected] == pytest.approx([0.02, 1.0, 0.03])
