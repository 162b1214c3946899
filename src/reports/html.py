"""A report as one page that needs nothing else: styles and charts inline, no script, no link but to run folders."""

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from src.reports import charts, order
from src.reports.lines import Line, Result, key_label
from src.reports.metrics import METRICS
from src.reports.report import Report
from src.reports.runs import Run
from src.reports.tables import DAGGER, TEXT_COLUMNS, main_table, pair_table
from src.text import DASH, number, printable

CSS = Path(__file__).with_name("page.css")
CURVES = {  # metric → title, unit
    "val/top1": ("Validation top-1", " %"),
    "val/loss": ("Validation loss", ""),
    "train/loss": ("Training loss", ""),
    "train/top1": ("Training top-1", " %"),
}
MOST_CLASSES = 1000  # of a confusion matrix that is drawn


def page(report: Report, folder: Path) -> str:
    """The page. Links to runs are relative to `folder`, where it will lie."""
    body = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="sub">{escape(report.subtitle or " | ".join(report.conditions) or "no results yet")}</p>',
        _section("Results", _dots(report) + _results(report)),
        _metrics(report),
        _pairs(report),
        _order(report),
        _curves(report.lines),
        _confusions(report.lines),
        _section("Still missing", _list(f"{name}: {', '.join(runs)}" for name, runs in report.missing)),
        _section("Runs", _runs(report.lines, folder)),
        _section("Notes", _list(report.notes)),
        f"<footer>python -m src.report · {datetime.now():%Y-%m-%d %H:%M}</footer>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{CSS.read_text(encoding='utf-8')}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _scroll(content: str) -> str:
    return f'<div class="scroll">{content}</div>'


def _list(items: Iterable[str]) -> str:
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>{lines}</ul>" if lines else ""


def _key(index: int) -> str:
    """A piece of a row's line, dashed as in the curves."""
    return f'<svg class="key" viewBox="0 0 18 3"><path style="{charts.colour(index)}" d="M0 1.5H18"/></svg>'


def _dots(report: Report) -> str:
    rows = []
    for line in report.lines:
        summary = line.summary()
        values = [result.metrics["top1"] for result in line.results.values() if "top1" in result.metrics]
        mean, sd = (summary.mean, summary.sd) if summary else (None, None)
        rows.append(charts.Dot(line.title, mean, sd, values, line.paper if line.official else None))
    chart = charts.dots(rows)
    if not chart:
        return ""
    meaning = "● mean, line ± one standard deviation, faint dots the runs" + (
        ", ◇ the paper's number" if any(row.mark is not None for row in rows) else ""
    )
    return f'{chart}<p class="legend">{meaning}; top-1 in %</p>'


def _results(report: Report) -> str:
    head, rows = main_table(report)
    complete = [line.summary() if not line.missing else None for line in report.lines]
    means = [summary.mean if summary else None for summary in complete]
    best = max((mean for mean in means if mean is not None), default=None)
    # A best row only makes sense among complete ones that were measured alike.
    marks = [len(report.conditions) == 1 and mean is not None and mean == best for mean in means]
    text = [_row("th", head, head)]
    text.append("</thead><tbody>")
    for index, (cells, mark) in enumerate(zip(rows, marks, strict=True)):
        text.append(_row("td", head, cells, _key(index), "best" if mark else ""))
    return _scroll(f"<table><thead>{''.join(text)}</tbody></table>")


def _row(tag: str, head: list[str], cells: list[str], before: str = "", style: str = "") -> str:
    parts = []
    for i, (name, cell) in enumerate(zip(head, cells, strict=True)):
        kind = "left" if name in TEXT_COLUMNS else "open" if name == "missing" and cell.isdigit() else ""
        parts.append(f'<{tag} class="{kind}">{before if i == 0 else ""}{escape(cell)}</{tag}>')
    return f'<tr class="{style}">{"".join(parts)}</tr>'


def _plain_table(head: list[str], rows: list[list[str]]) -> str:
    body = "".join(_row("td", head, row) for row in rows)
    return f"<table><thead>{_row('th', head, head)}</thead><tbody>{body}</tbody></table>"


def _metrics(report: Report) -> str:
    return _section(METRICS, _scroll(_plain_table(*report.metrics))) if report.metrics[1] else ""


def _pairs(report: Report) -> str:
    if not report.comparisons:
        return ""
    return _section("Paired tests", _scroll(_plain_table(*pair_table(report.comparisons))))


