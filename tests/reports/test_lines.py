"""Lines of a table: what is averaged, what is never mixed, what is missing."""

import os
from pathlib import Path

import numpy as np
import pytest
from src import files
from src.reports import tables
from src.reports.comparisons import compare
from src.reports.lines import Line, lines_of
from src.reports.report import Report
from src.reports.sources import Entry
from src.runs import records
from src.runs.folder import RunFolder
from src.runs.records import SCHEMA, Cost, ErrorRecord
from src.scores import Scores

from tests.reports.made_runs import COST, entry, job, job_of, one_line, scores, share, write_run


def test_a_line_is_the_mean_over_splits_with_its_deviations() -> None:
    folders = [
        write_run(f"r{split}{seed}", share(count), split=split, seed=seed)
        for split, seed, count in [(1, 0, 6), (1, 1, 8), (2, 0, 9)]
    ]
    summary = one_line(folders).summary()
    assert summary is not None
    assert summary.mean == pytest.approx((70 + 90) / 2)
    assert (summary.n, summary.splits) == (3, 2)
    assert summary.sd == pytest.approx(np.std([60, 80, 90], ddof=1))
    assert summary.sd_seeds == pytest.approx(np.sqrt(200))
    assert summary.sd_splits == pytest.approx(np.std([70, 90], ddof=1))


def test_one_run_has_no_deviation() -> None:
    summary = one_line([write_run("r", share(7))]).summary()
    assert summary is not None
    assert (summary.mean, summary.sd, summary.sd_seeds, summary.sd_splits) == (70, None, None, None)


def test_runs_without_a_result_are_missing_and_say_why() -> None:
    done = write_run("done", share(7))
    records.write(RunFolder(Path("crashed")).error, ErrorRecord(SCHEMA, "CUDA out of\nmemory", "now", [], None))
    untested = write_run("untested", share(7), split=4, metrics=None)
    (line,) = lines_of([Entry("bert", [job_of(done), job("crashed", 2), job("nowhere", 3), job(untested, 4)], [], {})])
    assert line.missing == [
        "split 2 seed 0 (crashed: CUDA out of\\nmemory)",
        "split 3 seed 0",
        "split 4 seed 0 (not tested)",
    ]
    assert "split 3 seed 0" in tables.markdown(Report("x", "x", [line]))


def test_the_cost_is_the_one_that_the_run_recorded_and_none_without_results() -> None:
    with_results, without = lines_of(
        [entry("bert", [write_run("r", share(7))]), Entry("lstm", [job("nowhere")], [], {"top1": 77.49})]
    )
    assert with_results.cost == COST
    assert without.cost is None and without.summary() is None
    head, rows = tables.main_table(Report("x", "x", [with_results, without]))
    assert [row[head.index("params M")] for row in rows] == ["1.50", "–"]
    assert [row[head.index("operations G")] for row in rows] == ["2.10", "–"]


def test_of_two_runs_of_one_split_and_seed_the_newest_counts() -> None:
    old, new = write_run("old", share(2)), write_run("new", share(9))
    os.utime(RunFolder(old).results, (1, 1))
    for folders in ([old, new], [new, old]):
        line = one_line(folders)
        assert [run.folder.path for run in line.runs] == [new]
        assert line.problems == ["old: not counted, a newer run has the same split and seed"]


def test_runs_that_diverged_are_flagged() -> None:
    line = one_line([write_run("a", share(5)), write_run("b", share(1), seed=1, diverged=True)])
    made = Report("x", "x", [line])
    assert line.diverged == ["split 1 seed 1"]
    assert any(note.startswith("† Diverged") and "bert: split 1 seed 1" in note for note in made.notes)
    assert "†" in tables.plain(made).split("† Diverged")[0]
    assert r"$\dagger$" in tables.latex(made)
    assert "diverged" in tables.comma_separated(made)


# What must not be mixed


