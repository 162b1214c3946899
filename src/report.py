"""The tables: what runs and sweeps gave beside what the paper prints, and whether rows differ by more than chance."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from src import files
from src.command_line.options import Arguments, Command, Option, run_command
from src.config import OUTPUTS
from src.errors import UsageError, UserError
from src.text import console, printable

if TYPE_CHECKING:
    from src.reports.report import Report

ENDINGS = {"terminal": ".txt", "markdown": ".md", "csv": ".csv", "latex": ".tex", "html": ".html"}
COMMAND = Command(
    name="report",
    about="""
What sweeps and runs gave, beside what the paper prints, and whether rows differ by more than chance. Without a
name: every sweep under outputs/sweeps, then the runs that belong to none. Runs given by hand that differ only in split
and seed make one row. A cell never mixes protocols or lists of videos. Nothing is trained, built or changed; files that
are damaged are named, and the rest is reported. How numbers are averaged and tested: src/statistics.py.""",
    examples=("report table1 compare=average,bert", "report runs=outputs/RGB,outputs/FLOW fuse=sum",
              "report run=outputs/A,outputs/B format=latex out=ab.tex"),
    options={
        "experiment": Option("a sweep; its name alone does as well", repeatable=True),
        "run": Option("folders of runs, separated by commas (also runs=)", repeatable=True),
        "compare": Option("A,B: test row B against row A, by name or number; default: each row against the first", None,
                          repeatable=True),
        "fuse": Option("sum: add the scores of the two runs that run= names, and test the sum against each",
                       choices=("sum",)),
        "format": Option("one format, printed; default: the terminal's, and all others as files",
                         choices=tuple(ENDINGS)),
        "out": Option("format=… given: the file to write; else the folder for the files (outputs/reports/NAME)"),
        "experiments": Option("the same as experiment=", repeatable=True),
        "runs": Option("the same as run=", repeatable=True),
    },
    names="EXPERIMENT …",
)  # fmt: skip


def report(arguments: Arguments) -> int:
    """Print and write the reports that the command line asks for."""
    given = arguments.repeated
    names = [*arguments.names, *separated(given["experiment"] + given["experiments"])]
    runs = separated(given["run"] + given["runs"])
    made = fused(names, runs, given["compare"]) if arguments.values["fuse"] else reports(names, runs, given["compare"])
    out = files.home_expanded(arguments.values["out"]) if arguments.values["out"] else None
    if out is not None and len(made) > 1:
        titles = ", ".join(one.name for one in made)
        raise UsageError(f"out={out} takes one report, and these are {len(made)}: {titles}; name one")
    for one in made:
        if arguments.values["format"]:
            write_one(one, arguments.values["format"], out)
        else:
            write_all(one, out or OUTPUTS / "reports" / one.name)
    return 0


def reports(names: Sequence[str], runs: Sequence[str], pairs: Sequence[str]) -> "list[Report]":
    """A report for each sweep that is named, or for all, and one for the runs. What is damaged is said."""
    from src.reports import report, sources

    chosen, damaged = sources.choose(names, runs)
    for reason in damaged:
        print(printable(reason), file=sys.stderr)
    if not chosen:
        raise UserError("nothing can be reported; see above")
    return [report.make(source, pairs) for source in chosen]


def fused(names: Sequence[str], runs: Sequence[str], pairs: Sequence[str]) -> "list[Report]":
    """The report of two runs and the sum of their scores."""
    from src.reports import fusion, sources

    if names or pairs:
        raise UsageError("fuse=sum adds two runs: it takes no experiment and no compare=; give runs=A,B fuse=sum")
    return [fusion.fuse([sources.find_folder(run) for run in runs])]


def separated(values: Sequence[str]) -> list[str]:
    """`a,b` and `c` → a, b, c; what exists under a name with a comma is not parted."""
    words = []
    for value in values:
        words += [value] if Path(value).exists() else value.split(",")
    return [word for word in words if word]


def writers() -> "dict[str, Callable[[Report, Path], str]]":
    """Format → what writes a report that will lie in a folder."""
    from src.reports import html, tables

    return {
        "terminal": lambda made, folder: tables.plain(made),
        "markdown": lambda made, folder: tables.markdown(made),
        "csv": lambda made, folder: tables.comma_separated(made),
        "latex": lambda made, folder: tables.latex(made),
        "html": html.page,
    }


def write_all(made: "Report", folder: Path) -> None:
    """The table on the terminal and report.md, .csv, .tex and .html in `folder`."""
    from src.reports import tables

    terminal = console()
    terminal.print(tables.terminal(made), soft_wrap=False)  # notes are broken between words
    for format_, write in writers().items():
        if format_ != "terminal":
            files.write_text(folder / f"report{ENDINGS[format_]}", write(made, folder))
    terminal.print(f"written: {printable(folder)}/report.md .csv .tex .html")


def write_one(made: "Report", format_: str, out: Path | None) -> None:
    """One format, on the terminal or into the file `out`."""
    text = writers()[format_](made, out.parent if out else Path())
    if out is None:
        print(text, end="")
    else:
        files.write_text(out, text)


if __name__ == "__main__":
    run_command(COMMAND, report)
