"""Parameters and operations of any configuration, and of the paper's tables beside the printed ones."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from rich.table import Table

from src.build.compose import network_config
from src.command_line.hydra import composed
from src.command_line.options import Arguments, Command, Option, run_command
from src.runs.folder import find_run
from src.text import console

if TYPE_CHECKING:
    from src.models.cost import Cost
    from src.sweeps.costs import Line

COMMAND = Command(
    name="complexity",
    about="Print parameters and operations for one clip: of every row of Tables 1 and 3-6 beside the printed\n"
    "numbers, or, with overrides, of one network, part by part. Nothing is computed and no data is needed.",
    examples=(
        "complexity",
        "complexity model=i3d pooling=bert reduction=frab modality=flow format=json",
        "complexity run=outputs/RUN",
    ),
    options={
        "format": Option("how to print", default="table", choices=("table", "json")),
        "run": Option("folder of a run, whose network is meant; other words change it"),
    },
    overrides="Other words choose the network as for src.train: model= pooling= reduction= modality= …",
)
CLASSES = 51  # of HMDB51, where data.num_classes does not say


def complexity(arguments: Arguments) -> int:
    """Print what was asked for; 1 if a row differs from the paper's."""
    as_json = arguments.values["format"] == "json"
    if arguments.values["run"]:
        return _one_network(*_of_run(arguments.values["run"], arguments.overrides), as_json)
    if not arguments.overrides:
        return _paper(as_json)
    cfg = composed(arguments.overrides, network_config(arguments.overrides))  # refused before PyTorch is imported
    return _one_network(cfg, cfg.data.num_classes or CLASSES, arguments.overrides, as_json)


def _of_run(run: str, words: list[str]) -> tuple[DictConfig, int, list[str]]:
    """Configuration and number of classes of a run, and what to call it."""
    from src.command_line.recorded import recorded_configuration

    folder = find_run(run)
    record, data = folder.read_run(), folder.read_data()
    assert record is not None  # find_run has seen it
    cfg = recorded_configuration(record.overrides, folder.run, words, record.plugins)
    return cfg, len(data.classes) if data else cfg.data.num_classes or CLASSES, [record.title, *words]


def _one_network(cfg: DictConfig, classes: int, words: list[str], as_json: bool) -> int:
    from src.build.network import measure_network
    from src.models.cost import total

    parts = measure_network(cfg, classes)
    if as_json:
        shares = {name: asdict(cost) for name, cost in parts.items()}
        print(json.dumps({**asdict(total(parts)), "parts": shares}, indent=2))
    else:
        print_parts(words, parts)
    return 0


def _paper(as_json: bool) -> int:
    from src.sweeps.costs import paper_lines

    lines = paper_lines()
    if as_json:
        print(json.dumps([{**asdict(line), "right": line.right} for line in lines], indent=2))
    else:
        print_rows(lines)
    return 0 if all(line.right for line in lines) else 1


def print_rows(rows: list["Line"]) -> None:
    """Ours beside the paper's; a number that differs is marked."""
    from src.sweeps.costs import MODELS

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


def print_parts(overrides: list[str], parts: dict[str, "Cost"]) -> None:
    """One configuration, part by part."""
    table = Table("part", "params", "MACs", "operations", "share of operations", title=" ".join(overrides))
    from src.models.cost import total

    whole = total(parts)
    for name, cost in [*parts.items(), ("all", whole)]:
        numbers = [f"{value:,}" for value in asdict(cost).values()]
        table.add_row(name, *numbers, f"{cost.operations / whole.operations:.2%}")
    console().print(table)


if __name__ == "__main__":
    run_command(COMMAND, complexity)