def test_protocols_are_never_mixed() -> None:
    lines = lines_of([entry("bert", [write_run("a", share(6)), write_run("b", share(8), seed=1, protocol="holdout")])])
    assert [line.title for line in lines] == [
        "bert [paper · ordered_motions]",
        "bert [holdout (fraction 0.1) · ordered_motions]",
    ]
    assert [round(line.summary().mean) for line in lines if line.summary()] == [60, 80]
    text = tables.plain(Report("x", "x", lines))
    assert "holdout (fraction 0.1)" in text
    assert "paper · ordered_motions" in text


def test_frozen_backbones_are_never_mixed_with_trained_ones_nor_set_beside_the_paper() -> None:
    folders = [
        write_run("a", share(6)),
        write_run("b", share(8), seed=1, settings={"freeze.kind": "backbone"}),
        write_run("c", share(9), seed=2, settings={"freeze.kind": "stages", "freeze.last": "stage2"}),
    ]
    lines = lines_of([Entry("bert", [job_of(folder) for folder in folders], [], {"top1": 77.49, "params": 47.4})])
    assert [line.title for line in lines] == [
        "bert [paper · ordered_motions]",
        "bert [paper · ordered_motions · frozen backbone]",
        "bert [paper · ordered_motions · frozen backbone up to stage2]",
    ]
    assert [line.paper for line in lines] == [77.49, None, None]
    assert [line.expected.get("params") for line in lines] == [47.4, None, None]
    for first, second in ((0, 1), (1, 2)):
        assert not compare(lines[first], lines[second]).made
    assert "Frozen backbone" in tables.plain(Report("x", "x", lines))


def test_lists_of_videos_are_never_mixed() -> None:
    lines = lines_of([entry("bert", [write_run("a", share(6)), write_run("b", share(8), seed=1, lists="other")])])
    assert [len(line.results) for line in lines] == [1, 1]
    assert lines[0].title != lines[1].title


def test_the_same_lists_at_another_place_share_a_cell() -> None:
    line = one_line([write_run("a", share(6)), write_run("b", share(8), seed=1, root="/elsewhere")])
    assert len(line.results) == 2


def test_lists_in_one_folder_that_changed_are_told_apart_by_themselves() -> None:
    folders = [write_run("a", share(6)), write_run("b", share(8), seed=1, lists="other", root="/data")]
    lines = lines_of([entry("bert", folders)])
    assert [len(line.results) for line in lines] == [1, 1]
    assert "lists test1o" in lines[1].title


# Two streams


def two_streams(rgb: Scores, flow: Scores, flow_lists: str = "") -> Line:
    entries = [
        entry("both", streams=("rgb", "flow")),  # above its streams: the order of rows does not matter
        entry("rgb", [write_run("rgb", [True] * len(rgb.videos), made=rgb)]),
        entry("flow", [write_run("flow", [True] * len(flow.videos), made=flow, lists=flow_lists)]),
    ]
    return lines_of(entries)[0]


def test_two_streams_are_the_sum_of_their_scores_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    one, two = scores(share(5)), scores(share(5))
    one = Scores(one.classes, one.videos, one.labels, rng.normal(size=(10, 6)).astype(np.float32), one.views)
    values = rng.normal(size=(10, 6)).astype(np.float32)
    turned = Scores(two.classes, two.videos[::-1], two.labels[::-1].copy(), values[::-1].copy(), two.views)
    summary = two_streams(one, turned).summary()
    assert summary is not None
    expected = ((one.scores + values).argmax(1) == one.labels).mean()
    assert summary.mean == pytest.approx(100 * expected, abs=1e-3)


def test_streams_of_other_videos_are_not_added() -> None:
    line = two_streams(scores(share(5)), scores(share(5), split=2))
    assert line.summary() is None
    assert "differ in 20 videos" in line.problems[0]


def test_streams_of_other_lists_are_not_added() -> None:
    line = two_streams(scores(share(5)), scores(share(5)), flow_lists="other")
    assert line.summary() is None
    assert "different lists of videos" in line.problems[0]


