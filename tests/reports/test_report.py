"""The command and the files it writes."""

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from omegaconf import DictConfig
from src import files, report
from src.errors import UserError
from src.reports import html, tables
from src.reports.rows import Job, Row, lines_of

from tests.reports.made_runs import job, share, write_manifest, write_run


@pytest.fixture()
def sweep(bert: DictConfig) -> None:
    """Two rows of three seeds, one of them missing, and a row with a name to be escaped."""
    for seed in range(3):
        write_run(Path(f"outputs/runs/a{seed}"), share(4 + seed, 24), bert, seed=seed)
        text = "epoch,step,train/loss_epoch,train/top1,val/loss,val/top1\n0,1,2,0.2,,\n0,1,,,1.9,30\n1,2,1,0.3,,\n"
        files.write_text(Path(f"outputs/runs/a{seed}/csv/version_0/metrics.csv"), text)
        if seed < 2:
            write_run(Path(f"outputs/runs/b{seed}"), share(14 + seed, 24), bert, seed=seed)
    printed = {"top1": 74.46, "params": 47.63, "operations": 38.56}
    rows = [
        {
            "name": name,
            "streams": None,
            "paper": printed,
            "jobs": [job(f"outputs/runs/{x}{s}", 1, s) for s in range(3)],
        }
        for x, name in (("a", "average & <b>50 %</b>_x"), ("b", "bert"))
    ]
    write_manifest(rows)


def test_the_command_prints_the_table_and_writes_the_files(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["mini"])
    folder = Path("outputs/reports/mini")
    assert sorted(path.name for path in folder.iterdir()) == [f"report.{x}" for x in ("csv", "html", "md", "tex")]
    printed = capsys.readouterr().out
    assert "bert" in printed and "74.46" in printed and "split 1 seed 2" in printed
    record = list(csv.DictReader(io.StringIO((folder / "report.csv").read_text())))[1]
    assert float(record["top1"]) == pytest.approx(100 * 14.5 / 24, abs=1e-3)
    assert (record["n"], record["missing"], record["protocol"]) == ("2", "split 1 seed 2", "paper")
    assert record["folders"] == "outputs/runs/b0; outputs/runs/b1"


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
    report.main(["mini"])
    path = Path("outputs/reports/mini/report.html")
    text = path.read_text()
    page = Page(text)
    assert not page.open
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert len(page.addresses) == 5
    assert all((path.parent / address).resolve().is_file() for address in page.addresses)
    assert "<b>50" not in text
    assert page.tags.count("svg") == 1 + 4 + 2  # dots, four curves, a confusion matrix a row


def test_latex_and_markdown_escape_what_they_must(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["mini", "format=latex"])
    text = capsys.readouterr().out
    assert r"average \& $<$b$>$50 \%$<$/b$>$\_x" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert r"$\pm$" in text
    assert all(line.startswith("%") or line.isascii() for line in text.splitlines())
    (line,) = lines_of([Row("a|b")])
    assert r"a\|b" in tables.markdown(tables.Report("x", "x", [line]))


def test_one_format_goes_where_it_is_sent(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["mini", "format=csv"])
    assert capsys.readouterr().out.startswith("experiment,row,protocol")
    report.main(["mini", "format=html", "out=pages/mine.html"])
    addresses = Page(Path("pages/mine.html").read_text()).addresses
    assert addresses[0] == "../outputs/runs/a0/config.yaml"
    assert not Path("outputs/reports").exists()


def test_compare_on_the_command_line(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["mini", "compare=2,1", "format=markdown"])
    pairs = capsys.readouterr().out.split("### Paired tests")[1]
    assert "| bert | average & <b>50 %</b>_x | −41.67 |" in pairs


def test_without_words_all_sweeps_and_the_runs_of_none(
    sweep: None, bert: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(Path("outputs/by_hand"), share(5), bert)
    report.main([])
    printed = capsys.readouterr().out
    assert "A table of one's own" in printed and "Single runs" in printed
    with (Path("outputs/reports/runs/report.csv")).open() as file:
        assert [row["folders"] for row in csv.DictReader(file)] == ["outputs/by_hand"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table9"], r"no sweep table9 has been started; there are: mini \(in outputs/sweeps/\)"),
        (["format=pdf"], "format=pdf does not exist; format can be: terminal, markdown, csv, latex, html"),
        (["sort=top1"], "sort=top1: there is no such option"),
        (["mini", "runs=outputs/nothing"], "runs=outputs/nothing: holds no run"),
        (["mini", "compare=bert"], "compare=bert: give two rows"),
    ],
)
def test_mistakes_on_the_command_line(sweep: None, arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        report.main(arguments)


def test_nothing_to_report_and_a_file_that_is_no_manifest() -> None:
    with pytest.raises(UserError, match="nothing to report"):
        report.main([])
    files.write_text(Path("outputs/sweeps/odd.json"), '{"rows": [{}]}')
    with pytest.raises(UserError, match=r"outputs/sweeps/odd.json: is no sweep's manifest"):
        report.main(["odd"])


def test_a_page_of_an_experiment_without_results_stands() -> None:
    (line,) = lines_of([Row("bert", [Job(Path("nowhere"), (1, 0))], {"top1": 77.49})])
    page = Page(html.page(tables.Report("x", "x", [line]), Path()))
    assert not page.open
