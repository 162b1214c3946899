"""Files that are damaged or doctored: named, with the reason; the rest of the report stands, and no code runs."""

import copy
import csv
import io
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from src import files
from src.errors import UserError
from src.reports import report, tables
from src.reports.lines import lines_of
from src.reports.sources import Entry, Source
from src.runs import records
from src.runs.folder import RunFolder
from src.runs.records import SCHEMA, ErrorRecord
from src.scores import Scores
from src.sweeps import manifest
from src.sweeps.manifest import Row

from tests.reports import made_runs
from tests.reports.made_runs import (
    job,
    order_of,
    run_report,
    run_status,
    scores,
    share,
    write_evaluation,
    write_manifest,
    write_run,
)

SOUND = "outputs/runs/sound"
ROUNDS = [40, pytest.param(400, marks=pytest.mark.slow)]  # of each kind of file
FORMATS = ("terminal", "markdown", "csv", "latex", "html")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
CODE = {"_target_": "pathlib.Path.touch", "_args_": [{"_target_": "pathlib.Path", "_args_": ["ran"]}]}
ODD: list[Any] = [
    *(None, True, -1, 0, 2, 1.5, 1e308, -1e308, float("nan"), float("inf"), 2**70, 10**400),
    *("", "x", "\x1b[31mred\x07", "[bold]", "</td><script>", "\ud800", "a\0b", "=1+1", "../..", "/dev", "n" * 5000),
    *([], {}, [[]], [None], {"a": 1}, {"top1": "x"}, CODE),
]


@pytest.fixture()
def place() -> None:
    """A sweep with a row that stays as it is and one whose files are changed, and a second sweep and a loose run."""
    write_run(SOUND, share(7))
    write_run("outputs/runs/hurt", share(5), seed=1, order=order_of(50, 40, 30, (50, 20)))
    records.write(RunFolder(Path("outputs/runs/crashed")).error, ErrorRecord(SCHEMA, "no memory", "now", [], None))
    curves = "epoch,step,train/loss_epoch,val/top1\n0,1,2.0,\n0,1,,30\n1,2,1.5,\n1,2,,40\n"
    files.write_text(Path("outputs/runs/hurt/csv/version_0/metrics.csv"), curves)
    write_evaluation(write_run("outputs/loose", share(3)), order_of(30, 20, 10, (30, 20, 30)))
    jobs = [job("outputs/runs/hurt", seed=1), job("outputs/runs/crashed", seed=2)]
    rows = [Row("sound", [], [job(SOUND)]), Row("hurt", [], jobs), Row("both", ["sound", "hurt"], [])]
    write_manifest(rows, "whole", table="table1")
    write_manifest([Row("hurt", [], [job("outputs/runs/hurt", seed=1)]), Row("none", [], [])], "part")


JSON_FILES = {
    "results.json": "outputs/runs/hurt/results.json",
    "run.json": "outputs/runs/hurt/run.json",
    "error.json": "outputs/runs/crashed/error.json",
    "manifest": "outputs/sweeps/part.json",
    "evaluation": "outputs/loose/evaluations/2026-11-26_10-00-00/evaluation.json",
}
ALL_FILES = {
    **JSON_FILES,
    "scores": "outputs/runs/hurt/scores/test.npz",
    "curves": "outputs/runs/hurt/csv/version_0/metrics.csv",
    "configuration": "outputs/runs/hurt/config.yaml",
}


def check_the_rest_stands(capsys: pytest.CaptureFixture[str], format_: str = "terminal") -> str:
    """Report and status on everything; returns what they print."""
    capsys.readouterr()
    assert run_report("whole", "part", "run=outputs/runs/hurt,outputs/loose", f"format={format_}") == 0
    report = capsys.readouterr()
    assert run_status() == 0
    status = capsys.readouterr()
    assert ("70.00" if format_ != "csv" else ",70.0,") in report.out
    assert "top-1 70.00 %" in status.out
    printed = report.out + report.err + status.out + status.err
    assert not CONTROL.search(printed)
    if format_ == "html":
        assert "<script" not in report.out
    assert not Path("ran").exists()
    return printed


