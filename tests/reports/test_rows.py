"""Lines of a table: what is averaged, what is never mixed, and where rows come from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from src import files
from src.build import compose
from src.complexity import of_configuration, total
from src.reports import experiments, tables
from src.reports.rows import Job, Line, Row, lines_of
from src.scores import Scores

from tests.reports.made_runs import CLASSES, TINY, job, row_of, scores, share, write_manifest, write_run

# A line


def test_a_line_is_the_mean_over_splits_with_its_deviations() -> None:
    folders = [
        write_run(Path(f"r{split}{seed}"), share(count), split=split, seed=seed)
        for split, seed, count in [(1, 0, 6), (1, 1, 8), (2, 0, 9)]
    ]
    (line,) = lines_of([row_of("bert", folders)])
    summary = line.summary()
    assert summary is not None
    assert summary.mean == pytest.approx((70 + 90) / 2)
    assert (summary.n, summary.splits) == (3, 2)
    assert summary.sd == pytest.approx(np.std([60, 80, 90], ddof=1))
    assert summary.sd_seeds == pytest.approx(np.sqrt(200))
    assert summary.sd_splits == pytest.approx(np.std([70, 90], ddof=1))


def test_one_run_has_no_deviation() -> None:
    (line,) = lines_of([row_of("bert", [write_run(Path("r"), share(7))])])
    summary = line.summary()
    assert summary is not None
    assert (summary.mean, summary.sd, summary.sd_seeds, summary.sd_splits) == (70, None, None, None)


def test_runs_without_a_result_are_missing_and_say_why() -> None:
    done = write_run(Path("done"), share(7))
    crashed = Path("crashed")
    files.write_json(crashed / "error.json", {"message": "CUDA out of memory"})
    row = row_of("bert", [done])
    row.jobs += [Job(crashed, (2, 0)), Job(Path("nowhere"), (3, 0))]
    (line,) = lines_of([row])
    assert line.missing == ["split 2 seed 0 (crashed: CUDA out of memory)", "split 3 seed 0"]
    assert "split 3 seed 0" in tables.markdown(tables.Report("x", "x", [line]))


def test_a_row_without_any_result_has_a_line_with_what_its_network_costs() -> None:
    overrides = (*TINY, "pooling=bert")
    (line,) = lines_of([Row("bert", [Job(Path("nowhere"), (1, 0), overrides)], {"top1": 77.49})])
    assert line.summary() is None
    assert line.cost == total(of_configuration(list(overrides)))
    assert line.missing == ["split 1 seed 0"]
    assert tables.main_table(tables.Report("x", "x", [line]))[1][0][1] == "–"


def test_the_cost_is_that_of_the_runs_own_configuration(bert: DictConfig) -> None:
    (line,) = lines_of([row_of("bert", [write_run(Path("r"), share(7), bert)])])
    overrides = [*TINY, "pooling=bert", f"data.num_classes={len(CLASSES)}"]
    assert line.cost == total(of_configuration(overrides))


# What must not be mixed


def test_protocols_are_never_mixed() -> None:
    folders = [write_run(Path("a"), share(6)), write_run(Path("b"), share(8), seed=1, protocol="holdout")]
    lines = lines_of([row_of("bert", folders)])
    assert [line.title for line in lines] == [
        "bert [paper · ordered_motions]",
        "bert [holdout (fraction 0.1) · ordered_motions]",
    ]
    assert [round(line.summary().mean) for line in lines if line.summary()] == [60, 80]
    text = tables.plain(tables.Report("x", "x", lines))
    assert "holdout (fraction 0.1)" in text
    assert "paper · ordered_motions" in text


def test_lists_of_videos_are_never_mixed() -> None:
    folders = [write_run(Path("a"), share(6)), write_run(Path("b"), share(8), seed=1, lists="other")]
    lines = lines_of([row_of("bert", folders)])
    assert [len(line.results) for line in lines] == [1, 1]
    assert lines[0].title != lines[1].title


def test_the_same_lists_at_another_place_share_a_cell() -> None:
    folders = [write_run(Path("a"), share(6)), write_run(Path("b"), share(8), seed=1)]
    moved = json.loads((folders[1] / "results.json").read_text())
    moved["data"]["root"] = "/elsewhere"
    files.write_json(folders[1] / "results.json", moved)
    assert [len(line.results) for line in lines_of([row_of("bert", folders)])] == [2]


def test_lists_in_one_folder_that_changed_are_told_apart_by_themselves() -> None:
    folders = [write_run(Path("a"), share(6)), write_run(Path("b"), share(8), seed=1)]
    changed = json.loads((folders[1] / "results.json").read_text())
    changed["data"]["test"]["sha256"] = "0123456789"
    files.write_json(folders[1] / "results.json", changed)
    lines = lines_of([row_of("bert", folders)])
    assert [len(line.results) for line in lines] == [1, 1]
    assert "012345" in lines[1].title


# Two streams


def two_streams(rgb: Scores, flow: Scores, flow_lists: str = "") -> Line:
    right = [True] * len(rgb.videos)
    rows = [
        row_of("rgb", [write_run(Path("rgb"), right, scores=rgb)]),
        row_of("flow", [write_run(Path("flow"), right, scores=flow, lists=flow_lists)]),
        Row("both", streams=("rgb", "flow")),
    ]
    return lines_of(rows)[-1]


def test_two_streams_are_the_sum_of_their_scores_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    one, two = scores(share(5)), scores(share(5))
    one = Scores(one.classes, one.videos, one.labels, rng.normal(size=(10, 6)).astype(np.float32), one.views)
    values = rng.normal(size=(10, 6)).astype(np.float32)
    turned = Scores(two.classes, two.videos[::-1], two.labels[::-1].copy(), values[::-1].copy(), two.views)
    line = two_streams(one, turned)
    summary = line.summary()
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
    assert "other lists of videos" in line.problems[0]


def test_two_streams_cost_both_and_wait_for_both(bert: DictConfig) -> None:
    write_run(Path("rgb"), share(5), bert)
    rows = [
        Row("rgb", [Job(Path("rgb"), (1, 0))]),
        Row("flow", [Job(Path("flow"), (1, 0), (*TINY, "pooling=bert"))]),
        Row("both", streams=("rgb", "flow")),
    ]
    rgb, flow, both = lines_of(rows)
    assert both.missing == ["split 1 seed 0"]
    assert rgb.cost and flow.cost and both.cost == rgb.cost + flow.cost


# Where rows come from


def test_a_manifest_with_two_data_sets_makes_a_row_for_each() -> None:
    for name in ("hmdb51", "ucf101"):
        for stream in ("rgb", "flow"):
            write_run(Path(f"{stream}-{name}"), share(6 if name == "hmdb51" else 8), name=name)
    paper = {"hmdb51": 81.78, "ucf101": 97.46, "modality": "both"}
    sets = ("hmdb51", "ucf101")
    rows: list[dict[str, Any]] = [
        {"name": stream, "streams": None, "paper": None, "jobs": [job(f"{stream}-{d}", data=d) for d in sets]}
        for stream in ("rgb", "flow")
    ]
    rows.append({"name": "both", "streams": ["rgb", "flow"], "paper": paper, "jobs": []})
    write_manifest(rows)
    title, read = experiments.from_manifest(Path("outputs/sweeps/mini.json"))
    lines = lines_of(read)
    assert title == "mini: A table of one's own"
    assert [line.name for line in lines][-2:] == ["both · hmdb51", "both · ucf101"]
    assert [line.paper for line in lines][-2:] == [81.78, 97.46]
    assert [round(line.summary().mean) for line in lines if line.summary()] == [60, 80, 60, 80, 60, 80]


def test_the_difference_to_the_paper_needs_the_whole_published_test_list() -> None:
    expected = {"top1": 50.0}
    rows = [
        row_of("part", [write_run(Path("part"), share(6), name="hmdb51")], expected=expected),
        row_of("own", [write_run(Path("own"), share(900, 1530))], expected=expected),
        row_of("whole", [write_run(Path("whole"), share(900, 1530), name="hmdb51")], expected=expected),
        row_of("holes", [write_run(Path("x"), share(900, 1530), name="hmdb51", tested=1529)], expected=expected),
    ]
    differences = [line.difference for line in lines_of(rows)]
    assert differences == [None, None, pytest.approx(100 * 900 / 1530 - 50, abs=1e-3), None]


def test_loose_runs_that_differ_only_in_split_and_seed_make_a_row(bert: DictConfig) -> None:
    two_layers = compose([*TINY, "pooling=bert", "pooling.head.layers=2"])
    average = compose([*TINY, "pooling=average", "optim=sgd"])
    folders = [
        write_run(Path("outputs/a"), share(5), bert),
        write_run(Path("outputs/b"), share(6), bert, seed=1),
        write_run(Path("outputs/c"), share(7), two_layers),
        write_run(Path("outputs/d"), share(8), average),
    ]
    rows = experiments.from_folders(folders)
    assert [(row.name, len(row.jobs)) for row in rows] == [
        ("tiny bert pooling.head.layers=1", 2),
        ("tiny bert pooling.head.layers=2", 1),
        ("tiny average sgd", 1),
    ]
