"""`make demo`: average pooling against BERT on the embedded data, all else equal; a table and a picture."""

from datetime import datetime

from src.command_line.options import Arguments, Command, run_command
from src.errors import UsageError
from src.text import console, printable

SETTINGS = ("model=tiny", "logger=csv", "recipe.epochs=10")
FIXED = ("pooling", "data", "run_dir", "ckpt_path", "experiments", "dry_run", "test.enabled", "trainer.devices")

COMMAND = Command(
    name="demo",
    about=(
        "Train average pooling and BERT on the embedded data, all else equal; print a table and write a picture. The\n"
        "classes come in pairs that differ only in the order of two motions, which average pooling cannot tell."
    ),
    overrides="Options are those of src.train, and go to both runs; without any it takes 2 minutes on two cores.",
    examples=("demo", "demo recipe.epochs=5 seed=1"),
)


def demo(arguments: Arguments) -> None:
    """Compose and check both runs, train them, compare."""
    for word in arguments.overrides:
        if word.partition("=")[0] in FIXED:
            raise UsageError(f"{printable(word)}: the demo sets this itself; use src.train for other comparisons")

    from src.command_line.hydra import composed  # Hydra, which --help does without

    names = ("average", "bert")
    chosen = {name: [*SETTINGS, f"pooling={name}", *arguments.overrides] for name in names}
    configurations = {name: composed(words) for name, words in chosen.items()}

    from omegaconf import OmegaConf

    from src import files
    from src.build.network import skeleton
    from src.config import OUTPUTS
    from src.runs.start import begin
    from src.training import demonstration, loop

    for cfg in configurations.values():
        skeleton(cfg, cfg.data.num_classes)
    folder = files.new_folder(OUTPUTS, f"{datetime.now():%Y-%m-%d_%H-%M-%S}_demo")
    terminal = console()
    results = {}
    for name, cfg in configurations.items():
        terminal.rule(demonstration.HEADS[name])
        OmegaConf.update(cfg, "run_dir", str(folder / name))
        with begin(cfg, chosen[name]) as run:
            outcome = loop.run(cfg, run.folder, run.checkpoint)
            assert outcome is not None
            results[name] = outcome
    terminal.print(demonstration.comparison(folder, results))
    terminal.print(f"picture: {demonstration.draw(folder, configurations['bert'])}")


if __name__ == "__main__":
    run_command(COMMAND, demo)