def test_streams_whose_scores_are_gone_are_not_added() -> None:
    entries = [
        entry("rgb", [write_run("rgb", share(5))]),
        entry("flow", [write_run("flow", share(5))]),
        entry("both", streams=("rgb", "flow")),
    ]
    Path("flow/scores/test.npz").unlink()
    both = lines_of(entries)[2]
    assert both.summary() is None and "cannot be read" in both.problems[0]


def test_two_streams_cost_both_and_wait_for_both() -> None:
    done = write_run("rgb", share(5))
    entries = [
        entry("rgb", [done]),
        Entry("flow", [job("nowhere")], [], {}),
        entry("both", streams=("rgb", "flow")),
    ]
    rgb, flow, both = lines_of(entries)
    assert both.missing == ["split 1 seed 0"]
    assert both.cost is None and flow.cost is None and rgb.cost == COST
    write_run("nowhere", share(5))
    assert lines_of(entries)[2].cost == Cost(3_000_000, 4_000_000_000, 4_200_000_000)


@pytest.mark.parametrize("streams", [["rgb"], ["rgb", "rgb", "rgb"], ["rgb", "both"], ["both", "both"]])
def test_streams_that_are_no_two_rows_are_a_problem_of_their_row_alone(streams: list[str]) -> None:
    rgb, both = lines_of([entry("rgb", [write_run("rgb", share(5))]), entry("both", streams=streams)])
    assert rgb.summary() and not both.summary()
    assert "must be two rows" in both.problems[0]


# The paper's numbers


def test_the_difference_to_the_paper_needs_the_whole_published_test_list() -> None:
    expected = {"top1": 50.0}
    runs = {
        "part": write_run("part", share(6), name="hmdb51"),
        "own": write_run("own", share(900, 1530)),
        "whole": write_run("whole", share(900, 1530), name="hmdb51"),
        "holes": write_run("holes", share(900, 1530), name="hmdb51", tested=1529),
        "ucf101": write_run("ucf", share(1867, 3734), name="ucf101", split=2),
        "another split's": write_run("split", share(1867, 3734), name="ucf101", split=1),
    }
    lines = lines_of([entry(name, [folder], expected=expected) for name, folder in runs.items()])
    differences = {line.name: line.difference for line in lines}
    assert differences.pop("whole") == pytest.approx(100 * 900 / 1530 - 50, abs=1e-3)
    assert differences.pop("ucf101") == pytest.approx(0, abs=1e-3)
    assert set(differences.values()) == {None}


# Curves


def test_curves_of_a_resumed_run_are_one_curve() -> None:
    head = "epoch,step,train/loss_step,train/loss_epoch,val/top1,test/top1\n"
    first = Path("r/csv/version_0/metrics.csv")
    files.write_text(first, head + "0,5,9.0,,,\n0,5,,2.0,,\n0,5,,,10,\n1,9,,1.5,,\n1,9,,,20,\n2,13,,1.4")
    files.write_text(Path("r/csv/version_10/metrics.csv"), head + "2,13,,1.2,,\n2,13,,,40,\n2,13,,,,41\n")
    files.write_text(Path("r/csv/version_2/metrics.csv"), head + "1,9,,1.6,,\n1,9,,,21,\n2,13,,7,,\n")
    (run,) = one_line([write_run("r", share(5))]).runs
    assert run.curves == {"train/loss": {1: 2.0, 2: 1.6, 3: 1.2}, "val/top1": {1: 10.0, 2: 21.0, 3: 40.0}}


def test_values_that_no_chart_can_show_are_left_out() -> None:
    text = "epoch,step,val/loss\n0,1,nan\n1,2,inf\n2,3,1e300\n3,4,2.5\nnan,5,1\n1e300,6,1\n-4,7,1\nx,8,1\n"
    files.write_text(Path("r/csv/version_0/metrics.csv"), text)
    (run,) = one_line([write_run("r", share(5))]).runs
    assert run.curves == {"val/loss": {4: 2.5}}
