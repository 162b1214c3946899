"""The tables: what runs and sweeps gave beside what the paper prints, and whether rows differ by more than chance.

python -m src.report                            every sweep under outputs/sweeps, then runs that belong to none
python -m src.report table1 mini_table1         these sweeps
python -m src.report runs=outputs/A,outputs/B   these runs; those that differ only in split and seed make a row

Options:
  compare=A,B     test row B against row A (names or numbers; may be given again). Default: each against the first
  format=FORMAT   terminal, markdown, csv, latex or html alone, printed. Default: terminal, and all others as files
  out=PATH        format=… given: the file to write; else the folder for the files (default outputs/reports/NAME)

A cell never mixes protocols or lists of videos: such results stand in rows of their own. How numbers are averaged
and tested: src/reports/statistics.py.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from src import cli, files
from src.errors import UserError
from src.reports import comparisons, experiments, html, tables
from src.reports.rows import Row, lines_of
from src.reports.tables import Report
from src.run import OUTPUTS

FORMATS: dict[str, tuple[str, Callable[[Report, Path], str]]] = {  # format → ending, writer(report, its folder)
    "terminal": (".txt", lambda report, folder: tables.plain(report)),
    "markdown": (".md", lambda report, folder: tables.markdown(report)),
    "csv": (".csv", lambda report, folder: tables.comma_separated(report)),
    "latex": (".tex", lambda report, folder: tables.latex(report)),
    "html": (".html", html.page),
}


def main(arguments: list[str]) -> None:
    """Print and write the reports that the arguments ask for."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    pairs = [word.removeprefix("compare=") for word in arguments if word.startswith("compare=")]
    words = [word for word in arguments if not word.startswith("compare=")]
    options, names = cli.options(words, {"runs": None, "format": None, "out": None})
    if stray := [word for word in names if "=" in word or word.startswith("-")]:
        raise UserError(f"{stray[0]}: there is no such option; options are runs=, compare=, format=, out=")
    format_, out = options["format"], options["out"]
    if format_ is not None and format_ not in FORMATS:
        raise UserError(f"format={format_} does not exist; format can be: {', '.join(FORMATS)}")
    chosen = choose(names, options["runs"])
    if out is not None and len(chosen) > 1:
        raise UserError(f"out={out} takes one report, and these are {len(chosen)}: {', '.join(chosen)}; name one")
    for name, (title, rows) in chosen.items():
        report = make(name, title, rows, pairs)
        if format_ is None:
            write_all(report, Path(out) if out else OUTPUTS / "reports" / name)
        else:
            write_one(report, format_, Path(out) if out else None)


def choose(names: list[str], runs: str | None) -> dict[str, tuple[str, list[Row]]]:
    """Name → title and rows of each report that is wanted.

    Raises:
        UserError: no such experiment, or nothing to report on.
    """
    known = experiments.manifests()
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(known) or "none"
        raise UserError(f"no sweep {unknown[0]} has been started; there are: {there} (in {OUTPUTS}/sweeps/)")
    chosen = {name: experiments.from_manifest(known[name]) for name in names or ([] if runs else known)}
    folders = [Path(word) for word in runs.split(",") if word] if runs else []
    if not names and not runs:
        folders = experiments.loose(job.folder for _, rows in chosen.values() for row in rows for job in row.jobs)
    if folders:
        chosen["runs"] = "Single runs", experiments.from_folders(folders)
    if not chosen:
        raise UserError(f"nothing to report: no sweep, no finished run under {OUTPUTS}/; give runs=FOLDER,FOLDER")
    return chosen


def make(name: str, title: str, rows: list[Row], pairs: list[str]) -> Report:
    """Read the runs and compare: each line with the first one, or the pairs that are asked for."""
    lines = lines_of(rows)
    if pairs:
        wanted = [pair for text in pairs for pair in comparisons.pick(lines, text)]
        made = comparisons.correct([comparisons.compare(a, b) for a, b in wanted])
    else:
        made = comparisons.against_first(lines)
    return Report(name, title, lines, made)


def write_all(report: Report, folder: Path) -> None:
    """The table on the terminal and report.md, .csv, .tex and .html in `folder`."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(tables.terminal(report))
    for format_, (ending, write) in FORMATS.items():
        if format_ != "terminal":
            files.write_text(folder / f"report{ending}", write(report, folder))
    console.print(f"written: {folder}/report.md .csv .tex .html", highlight=False, markup=False)


def write_one(report: Report, format_: str, out: Path | None) -> None:
    """One format, on the terminal or into the file `out`."""
    text = FORMATS[format_][1](report, out.parent if out else Path())
    if out is None:
        print(text, end="")
    else:
        files.write_text(out, text)


if __name__ == "__main__":
    cli.plain(main)
