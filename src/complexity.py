"""Parameters and operations of any configuration, and of the paper's tables beside the printed ones.

python -m src.complexity                                                       every row of Tables 1 and 3-6
python -m src.complexity model=i3d pooling=bert reduction=frab modality=flow   one configuration

Add format=json for machines. Nothing is computed and no data is needed.
"""

import json
import math
import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from rich.table import Table

from src import cli, paper
from src.build import compose_network, skeleton
from src.errors import UserError
from src.models.cost import Cost, measure, total
from src.text import console

MODELS = {  # the tables that print parameters and operations
    "table1": "resnext101",
    "table3": "resnext101",
    "table4": "i3d",
    "table5": "slowfast",
    "table6": "r2plus1d",
}
TOLERANCE = 1e-3  # of the printed operations
# The authors' SlowFast networks with BERT still hold the 400-way Kinetics classifier on 2048 + 256 channels. It is
# unused, but the paper counts it. Ours have no such layer: it is added in these rows of Table 5, which say so.
UNUSED_CLASSIFIER = {"bert_early_fusion": 2304 * 400 + 400, "bert_late_fusion": 2304 * 400 + 400}


def of_configuration(config: list[str] | DictConfig, num_classes: int | None = None) -> dict[str, Cost]:
    """The cost of each part of a configuration's network; of overrides alone with HMDB51's 51 classes."""
    cfg = compose_network(config) if isinstance(config, list) else config
    clip = cfg.model.clip
    shape = (0, cfg.modality.channels, clip.frames, clip.crop, clip.crop)
    return measure(skeleton(cfg, num_classes), torch.empty(shape))


@dataclass(frozen=True)
class Row:
    """One row of a table of the paper: printed and own numbers, and whether they agree."""

    table: str
    name: str
    paper_params: float  # millions
    params: float  # millions, rounded as the paper does
    paper_operations: float  # 10^9
    operations: float  # 10^9
    macs: float  # 10^9
    unused: int  # parameters of a layer that only the authors' network has; counted in `params`
    note: str | None  # why the printed parameters cannot be reproduced

    @property
    def params_agree(self) -> bool:
        return math.isclose(self.params, self.paper_params, abs_tol=1e-6)

    @property
    def operations_agree(self) -> bool:
        return math.isclose(self.operations, self.paper_operations, rel_tol=TOLERANCE)

    @property
    def right(self) -> bool:
        return (self.params_agree or self.note is not None) and self.operations_agree


def paper_rows() -> list[Row]:
    """Every row of the paper's tables that prints parameters and operations, with ours."""
    known: dict[tuple[str, ...], Cost] = {}  # several rows print one network
    rows = []
    for table, model in MODELS.items():
        for name, printed in paper.rows(table).items():
            costs = []
            for stream in streams(model, printed):
                if stream not in known:
                    known[stream] = total(of_configuration(list(stream)))
                costs.append(known[stream])
            unused = UNUSED_CLASSIFIER.get(name, 0) if table == "table5" else 0
            rows.append(
                Row(
                    table=table,
                    name=name,
                    paper_params=printed["params"],
                    # Two streams are the sum of the two printed rows.
                    params=round(sum(round((cost.params + unused) / 1e6, 2) for cost in costs), 2),
                    paper_operations=printed["operations"],
                    operations=sum(cost.operations for cost in costs) / 1e9,
                    macs=sum(cost.macs for cost in costs) / 1e9,
                    unused=unused,
                    note=printed.get("note"),
                )
            )
    return rows


def streams(model: str, printed: dict[str, Any]) -> list[tuple[str, ...]]:
    """The overrides of each network that a printed row stands for."""
    modality = printed.get("modality", "rgb")
    reduction = printed.get("reduction", "paper")
    common = (f"model={model}", f"pooling={printed['pooling']}", f"reduction={reduction}")
    modalities = ("rgb", "flow") if modality == "both" else (modality,)
    return [(*common, f"modality={name}") for name in modalities]


def print_rows(rows: list[Row]) -> None:
    """Ours beside the paper's; a number that differs is marked."""
    columns = ("table", "model", "row", "params M", "paper", "operations G", "paper", "MACs G")
    table = Table(*columns, title="One clip; params with 51 classes; operations as the paper counts them")
    notes = []
    for row in rows:
        params = f"{row.params:.2f}"
        if not row.params_agree:
            params += "*" if row.note else " differs"
        if row.unused:
            params += "+"
        operations = f"{row.operations:.2f}" + ("" if row.operations_agree else " differs")
        printed = (f"{row.paper_params:.2f}", operations, f"{row.paper_operations:.2f}", f"{row.macs:.2f}")
        style = None if row.right else "red"
        table.add_row(row.table.removeprefix("table"), MODELS[row.table], row.name, params, *printed, style=style)
        if row.note:
            notes.append(f"* {MODELS[row.table]} {row.name}: {row.note}")
        if row.unused:
            own = row.params - row.unused / 1e6
            notes.append(
                f"+ {MODELS[row.table]} {row.name}: {own:.2f} M here, and {row.unused:,} of the 400-way Kinetics "
                "classifier, which the authors' network still holds, unused"
            )
    terminal = console()
    terminal.print(table)
    for note in notes:
        terminal.print(note)
    wrong = sum(not row.right for row in rows)
    terminal.print(f"{len(rows)} rows, {wrong} differ" if wrong else f"{len(rows)} rows, all as printed")


def print_parts(overrides: list[str], parts: dict[str, Cost]) -> None:
    """One configuration, part by part."""
    table = Table("part", "params", "MACs", "operations", "share of operations", title=" ".join(overrides))
    whole = total(parts)
    for name, cost in [*parts.items(), ("all", whole)]:
        numbers = [f"{value:,}" for value in asdict(cost).values()]
        table.add_row(name, *numbers, f"{cost.operations / whole.operations:.2%}")
    console().print(table)


def main(arguments: list[str]) -> int:
    """Print what was asked for; 1 if a row differs from the paper's."""
    overrides = [argument for argument in arguments if not argument.startswith("format=")]
    formats = [argument.removeprefix("format=") for argument in arguments if argument.startswith("format=")]
    if any(format_ not in {"json", "table"} for format_ in formats):
        raise UserError(f"format={formats[-1]} does not exist; choose json or table")
    machine = formats[-1:] == ["json"]
    if overrides:
        parts = of_configuration(overrides)
        if machine:
            shares = {name: asdict(cost) for name, cost in parts.items()}
            print(json.dumps({**asdict(total(parts)), "parts": shares}, indent=2))
        else:
            print_parts(overrides, parts)
        return 0
    rows = paper_rows()
    if machine:
        print(json.dumps([{**asdict(row), "right": row.right} for row in rows], indent=2))
    else:
        print_rows(rows)
    return 0 if all(row.right for row in rows) else 1


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        sys.exit(0)
    cli.plain(main)
