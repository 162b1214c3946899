"""The command and the files it writes."""

import csv
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from src import files
from src.config import ROOT
from src.errors import UsageError, UserError
from src.reports import html, tables
from src.reports.lines import lines_of
from src.reports.report import Report
from src.reports.sources import Entry
from src.sweeps.manifest import Row

from tests.reports.made_runs import job, run_report, run_status, share, write_manifest, write_run

ODD = "average & <b>50 %</b>_x"


@pytest.fixture()
def sweep() -> None:
    """Two rows of three seeds, one of them missing, and a row with a name to be escaped."""
    for seed in range(3):
        write_run(f"outputs/runs/a{seed}", share(4 + seed, 24), seed=seed)
        text = "epoch,step,train/loss_epoch,train/top1,val/loss,val/top1\n0,1,2,20,,\n0,1,,,1.9,30\n1,2,1,30,,\n"
        files.write_text(Path(f"outputs/runs/a{seed}/csv/version_0/metrics.csv"), text)
        if seed < 2:
            write_run(f"outputs/runs/b{seed}", share(14 + seed, 24), seed=seed)
    write_manifest(
        [
            Row(name, [], [job(f"outputs/runs/{letter}{seed}", 1, seed) for seed in range(3)])
            for letter, name in (("a", ODD), ("b", "bert"))
        ],
        table="table1",
    )


def test_the_command_prints_the_table_and_writes_the_files(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_report("mini") == 0
    folder = Path("outputs/reports/mini")
    assert sorted(path.name for path in folder.iterdir()) == [f"report.{x}" for x in ("csv", "html", "md", "tex")]
    printed = capsys.readouterr().out
    assert "bert" in printed and "77.49" in printed and "split 1 seed 2" in printed
    record = list(csv.DictReader(io.StringIO((folder / "report.csv").read_text())))[1]
    assert float(record["top1"]) == pytest.approx(100 * 14.5 / 24, abs=1e-3)
    assert (record["n"], record["missing"], record["protocol"]) == ("2", "split 1 seed 2", "paper")
    assert record["folders"] == "outputs/runs/b0; outputs/runs/b1"
    assert (record["params"], record["paper_top1"]) == ("1500000", "77.49")


class Page(HTMLParser):
    """Every address and every tag of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "data")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_links_to_the_configurations(sweep: None) -> None:
    run_report("mini")
    path = Path("outputs/reports/mini/report.html")
    text = path.read_text()
    page = Page(text)
    assert not page.open
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert len(page.addresses) == 5
    assert all((path.parent / address).resolve().is_file() for address in page.addresses)
    assert "<b>50" not in text
    assert text.count('role="img"') == 1 + 4 + 2  # dots, four curves, a confusion matrix a row


def test_latex_and_markdown_escape_what_they_must(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    run_report("mini", "format=latex")
    text = capsys.readouterr().out
    assert r"average \& $<$b$>$50 \%$<$/b$>$\_x" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert r"$\pm$" in text
    assert all(line.startswith("%") or line.isascii() for line in text.splitlines())
    (line,) = lines_of([Entry("a|b", [], [], {})])
    assert r"a\|b" in tables.markdown(Report("x", "x", [line]))


def test_one_format_goes_where_it_is_sent(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    run_report("experiment=mini", "format=csv")
    assert capsys.readouterr().out.startswith("experiment,row,protocol")
    run_report("mini", "format=html", "out=pages/mine.html")
    addresses = Page(Path("pages/mine.html").read_text()).addresses
    assert addresses[0] == "../outputs/runs/a0/config.yaml"
    assert not Path("outputs/reports").exists()


def test_compare_on_the_command_line(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    run_report("mini", "compare=2,1", "format=markdown")
    pairs = capsys.readouterr().out.split("### Paired tests")[1]
    assert r"| bert | average & \<b>50 %\</b>_x | −41.67 |" in pairs


def test_without_words_all_sweeps_and_the_runs_of_none(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    write_run("outputs/by_hand", share(5))
    run_report()
    printed = capsys.readouterr().out
    assert "A table of one's own" in printed and "Single runs" in printed
    with (Path("outputs/reports/runs/report.csv")).open() as file:
        assert [row["folders"] for row in csv.DictReader(file)] == ["outputs/by_hand"]


@pytest.mark.parametrize("words", [["run=a,b", "run=c"], ["runs=a", "run=b,c"], ["run=a", "runs=b", "run=c"]])
def test_runs_by_hand_in_every_spelling(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("a", "b", "c")):
        write_run(name, share(seed), seed=seed)
    assert run_report(*words, "format=csv") == 0
    (record,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert record["folders"] == "a; b; c"


def test_a_folder_with_a_comma_in_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("a,b", share(3))
    assert run_report("run=a,b", "format=csv") == 0
    (record,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert record["folders"] == "a,b"


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (["table9"], UserError, r"no sweep table9 has been started; there are: mini \(in outputs/sweeps/\)"),
        (["format=pdf"], UsageError, "format=pdf: choose one of terminal, markdown, csv, latex, html"),
        (["sort=top1"], UsageError, "sort=top1: unknown option"),
        (["-x"], UsageError, "-x: unknown option"),
        (["mini", "run=outputs/nothing"], UserError, "run=outputs/nothing: holds no run"),
        (["mini", "compare=bert"], UserError, "compare=bert: give two rows"),
        (["mini", "run=outputs/runs/a0", "out=x"], UsageError, "out=x takes one report, and these are 2: mini, runs"),
    ],
)
def test_mistakes_on_the_command_line(sweep: None, arguments: list[str], kind: type[UserError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        run_report(*arguments)
    assert type(caught.value) is kind


def test_nothing_to_report() -> None:
    with pytest.raises(UserError, match="nothing to report"):
        run_report()


def test_a_page_of_an_experiment_without_results_stands() -> None:
    (line,) = lines_of([Entry("bert", [job("nowhere")], [], {"top1": 77.49})])
    page = Page(html.page(Report("x", "x", [line]), Path()))
    assert not page.open


def test_the_status_of_every_sweep_or_one(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["mini"], ["experiment=mini"], ["experiments=mini"]):
        assert run_status(*words) == 0
        printed = capsys.readouterr().out
        assert printed.count("finished") == 5 and printed.count("missing") == 1
        assert "top-1 16.67 %" in printed and "outputs/runs/b2" in printed
    with pytest.raises(UsageError, match="experiment=tabel1: no such experiment; choose one of"):
        run_status("tabel1")


def test_the_status_of_an_experiment_that_has_not_been_started(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_status("experiment=table6") == 0
    printed = capsys.readouterr().out
    assert printed.count("missing") == 2 and "hmdb51 split 1" in printed


HEAVY = {"torch", "torchvision", "pytorch_lightning", "decord", "av", "hydra", "omegaconf", "matplotlib", "wandb"}
COUNT_MODULES = f"""
import runpy, sys
module, *sys.argv = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__")
except SystemExit as exit:
    assert not exit.code, exit.code
for name in {sorted(HEAVY)}:
    if name in sys.modules:
        print(name, file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["src.report", "mini"], ["src.report"], ["src.sweep", "status"]])
def test_reading_imports_nothing_heavy(sweep: None, words: list[str]) -> None:
    command = [sys.executable, "-c", COUNT_MODULES, words[0], *words]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "bert" in done.stdout
    assert done.stderr.split() == []
