"""What is in a video: `python -m src.predict run=outputs/RUN video=FILE [top=5]`.

The classes are those that the run recorded; none of its data need be there. Read on in src/training/testing.py.
"""

from pathlib import Path

from rich.table import Table

from src.command_line.options import Arguments, Command, Option, run_command
from src.text import console, printable

COMMAND = Command(
    name="predict",
    about=(
        "Print the classes that a run's network finds most probable in a video, over all of its views. The data that\n"
        "the run was trained on are not needed."
    ),
    options={
        "run": Option("folder of the run"),
        "video": Option("the video file; for modality=flow, a flow file as src.prepare makes it"),
        "top": Option("how many classes to print", "5"),
        "checkpoint": Option("best, last or a .ckpt file", "best"),
    },
    overrides="All other options are those of src.train, for example test.crops=10.",
    examples=(
        "predict run=outputs/RUN video=clip.mp4",
        "predict run=outputs/RUN video=clip.mp4 top=1 test.crops=10",
    ),
)


def predict(arguments: Arguments) -> None:
    """Compose, look, print."""
    run = arguments.required("run", "which run")
    video = Path(arguments.required("video", "which video")).expanduser()
    top = arguments.whole("top")

    from src.runs.trained import find_trained

    trained = find_trained(run, arguments.values["checkpoint"] or "best")

    from src.command_line.recorded import recorded_configuration  # Hydra, which the refusals above do without

    cfg = recorded_configuration(trained.record.overrides, trained.folder.run, arguments.overrides)

    from src.training import testing  # Lightning and the decoders, which a refusal does without

    views, classes = testing.predict(trained, cfg, video, top)
    terminal = console()
    terminal.print(f"{printable(video)}: {views} views")
    table = Table()
    table.add_column("class")
    table.add_column("probability", justify="right")
    for name, probability in classes:
        table.add_row(printable(name), f"{probability:.3f}")
    terminal.print(table)


if __name__ == "__main__":
    run_command(COMMAND, predict)
