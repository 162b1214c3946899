"""Order sensitivity in a report."""

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from src.reports import order
from src.reports.lines import lines_of
from src.reports.runs import Run, read_run
from src.runs.folder import RunFolder
from src.runs.records import Order, Videos

from tests.reports.made_runs import entry, order_of, run_report, share, write_evaluation, write_run


def run_in(folder: Path) -> Run:
    run = read_run(RunFolder(folder))
    assert run is not None
    return run


def test_every_format_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    average = {"pooling.name": "average"}
    write_run("a", share(5), settings=average, order=order_of(50, 50, 50, (50, 50)))
    write_run("b", share(8), order=order_of(80, 40.5, 20, (80, 70, 75)))
    write_run("c", share(8), order=Order(1, 80, None, None, []), seed=1)
    write_run("d", share(8), seed=2)
    said = {}
    for format_ in ("terminal", "markdown", "latex", "csv", "html"):
        run_report("run=a,b,c,d", f"format={format_}")
        said[format_] = capsys.readouterr().out
    table = said["markdown"].split("### Order sensitivity")[1]
    assert (
        "| tiny average | split 1 seed 0 | 2 | 50.00 | 50.00 ± 2.83 | +0.00 | 0.6250 | 50.00 | 0.6250 | – | – |"
        in table
    )
    assert (
        "| tiny bert | split 1 seed 0 | 3 | 80.00 | 40.50 ± 2.83 | −39.50 | 0.6250 | 20.00 | 0.6250 | 2 | 70.00 |"
        in table
    )
    assert "| tiny bert | split 1 seed 1 | 1 | 80.00 | – | – | – | – | – | – | – |" in table
    assert "seed 2" not in table.split("\n- ")[0]
    for text in said.values():
        assert "40.50" in text or "40.5" in text
    first, second = csv.DictReader(io.StringIO(said["csv"]))
    assert (first["order_runs"], first["order_shuffled"], first["order_reversed"]) == ("1", "50.0", "50.0")
    assert (second["order_runs"], second["order_true"], second["order_shuffled"]) == ("1", "80.0", "40.5")
    chart = said["html"].split("Order sensitivity")[1].split("</svg>")[0]
    assert "tiny bert: 80.00 %, 2 draws" in chart and "tiny bert: 20.00 % reversed" in chart


def test_without_such_a_test_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("a", share(5))
    for format_ in ("terminal", "markdown", "latex", "html"):
        run_report("run=a", f"format={format_}")
        assert "sensitivity" not in capsys.readouterr().out


def test_a_line_is_averaged_over_its_runs() -> None:
    folders = [
        write_run("a", share(5), order=order_of(50, 30, 10, (50, 40))),
        write_run("b", share(7), seed=1, order=order_of(70, 40, 20, (50, 40))),
    ]
    (line,) = lines_of([entry("bert", folders)])
    means = order.means(line)
    assert means is not None
    assert (means.runs, means.true, means.shuffled, means.reversed) == (2, 60, 35, 15)
    assert means.draws == [32, 28, 42, 38]


def test_the_newest_evaluation_that_has_it_counts() -> None:
    folder = write_run("a", share(5))
    old, new = order_of(50, 40, 30, (50, 50)), order_of(50, 41, 31, (50, 50))
    write_evaluation(folder, old, "2026-11-26_10-00-00")
    write_evaluation(folder, new, "2026-11-26_11-00-00")
    write_evaluation(folder, None, "2026-11-26_12-00-00")
    assert run_in(folder).order == new
    own = write_run("b", share(5), order=old)
    write_evaluation(own, new)
    assert run_in(own).order == old


@pytest.mark.parametrize(
    "other",
    [{"checkpoint": "a/checkpoints/last.ckpt"}, {"test": Videos(10, "others")}, {"tested": 9}],
)
def test_an_evaluation_of_something_else_does_not(other: dict[str, Any]) -> None:
    folder = write_run("a", share(5))
    write_evaluation(folder, order_of(50, 40, 30, (50, 50)), **other)
    assert (run_in(folder).order, run_in(folder).problems) == (None, [])


POSSIBLE = order_of(50, 40, 30, (50, 50))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (dataclasses.replace(POSSIBLE, top1=101.0), "more than all videos"),
        (order_of(50, 1e300, 30, (50, 50)), "more than all videos"),
        (dataclasses.replace(POSSIBLE, steps=3), "not all of 3 time steps"),
        (dataclasses.replace(POSSIBLE, steps=0, hidden=[]), "not all of 0 time steps"),
        (dataclasses.replace(POSSIBLE, steps=1), "one time step and yet changed"),
        (dataclasses.replace(POSSIBLE, reversed=None), "not all of 2 time steps"),
    ],
)
def test_what_no_test_can_have_said_is_not_used(made: Order, said: str) -> None:
    folder = write_run("a", share(5), order=made)
    (problem,) = run_in(folder).problems
    assert run_in(folder).order is None and said in problem and "a/results.json" in problem
    evaluated = write_run("b", share(5))
    write_evaluation(evaluated, made)
    (problem,) = run_in(evaluated).problems
    assert run_in(evaluated).order is None and said in problem and "evaluation.json" in problem