def changed(value: Any, draw: random.Random) -> Any:
    """A JSON value with one odd value in it, a key removed, or a key added."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.15:
        return draw.choice(ODD)
    value = copy.copy(value)
    key = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
    kind = draw.random()
    if kind < 0.1:
        del value[key]
    elif kind < 0.2 and isinstance(value, dict):
        value[draw.choice(["_target_", "schema", "x", ""])] = draw.choice(ODD)
    else:
        value[key] = changed(value[key], draw)
    return value


def hurt(content: bytes, draw: random.Random) -> bytes:
    """Bytes with some of them changed, removed, repeated, or cut off."""
    kind = draw.random()
    at = draw.randrange(len(content))
    if kind < 0.15:
        return content[:at]
    if kind < 0.3:
        return content[:at] + content[at + draw.randrange(1, 20) :]
    if kind < 0.4:
        return content[:at] + content[at : at + 50] + content[at:]
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 40])):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("name", JSON_FILES)
def test_values_of_wrong_types(name: str, rounds: int, place: None, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(name)
    path = Path(JSON_FILES[name])
    content = json.loads(path.read_text())
    for _ in range(rounds):
        path.write_text(json.dumps(changed(content, draw)))
        check_the_rest_stands(capsys, draw.choice(FORMATS))


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("name", [name for name in ALL_FILES if name != "evaluation"])  # read like the other records
def test_bytes_that_were_lost(name: str, rounds: int, place: None, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(name)
    path = Path(ALL_FILES[name])
    content = path.read_bytes()
    for _ in range(rounds):
        path.write_bytes(hurt(content, draw))
        check_the_rest_stands(capsys, draw.choice(FORMATS))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def not_utf8(path: Path) -> None:
    path.write_bytes(b'{"schema": "\xff\xfe"}\n' + bytes(range(256)))


def deeply_nested(path: Path) -> None:
    path.write_text("[" * 100_000)


def rather_nested(path: Path) -> None:
    path.write_text('{"schema": ' + "[" * 400 + "]" * 400 + "}")


def large_numbers(path: Path) -> None:
    path.write_text('{"schema": 2, "seed": ' + "9" * 4000 + "}")


def another_version(path: Path) -> None:
    path.write_text('{"schema": 99}')


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS: list[Callable[[Path], None]] = [
    *(empty, not_utf8, deeply_nested, rather_nested, large_numbers, another_version, sparse),
    *(folder, pipe, link_to_itself, link_to_a_device),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL_FILES)
def test_something_else_in_place_of_a_file(
    name: str, kind: Callable[[Path], None], place: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(ALL_FILES[name])
    path.unlink()
    kind(path)
    printed = check_the_rest_stands(capsys, "html" if name == "curves" else "terminal")  # only pages show curves
    content = kind in KINDS[:7]  # a file, though not what it should be
    if content and name in ("results.json", "manifest", "scores", "error.json", "evaluation"):
        assert str(path) in "".join(printed.split())


# What the report says of them


def test_a_score_file_that_is_gone_takes_only_the_comparison_with_it() -> None:
    entries = [
        made_runs.entry("a", [write_run("first", share(5))]),
        made_runs.entry("b", [write_run("second", share(7))]),
    ]
    Path("second/scores/test.npz").unlink()
    made = report.make(Source("x", "x", entries), [])
    assert "no readable scores" in made.comparisons[0].note
    assert "second/scores/test.npz: no score file here; a run writes it when its test phase ends" in made.notes
    assert "70.00" in tables.plain(made)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (scores(share(9)), "gives 90.00 % top-1, but results.json says 50.00 %"),
        (scores(share(6, 12)), "of other videos or classes than results.json"),
        (scores(share(5), classes=["a", "b", "c", "d", "e", "f"]), "of other videos or classes than results.json"),
    ],
)
def test_scores_that_belong_to_another_result_are_not_used(made: Scores, said: str) -> None:
    folder = write_run("r", share(5))
    made.save(RunFolder(folder).scores)
    (run,) = made_runs.one_line([folder]).runs
    assert run.scores is None
    assert said in run.problems[0]


@pytest.mark.parametrize("value", [-1, 101, 1e300])
def test_a_share_of_more_than_all_videos_is_damage(value: float) -> None:
    folder = write_run("r", share(5), metrics={"top1": value})
    (line,) = lines_of([Entry("bert", [job(folder)], [], {})])
    assert not line.results
    assert "metrics.top1" in line.problems[0]


def test_only_damaged_manifests_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    files.write_text(Path("outputs/sweeps/odd.json"), '{"schema": 2, "rows": [{}]}')
    for command in (run_report, run_status):
        with pytest.raises(UserError):
            command()
        with pytest.raises(UserError):
            command("odd")
        assert "outputs/sweeps/odd.json: damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    "rows",
    [
        [Row("a", [], []), Row("a", [], [])],
        [Row("a", ["b", "c"], [])],
        [Row("a", [], [job("outputs/a\0b")])],
    ],
)
def test_manifests_that_no_sweep_writes(rows: list[Row]) -> None:
    path = write_manifest(rows)
    with pytest.raises(UserError, match=r"outputs/sweeps/mini.json: damaged"):
        manifest.read(path)


def test_names_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        "[bold]x[/bold]",
        "=cmd()",
        "+1",
        "-1",
        "@a",
        "\x1b[2J",
        "a | b\nc",
        "\\input{x}",
        "</td><script>",
        "[a](b)",
    ]
    write_manifest([Row(name, [], [job(write_run(f"r{i}", share(i)))]) for i, name in enumerate(names)])
    printed = {}
    for format_ in FORMATS:
        run_report("mini", f"format={format_}")
        printed[format_] = capsys.readouterr().out
        assert not CONTROL.search(printed[format_])
    assert "[bold]x[/bold]" in printed["terminal"] and "\\x1b[2J" in printed["terminal"]
    rows = [record["row"] for record in csv.DictReader(io.StringIO(printed["csv"]))]
    assert rows == [names[0], "'=cmd()", "'+1", "'-1", "'@a", "\\x1b[2J", "a | b\\nc", *names[7:]]
    assert r"| a \| b\\nc |" in printed["markdown"] and r"[a]\(b)" in printed["markdown"]
    assert r"\textbackslash{}input\{x\}" in printed["latex"] and "\\input" not in printed["latex"]
    assert "&lt;/td&gt;&lt;script&gt;" in printed["html"] and "<script" not in printed["html"]
