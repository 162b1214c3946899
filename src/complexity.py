"""Parameters and operations of any configuration, and of the paper's tables beside the printed ones.

python -m src.complexity                                                       every row of Tables 1 and 3-6
python -m src.complexity model=i3d pooling=bert reduction=frab modality=flow   one configuration

Add format=json for machines. Nothing is computed: on PyTorch's meta device tensors are shapes only.
"""

import json
import math
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from src import cli
from src.build import compose_network, skeleton
from src.config import ROOT
from src.errors import UserError
from src.models.recognizer import Recognizer

PAPER = ROOT / "experiments" / "paper.json"
MODELS = {
    "table1": "resnext101",
    "table3": "resnext101",
    "table4": "i3d",
    "table5": "slowfast",
    "table6": "r2plus1d",
}
PARTS = ("backbone", "reduction", "head", "classifier")
TOLERANCE = 1e-3  # of the printed operations
# In the authors' SlowFast networks with BERT the 400-way Kinetics classifier on 2048 + 256 channels stays behind,
# unused, and the paper counts it. Ours has no such layer; it is added in these rows, and the row says so.
LEFT_BEHIND = {"bert_early_fusion": 2304 * 400 + 400, "bert_late_fusion": 2304 * 400 + 400}


@dataclass(frozen=True)
class Cost:
    """What one clip costs.

    params: number of trained values.
    macs: multiply-accumulates of convolutions and linear layers, those inside attention and LSTM included.
    operations: the paper's GFlops: macs, 2 per batch-norm output, 1 per output of a ReLU that is a module,
        1 per output of a plain max-pooling module.
    """

    params: int = 0
    macs: int = 0
    operations: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs, self.operations + other.operations)


def measure(recognizer: Recognizer, clip: Tensor) -> dict[str, Cost]:
    """The cost of each of PARTS for one normalised clip (1, C, T, H, W); both may be on `meta`."""
    costs: dict[str, Cost] = defaultdict(Cost)
    handles = []
    for name, module in recognizer.named_modules():
        part = part_of(name)
        params = sum(p.numel() for p in module.parameters(recurse=False))
        costs[part] += Cost(params=params)

        def count(module: nn.Module, inputs: Any, output: Any, part: str = part) -> None:
            macs = multiply_accumulates(module, inputs, output)
            costs[part] += Cost(macs=macs, operations=macs + other_operations(module, output))

        handles.append(module.register_forward_hook(count))
    training = recognizer.training
    with torch.no_grad():
        recognizer.eval()(clip)
    recognizer.train(training)
    for handle in handles:
        handle.remove()
    return {part: costs[part] for part in PARTS}


def part_of(name: str) -> str:
    """Which of PARTS the recognizer's module of this name belongs to."""
    words = name.split(".")
    if words[0] == "pooling":
        return "head"
    if words[0] == "backbone":
        return "reduction" if any(word.startswith("reduction") for word in words) else "backbone"
    return "classifier"


def multiply_accumulates(module: nn.Module, inputs: Any, output: Any) -> int:
    """Those of this module's own weights in one call."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return int(output.numel() * module.weight[0].numel())
    if isinstance(module, nn.Linear):
        return int(output.numel() * module.in_features)
    if isinstance(module, nn.MultiheadAttention):  # its output projection is never called as a module
        return int(inputs[0].shape[:2].numel() * 4 * module.embed_dim**2)
    if isinstance(module, nn.LSTM):
        steps = inputs[0].shape[:2].numel()
        return int(steps * sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight")))
    return 0


def other_operations(module: nn.Module, output: Any) -> int:
    """What the paper counts beside multiply-accumulates."""
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return int(2 * output.numel())
    if isinstance(module, nn.ReLU) or type(module) is nn.MaxPool3d:
        return int(output.numel())
    return 0


def of_configuration(config: list[str] | DictConfig, num_classes: int | None = None) -> dict[str, Cost]:
    """The cost of each part of a configuration's network; of overrides alone with HMDB51's 51 classes."""
    cfg = compose_network(config) if isinstance(config, list) else config
    return measure(skeleton(cfg, num_classes), torch.empty(clip_shape(cfg), device="meta"))


def clip_shape(cfg: DictConfig) -> tuple[int, int, int, int, int]:
    """(1, C, T, H, W) of the configuration's clip."""
    return 1, cfg.modality.channels, cfg.model.clip.frames, cfg.model.clip.crop, cfg.model.clip.crop


