"""Paired comparisons of rows, and score files and folders that are not whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from src import files
from src.errors import UserError
from src.reports import comparisons, experiments, tables
from src.reports.rows import Job, Row, lines_of
from src.reports.runs import read_run

from tests.reports.made_runs import row_of, scores, share, write_run


def test_rows_under_different_protocols_are_not_compared() -> None:
    lines = lines_of(
        [
            row_of("a", [write_run(Path("a"), share(6))]),
            row_of("b", [write_run(Path("b"), share(8), protocol="holdout")]),
        ]
    )
    assert comparisons.against_first(lines) == []
    assert "not comparable" in comparisons.compare(lines[0], lines[1]).note


def compared(first: Sequence[bool], second: Sequence[bool], **other: Any) -> comparisons.Comparison:
    write_run(Path("first"), first)
    write_run(Path("second"), second, **other)
    return comparisons.compare(*lines_of([row_of("a", [Path("first")]), row_of("b", [Path("second")])]))


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
    made = compared(share(5), share(5), scores=scores(share(5), classes=classes))
    assert not made.made
    assert "other lists of classes" in made.note


def test_pairs_need_the_same_split_and_seed() -> None:
    made = compared(share(5), share(5), seed=1)
    assert not made.made
    assert made.note == "no split and seed in common"


def test_compare_picks_rows_by_name_or_number() -> None:
    names = ["average", "bert, 2 layers", "bert"]
    lines = lines_of([row_of(name, [write_run(Path(f"r{i}"), share(i))]) for i, name in enumerate(names)])
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


# Folders that are not whole


def test_a_score_file_that_is_gone_takes_only_the_comparison_with_it() -> None:
    write_run(Path("first"), share(5))
    write_run(Path("second"), share(7))
    Path("second/scores/test.npz").unlink()
    lines = lines_of([row_of("a", [Path("first")]), row_of("b", [Path("second")])])
    made = tables.Report("x", "x", lines, [comparisons.compare(*lines)])
    assert "no readable scores" in made.comparisons[0].note
    assert any("second/scores/test.npz: no score file here" in note for note in made.notes)
    assert "70.00" in tables.plain(made)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_broken_score_files_are_told(content: bytes) -> None:
    run = read_run(write_run(Path("r"), share(5)))
    assert run is not None
    Path("r/scores/test.npz").write_bytes(content)
    assert run.scores is None
    assert "cannot be read" in run.problems[0]


def test_scores_that_belong_to_another_result_are_not_used() -> None:
    run = read_run(write_run(Path("r"), share(5)))
    assert run is not None
    scores(share(9)).save(Path("r/scores/test.npz"))
    assert run.scores is None
    assert "gives 90.00 % top-1, but results.json says 50.00 %" in run.problems[0]


@pytest.mark.parametrize("name", ["results.json", "run.json", "config.yaml"])
def test_half_written_files_do_not_end_the_report(name: str, bert: DictConfig) -> None:
    write_run(Path("r"), share(5), bert)
    Path("r", name).write_text('{"model": [1, ')
    (line,) = lines_of([Row("bert", [Job(Path("r"), (1, 0))])])
    assert any(name in problem for problem in line.problems)
    assert bool(line.results) == (name != "results.json")


def test_a_folder_with_nothing_in_it_is_no_run() -> None:
    Path("empty").mkdir()
    assert read_run(Path("empty")) is None
    with pytest.raises(UserError, match="runs=empty: holds no run"):
        experiments.from_folders([Path("empty")])


def test_curves_of_a_resumed_run_are_one_curve() -> None:
    head = "epoch,step,train/loss_step,train/loss_epoch,val/top1,test/top1\n"
    first = Path("r/csv/version_0/metrics.csv")
    files.write_text(first, head + "0,5,9.0,,,\n0,5,,2.0,,\n0,5,,,10,\n1,9,,1.5,,\n1,9,,,20,\n2,13,,1.4")
    files.write_text(Path("r/csv/version_10/metrics.csv"), head + "2,13,,1.2,,\n2,13,,,40,\n2,13,,,,41\n")
    files.write_text(Path("r/csv/version_2/metrics.csv"), head + "1,9,,1.6,,\n1,9,,,21,\n2,13,,7,,\n")
    run = read_run(write_run(Path("r"), share(5)))
    assert run is not None
    assert run.curves == {"train/loss": {1: 2.0, 2: 1.6, 3: 1.2}, "val/top1": {1: 10.0, 2: 21.0, 3: 40.0}}
