"""The numbers that the paper prints: the only reader of experiments/paper.json."""

import json
from typing import Any

from src.config import ROOT
from src.errors import UserError

PAPER = ROOT / "experiments" / "paper.json"


def rows(table: str) -> dict[str, dict[str, Any]]:
    """The rows of a table (`table1` to `table7`) in printed order, by the names that experiments/ gives them.

    A row holds what is printed of it: `top1` in percent (Table 7: `hmdb51` and `ucf101`), `params` in millions,
    `operations` in 10^9, and what network it is.

    Raises:
        UserError: there is no such table.
    """
    tables: dict[str, Any] = json.loads(PAPER.read_text(encoding="utf-8"))
    known = [name for name in tables if name != "comment"]
    if table not in known:
        raise UserError(f"the paper has no {table}; choose from {', '.join(known)}")
    printed: dict[str, dict[str, Any]] = tables[table]["rows"]
    return printed
