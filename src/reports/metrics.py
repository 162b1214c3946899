"""All metrics of each line: those that the main table leaves out, calibration, and intervals over videos."""

from collections.abc import Sequence

from src.metrics import BINS
from src.reports.lines import Line
from src.text import DASH, mean_of, number

METRICS = "Metrics and calibration"
COLUMNS = {
    **{"top1": "top-1 %", "top3": "top-3 %", "top5": "top-5 %", "mean_class": "mean class %"},
    **{"macro_f1": "macro F1 %", "map": "mAP %", "ece": "ECE %", "nll": "NLL"},
    **{"temperature": "temperature", "scaled_ece": "ECE % scaled", "scaled_nll": "NLL scaled"},
}
ALWAYS = ("top1", "top3", "top5", "mean_class")  # metrics that runs have had from the start
EXPLAINED = (
    "Metrics: mean ± standard deviation over runs; of a single run the value with its 95 % bootstrap interval over "
    "test videos. Macro F1 is over the classes that occur or are predicted; ECE, the expected calibration error, in "
    f"{BINS} bins of equal width; NLL in nats; scaled: scores divided by a temperature fitted on validation videos."
)


def table(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Headings and a row for each line with results; no rows where they say nothing that other tables do not."""
    tested = [line for line in lines if line.results]
    names = [name for name in COLUMNS if any(line.summary(name) for line in tested)]
    if set(names) <= set(ALWAYS):
        return [], []
    rows = [[line.title, *(_cell(line, name) for name in names)] for line in tested]
    return ["row", *(COLUMNS[name] for name in names)], rows


def _cell(line: Line, name: str) -> str:
    summary = line.summary(name)
    if summary is None:
        return DASH
    if summary.n > 1:
        return mean_of(summary.mean, summary.sd)
    interval = line.interval(name)
    return number(summary.mean) + (f" ({number(interval[0])} to {number(interval[1])})" if interval else "")