def _order(report: Report) -> str:
    """Each line's dots and each run's numbers."""
    if not report.order:
        return ""
    dots = []
    for line in report.lines:
        mean = order.means(line)
        if mean is None:
            dots.append(charts.Dot(line.title, None, None, [], None))
        else:
            dots.append(charts.Dot(line.title, mean.true, None, mean.draws, mean.reversed))
    chart = charts.dots(dots, "top-1 with time rearranged", "draws", "reversed")
    if chart:
        chart += '<p class="legend">● true order, faint dots shuffled, ◇ reversed; top-1 in %</p>'
    return _section(order.ORDER, chart + _scroll(_plain_table(*order.table(report.order))))


def _curves(lines: Sequence[Line]) -> str:
    """A chart for each metric, of the lines that are not sums of two streams."""
    single = {i: line for i, line in enumerate(lines) if all(len(r.runs) == 1 for r in line.results.values())}
    names = [line.title for line in lines]
    parts = []
    for metric, (title, unit) in CURVES.items():
        bands = {}
        for i, line in single.items():
            band = charts.band([run.curves for run in line.runs], metric)
            if band and band.mean:
                bands[i] = band
        if bands:
            parts.append(f"<div><h3>{title}{unit}</h3>{charts.lines(bands, names, unit, title)}</div>")
    if not parts:
        return ""
    legend = "".join(f"<span>{_key(i)}{escape(names[i])}</span>" for i, line in single.items() if line.runs)
    charted = f'<div class="grid2">{"".join(parts)}</div><p class="legend">{legend}</p>'
    return _section(
        "Curves", charted + '<p class="legend">line: mean over a row\'s runs; shade: lowest to highest run</p>'
    )


def _confusions(lines: Sequence[Line]) -> str:
    parts = []
    for index, line in enumerate(lines):
        scores = [result.scores for result in line.results.values()]
        read = [s for s in scores if s is not None and s.targets is None and len(s.classes) <= MOST_CLASSES]
        same = [s for s in read if s.classes == read[0].classes]
        if not same:
            continue
        counts = np.sum([s.confusion() for s in same], axis=0)
        classes = [printable(name) for name in same[0].classes]
        chart = charts.confusion(counts, classes, index)
        if len(classes) <= 12:
            parts.append(f"<div><h3>{_key(index)}{escape(line.title)}</h3>{chart}</div>")
        else:
            parts.append(f"<details><summary>{escape(line.title)}</summary>{chart}</details>")
    if not parts:
        return ""
    note = '<p class="legend">rows: true class; columns: predicted; summed over a row\'s runs, % of the true class</p>'
    return _section("Confusion", f'<div class="grid3">{"".join(parts)}</div>{note}')


def _runs(lines: Sequence[Line], folder: Path) -> str:
    rows = []
    for line in lines:
        for result in line.results.values():
            links = " + ".join(_link(run, folder) for run in result.runs)
            cells = [escape(line.title), escape(key_label(result.key)), links, *_outcome(result)]
            styled = (f'<td class="{"left" if i < 3 else ""}">{cell}</td>' for i, cell in enumerate(cells))
            rows.append(f"<tr>{''.join(styled)}</tr>")
    if not rows:
        return ""
    names = ("row", "run", "configuration", "top-1 %", "top-5 %", "mean class %", "best epoch", "test videos")
    head = "".join(f'<th class="{"left" if i < 3 else ""}">{name}</th>' for i, name in enumerate(names))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<details><summary>{len(rows)} results</summary>{_scroll(table)}</details>"


def _outcome(result: Result) -> list[str]:
    metrics = [number(result.metrics.get(name)) for name in ("top1", "top5", "mean_class")]
    if result.diverged:
        metrics[0] += DAGGER
    epochs = [str(run.results.best.epoch + 1) if run.results.best else DASH for run in result.runs]
    return [*metrics, " + ".join(epochs), str(result.runs[0].results.tested)]


def _link(run: Run, folder: Path) -> str:
    """A link to the configuration, for people to read; its name alone where the file is gone."""
    name = escape(printable(run.folder.path.name))
    if not run.folder.config.is_file():
        return name
    address = quote(os.fsencode(os.path.relpath(run.folder.config, folder)))
    return f'<a href="{address}">{name}</a>'
