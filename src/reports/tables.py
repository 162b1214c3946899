"""A report as a table: on the terminal, in Markdown, CSV and LaTeX."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from src.reports import order
from src.reports.comparisons import Comparison
from src.reports.lines import METRICS as IN_CSV
from src.reports.lines import Line
from src.reports.metrics import METRICS
from src.reports.order import ORDER
from src.reports.report import Report
from src.text import DASH, PLAIN_WIDTH, mean_of, number, printable, probability

DAGGER = " †"  # behind the top-1 of a line with a run that diverged


def _ours(line: Line) -> str:
    summary = line.summary()
    if summary is None:
        return DASH
    return mean_of(summary.mean, summary.sd) + (DAGGER if line.diverged else "")


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


CONDITION = "protocol · data"
ALWAYS = ("row", "top-1 %", "n")  # columns that are never left out
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
    (CONDITION, lambda line: str(line.condition or DASH)),
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
TEXT_COLUMNS = {"", "row", CONDITION, "first", "second", "run", "value", "true", "taken for", "metric"}
ORDER_MEANS = ("true", "shuffled", "reversed")  # CSV columns


def main_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Headings and rows; a column that says nothing is left out, the condition's where all lines share it."""
    rows = [[of(line) for _, of in COLUMNS] for line in report.lines]
    kept = []
    for column, (title, _) in enumerate(COLUMNS):
        is_shared = title == CONDITION and report.subtitle
        if title in ALWAYS or (not is_shared and any(row[column] != DASH for row in rows)):
            kept.append(column)
    return [COLUMNS[column][0] for column in kept], [[row[column] for column in kept] for row in rows]


def pair_table(comparisons: Sequence[Comparison]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the paired tests."""
    return [title for title, _ in PAIR_COLUMNS], [[of(c) for _, of in PAIR_COLUMNS] for c in comparisons]


def terminal(report: Report) -> RenderableType:
    """For rich's console."""
    parts: list[RenderableType] = [_rich(report.title, report.subtitle, *main_table(report))]
    if report.metrics[1]:
        parts.append(_rich(METRICS, "", *report.metrics))
    if report.comparisons:
        parts.append(_rich("Paired tests", "", *pair_table(report.comparisons)))
    if report.order:
        parts.append(_rich(ORDER, "", *order.table(report.order)))
    parts += [Text(f"missing  {text}", style="yellow") for text in _missing(report)]
    parts += [Text(note, style="dim") for note in report.notes]
    return Group(*parts)


def _rich(title: str, caption: str, head: list[str], rows: list[list[str]]) -> Table:
    table = Table(title=Text(title), caption=Text(caption) if caption else None)
    for name in head:
        table.add_column(name, justify="left" if name in TEXT_COLUMNS else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def plain(report: Report) -> str:
    """The terminal's table as text."""
    text = io.StringIO()
    Console(file=text, width=PLAIN_WIDTH, color_system=None).print(terminal(report))
    return text.getvalue()


def markdown(report: Report) -> str:
    """GitHub's tables."""
    parts = [f"## {escape_markdown(report.title)}", ""]
    if report.subtitle:
        parts += [report.subtitle, ""]
    parts += pipes(*main_table(report))
    if report.metrics[1]:
        parts += ["", f"### {METRICS}", "", *pipes(*report.metrics)]
    if report.comparisons:
        parts += ["", "### Paired tests", "", *pipes(*pair_table(report.comparisons))]
    if report.order:
        parts += ["", f"### {ORDER}", "", *pipes(*order.table(report.order))]
    if report.missing:
        parts += ["", "### Missing", "", *map(_item, _missing(report))]
    if report.notes:
        parts += ["", *map(_item, report.notes)]
    return "\n".join(parts) + "\n"


def _missing(report: Report) -> list[str]:
    return [f"{name}: {', '.join(runs)}" for name, runs in report.missing]


def _item(text: str) -> str:
    return f"- {escape_markdown(text)}"


def pipes(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of one of GitHub's tables."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(escape_markdown, cells)) + " |"

    rule = "|" + "|".join(":---" if name in TEXT_COLUMNS else "---:" for name in head) + "|"
    return [line(head), rule, *map(line, rows)]


MARKDOWN = re.compile(r"[\\|`*]|<(?=[A-Za-z/!?])|(?<=\])\(")  # what would be taken for markup, in names too


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return MARKDOWN.sub(lambda match: f"\\{match[0]}", text)


def comma_separated(report: Report) -> str:
    """One line a table line, full precision, every metric; nothing is left out or joined."""
    text = io.StringIO()
    records = [_record(report, line) for line in report.lines]
    writer = csv.DictWriter(text, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _cell(value) for name, value in record.items()})
    return text.getvalue()


def _cell(value: Any) -> Any:
    """A value as a spreadsheet takes it: a text that it would compute as a formula gets an apostrophe in front."""
    if not isinstance(value, str):
        return value
    return "'" + printable(value) if value.startswith(("=", "+", "-", "@")) else printable(value)


def _record(report: Report, line: Line) -> dict[str, Any]:
    summaries = {metric: line.summary(metric) for metric in IN_CSV}
    top1 = summaries["top1"]
    changed = order.means(line)
    condition = line.condition
    return {
        "experiment": report.name,
        "row": line.name,
        "protocol": condition.protocol if condition else None,
        "data": f"{condition.data} {condition.lists}".strip() if condition else None,
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
        "order_runs": changed.runs if changed else 0,
        **{f"order_{name}": round(getattr(changed, name), 4) if changed else None for name in ORDER_MEANS},
        "missing": "; ".join(line.missing),
        "diverged": "; ".join(line.diverged),
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
    "†": r"$\dagger$",
}


def latex(report: Report) -> str:
    r"""`table` environments with booktabs' rules; needs \usepackage{booktabs}."""
    caption = report.title + (f" ({report.subtitle})" if report.subtitle else "")
    label = "tab:" + re.sub(r"[^\w-]", "-", report.name, flags=re.ASCII)
    parts = [_tabular(caption, label, *main_table(report))]
    if report.metrics[1]:
        parts.append(_tabular(METRICS, f"{label}-metrics", *report.metrics))
    if report.comparisons:
        parts.append(_tabular("Paired tests", f"{label}-pairs", *pair_table(report.comparisons)))
    if report.order:
        parts.append(_tabular(ORDER, f"{label}-order", *order.table(report.order)))
    notes = [f"% missing: {text}" for text in _missing(report)]
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