def total(parts: dict[str, Cost]) -> Cost:
    """The sum over all parts."""
    return sum(parts.values(), Cost())


@dataclass(frozen=True)
class Row:
    """One row of a table of the paper: what it is, printed and own numbers, and whether they agree."""

    table: str
    label: str
    paper_params: float  # millions
    params: float  # millions, rounded as the paper does
    paper_operations: float  # 10^9
    operations: float  # 10^9
    macs: float  # 10^9
    left_behind: int  # parameters of a layer that only the authors' network has; counted in `params`
    note: str | None  # why the printed parameters cannot come out

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
    tables: dict[str, Any] = json.loads(PAPER.read_text())
    known: dict[tuple[str, ...], Cost] = {}  # several rows print one network
    rows = []
    for table, model in MODELS.items():
        for printed in tables[table]["rows"]:
            costs = []
            for stream in streams(model, printed):
                if stream not in known:
                    known[stream] = total(of_configuration(list(stream)))
                costs.append(known[stream])
            left_behind = LEFT_BEHIND.get(printed["pooling"], 0) if table == "table5" else 0
            words = ("pooling", "reduction", "modality", "optimizer")
            rows.append(
                Row(
                    table=table,
                    label=" ".join([model, *(printed[word] for word in words if word in printed)]),
                    paper_params=printed["params"],
                    # Two streams are the sum of the two printed rows.
                    params=round(sum(round((cost.params + left_behind) / 1e6, 2) for cost in costs), 2),
                    paper_operations=printed["operations"],
                    operations=sum(cost.operations for cost in costs) / 1e9,
                    macs=sum(cost.macs for cost in costs) / 1e9,
                    left_behind=left_behind,
                    note=printed.get("note"),
                )
            )
    return rows


def streams(model: str, printed: dict[str, Any]) -> list[tuple[str, ...]]:
    """The overrides of each network that a printed row stands for."""
    modality = printed.get("modality", "rgb")
    reduction = printed.get("reduction", "paper")
    common = (f"model={model}", f"pooling={printed['pooling']}", f"reduction={reduction}")
    return [(*common, f"modality={m}") for m in (("rgb", "flow") if modality == "both" else (modality,))]


def print_rows(rows: list[Row]) -> None:
    """Ours beside the paper's, wrong numbers in red."""
    columns = ("table", "row", "params M", "paper", "operations G", "paper", "MACs G")
    table = Table(*columns, title="One clip; params with 51 classes; operations as the paper counts them")
    for row in rows:
        params = f"{row.params:.2f}"
        if not row.params_agree:
            params += "*" if row.note else " [red]off[/]"
        params += "+" if row.left_behind else ""
        operations = f"{row.operations:.2f}" + ("" if row.operations_agree else " [red]off[/]")
        printed = (f"{row.paper_params:.2f}", operations, f"{row.paper_operations:.2f}", f"{row.macs:.2f}")
        table.add_row(row.table.removeprefix("table"), row.label, params, *printed)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"* {row.label}: {row.note}", highlight=False)
        if row.left_behind:
            console.print(
                f"+ {row.label}: {row.params - row.left_behind / 1e6:.2f} M here, and {row.left_behind:,} of the "
                "400-way Kinetics classifier, which the authors' network still holds, unused",
                highlight=False,
            )
    wrong = sum(not row.right for row in rows)
    console.print(f"{len(rows)} rows, {wrong} off" if wrong else f"{len(rows)} rows, all right")


def print_parts(overrides: list[str], parts: dict[str, Cost]) -> None:
    """One configuration, part by part."""
    table = Table("part", "params", "MACs", "operations", "share of operations", title=" ".join(overrides))
    whole = total(parts)
    for name, cost in [*parts.items(), ("all", whole)]:
        numbers = [f"{value:,}" for value in asdict(cost).values()]
        table.add_row(name, *numbers, f"{cost.operations / whole.operations:.2%}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main(arguments: list[str]) -> int:
    """Print what was asked for; 1 if a row of the paper's tables is off."""
    overrides = [argument for argument in arguments if not argument.startswith("format=")]
    formats = [argument.removeprefix("format=") for argument in arguments if argument.startswith("format=")]
    if any(format_ not in {"json", "table"} for format_ in formats):
        raise UserError(f"format={formats[-1]} does not exist; format can be: json, table")
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
        sys.exit(print(__doc__))
    cli.plain(main)
