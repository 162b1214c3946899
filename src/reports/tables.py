"""A report as a table: on the terminal, in Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from src.reports.comparisons import Comparison
from src.reports.rows import METRICS, Line

DASH = "–"


@dataclass
class Report:
    """Everything that is said of one experiment."""

    name: str
    title: str
    lines: list[Line]
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def conditions(self) -> list[str]:
        """Every protocol and data set that occurs."""
        return list(dict.fromkeys(str(line.condition) for line in self.lines if line.condition))

    @property
    def subtitle(self) -> str:
        """The one condition, where there is one."""
        return self.conditions[0] if len(self.conditions) == 1 else ""

    @property
    def missing(self) -> list[tuple[str, list[str]]]:
        """Rows with runs that have no result yet."""
        return [(line.name, line.missing) for line in self.lines if line.missing]

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the numbers, in whole sentences; problems last."""
        said = []
        if any(line.summary() for line in self.lines):
            said.append(
                "Top-1 in %: mean over splits of the mean over seeds, ± standard deviation over all n runs "
                "(± seeds: within a split; ± splits: of the splits' means)."
            )
        other = [line.name for line in self.lines if line.paper and line.summary() and not line.official]
        if other:
            said.append(
                "No difference to the paper where the test videos are not the whole published list: "
                f"{', '.join(dict.fromkeys(other))}."
            )
        if any(c.made for c in self.comparisons):
            said.append(
                "Comparisons: second row minus first, paired by split, seed and video; 95 % bootstrap interval "
                "over videos; McNemar's exact test, all judgements of one video flipping together, and its p after "
                "Holm's correction for the number of comparisons. Only first, only second: what only this row got "
                "right, over all runs."
            )
        problems = [p for line in self.lines for p in line.problems]
        problems += [p for line in self.lines for run in line.runs for p in run.problems]  # scores are read late
        problems += [f"{c.second} against {c.first}: {c.note}" for c in self.comparisons if c.made and c.note]
        return [*said, *dict.fromkeys(problems)]


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number for people, a dash for none; minus signs are typographic."""
    if value is None:
        return DASH
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def probability(p: float) -> str:
    """A p-value as it is printed."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _ours(line: Line) -> str:
    summary = line.summary()
    if summary is None:
        return DASH
    return number(summary.mean) + (f" ± {number(summary.sd)}" if summary.sd is not None else "")


def _count(line: Line) -> str:
    summary = line.summary()
    if summary is None:
        return "0"
    return f"{summary.n} ({summary.splits} splits)" if summary.splits > 1 else str(summary.n)


def _billions(count: int) -> str:
    return number(count / 1e9, 2 if count >= 1e9 else 4)  # as the paper prints it; small networks need more places


def _sources(name: str) -> Callable[[Line], str]:
    """One of the two deviations, only where a line has both."""

    def of(line: Line) -> str:
        summary = line.summary()
        if summary is None or summary.sd_seeds is None or summary.sd_splits is None:
            return DASH
        return number(getattr(summary, name))

    return of


Columns = list[tuple[str, Callable[[Line], str]]]
COLUMNS: Columns = [
    ("row", lambda line: line.name),
    ("top-1 %", _ours),
    ("n", _count),
    ("± seeds", _sources("sd_seeds")),
    ("± splits", _sources("sd_splits")),
    ("paper", lambda line: number(line.paper)),
    ("difference", lambda line: number(line.difference, sign=True)),
    ("params M", lambda line: number(line.cost.params / 1e6 if line.cost else None)),
    ("paper's M", lambda line: number(line.expected.get("params"))),
    ("operations G", lambda line: _billions(line.cost.operations) if line.cost else DASH),
    ("paper's G", lambda line: number(line.expected.get("operations"))),
    ("protocol · data", lambda line: str(line.condition or DASH)),
    ("missing", lambda line: str(len(line.missing)) if line.missing else DASH),
]
PAIR_COLUMNS: list[tuple[str, Callable[[Comparison], str]]] = [
    ("first", lambda c: c.first),
    ("second", lambda c: c.second),
    ("points", lambda c: number(c.difference, sign=True) if c.made else DASH),
    ("95 % interval", lambda c: f"{number(c.low, sign=True)} to {number(c.high, sign=True)}" if c.made else c.note),
    ("only first", lambda c: str(c.only_first) if c.made else DASH),
    ("only second", lambda c: str(c.only_second) if c.made else DASH),
    ("p exact", lambda c: probability(c.p) if c.made else DASH),
    ("mid-p", lambda c: probability(c.p_mid) if c.made else DASH),
    ("p Holm", lambda c: probability(c.p_holm) if c.made else DASH),
    ("runs", lambda c: str(c.pairs)),
    ("videos", lambda c: str(c.videos)),
]
TEXT_COLUMNS = {"row", "protocol · data", "first", "second"}


