"""What the paper prints: the only reader of experiments/paper.json. Rows have the names of experiments/tableN.yaml."""

import json
from functools import cache
from typing import Any

from src.config import EXPERIMENTS
from src.data import hmdb51, ucf101
from src.errors import UserError

FILE = EXPERIMENTS / "paper.json"
NUMBERS = ("top1", "params", "operations")


@cache
def _tables() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: table for name, table in content.items() if name != "comment"}


def rows(table: str) -> dict[str, dict[str, Any]]:
    """The rows of a table (`table1` to `table7`) by name, in printed order.

    A row holds what is printed of it: `top1` in percent (Table 7: `hmdb51` and `ucf101`), `params` in millions,
    `operations` in 10^9, and what network it is.

    Raises:
        UserError: there is no such table.
    """
    if table not in _tables():
        raise UserError(f"the paper has no {table}; choose from {', '.join(_tables())}")
    printed: dict[str, dict[str, Any]] = _tables()[table]["rows"]
    return printed


def numbers(table: str | None, row: str, data: str | None) -> dict[str, float]:
    """Those of NUMBERS that the paper prints for a row on a data set; empty for tables and rows that it lacks."""
    printed = rows(table).get(row, {}) if table in _tables() else {}
    found = {name: printed[name] for name in NUMBERS if name in printed}
    if data in printed:  # Table 7 has a column of top-1 for each data set
        found["top1"] = printed[data]
    return found


def published_test_videos(data: str, split: int | None) -> int | None:
    """How many videos the published test list has, over which the paper's numbers are; None for other data sets."""
    if data == "hmdb51":
        return hmdb51.PER_CLASS[hmdb51.TEST] * len(hmdb51.CLASSES)
    if data == "ucf101" and split in ucf101.PUBLISHED:
        return ucf101.PUBLISHED[split][1]
    return None