def main_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Headings and rows; a column that says nothing is left out, the condition's where all lines share it."""
    rows = [[of(line) for _, of in COLUMNS] for line in report.lines]
    kept = [
        i
        for i, (title, _) in enumerate(COLUMNS)
        if title in ("row", "top-1 %", "n")
        or (any(row[i] != DASH for row in rows) and not (title == "protocol · data" and report.subtitle))
    ]
    return [COLUMNS[i][0] for i in kept], [[row[i] for i in kept] for row in rows]


def pair_table(comparisons: Sequence[Comparison]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the paired tests."""
    return [title for title, _ in PAIR_COLUMNS], [[of(c) for _, of in PAIR_COLUMNS] for c in comparisons]


def terminal(report: Report) -> RenderableType:
    """For rich's console."""
    parts: list[RenderableType] = [_rich(report.title, report.subtitle, *main_table(report))]
    if report.comparisons:
        parts.append(_rich("Paired tests", "", *pair_table(report.comparisons)))
    for name, runs in report.missing:
        parts.append(Text(f"missing  {name}: {', '.join(runs)}", style="yellow"))
    parts += [Text(note, style="dim") for note in report.notes]
    return Group(*parts)


def _rich(title: str, caption: str, head: list[str], rows: list[list[str]]) -> Table:
    table = Table(title=Text(title), caption=Text(caption) if caption else None)
    for name in head:
        table.add_column(name, justify="left" if name in TEXT_COLUMNS else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def plain(report: Report, width: int = 160) -> str:
    """The terminal's table as text."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(terminal(report))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def markdown(report: Report) -> str:
    """GitHub's tables."""
    parts = [f"## {report.title}", ""]
    if report.subtitle:
        parts += [report.subtitle, ""]
    parts += _pipes(*main_table(report))
    if report.comparisons:
        parts += ["", "### Paired tests", "", *_pipes(*pair_table(report.comparisons))]
    if report.missing:
        parts += ["", "### Missing", "", *(f"- {name}: {', '.join(runs)}" for name, runs in report.missing)]
    if report.notes:
        parts += ["", *(f"- {note}" for note in report.notes)]
    return "\n".join(parts) + "\n"


def _pipes(head: list[str], rows: list[list[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    rule = "|" + "|".join(":---" if name in TEXT_COLUMNS else "---:" for name in head) + "|"
    return [line(head), rule, *map(line, rows)]


def comma_separated(report: Report) -> str:
    """One line a table line, full precision, every metric; nothing is left out or joined."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_record(report, report.lines[0])) if report.lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_record(report, line) for line in report.lines)
    return text.getvalue()


def _record(report: Report, line: Line) -> dict[str, Any]:
    summaries = {metric: line.summary(metric) for metric in METRICS}
    top1 = summaries["top1"]
    condition = line.condition
    return {
        "experiment": report.name,
        "row": line.name,
        "protocol": condition.protocol if condition else None,
        "data": f"{condition.data} {condition.label_of_data}".strip() if condition else None,
        "n": top1.n if top1 else 0,
        "splits": top1.splits if top1 else 0,
        **{metric: round(s.mean, 4) if s else None for metric, s in summaries.items()},
        **{name: getattr(top1, name, None) for name in ("sd", "sd_seeds", "sd_splits")},
        "paper_top1": line.paper,
        "difference": line.difference,
        "params": line.cost.params if line.cost else None,
        "paper_params_millions": line.expected.get("params"),
        "macs": line.cost.macs if line.cost else None,
        "operations": line.cost.operations if line.cost else None,
        "paper_operations_billions": line.expected.get("operations"),
        "missing": "; ".join(line.missing),
        "folders": "; ".join(str(run.folder) for run in line.runs),
    }


LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "–": "--",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
}


def latex(report: Report) -> str:
    r"""`table` environments with booktabs' rules; needs \usepackage{booktabs}."""
    caption = report.title + (f" ({report.subtitle})" if report.subtitle else "")
    parts = [_tabular(caption, f"tab:{report.name}", *main_table(report))]
    if report.comparisons:
        parts.append(_tabular("Paired tests", f"tab:{report.name}-pairs", *pair_table(report.comparisons)))
    notes = [f"% missing: {name}: {', '.join(runs)}" for name, runs in report.missing]
    return "\n".join([*notes, *(f"% {note}" for note in report.notes), *parts])


def _tabular(caption: str, label: str, head: list[str], rows: list[list[str]]) -> str:
    columns = "".join("l" if name in TEXT_COLUMNS else "r" for name in head)
    lines = [" & ".join(map(escape_latex, cells)) + r" \\" for cells in (head, *rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(LATEX.get(character, character) for character in text)
