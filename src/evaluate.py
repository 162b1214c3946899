"""Test a run's network again: `python -m src.evaluate run=outputs/RUN [test.crops=10] [data.root=DIR]`.

The configuration is composed again from `conf/` and the choices that the run recorded, with the options of this command
line on top: more views, other videos, another checkpoint. Read on in src/training/testing.py.
"""

from src.command_line.options import Arguments, Command, Option, run_command

COMMAND = Command(
    name="evaluate",
    about=(
        "Test the network of a run again, with more views, on other videos or with another checkpoint. Videos are\n"
        "matched to the network's classes by name. Results and scores go to a new folder under RUN/evaluations."
    ),
    options={
        "run": Option("folder of the run"),
        "checkpoint": Option("best, last or a .ckpt file", "best"),
        "allow_split_mismatch": Option("test on another split than the one trained on", "false"),
        "order": Option("true: also with the head's time steps shuffled, reversed and each hidden (test.order)"),
    },
    overrides="All other options are those of src.train, for example test.crops=10 or data.root=DIR.",
    examples=(
        "evaluate run=outputs/RUN test.crops=10",
        "evaluate run=outputs/RUN order=true",
        "evaluate run=outputs/RUN checkpoint=last data.root=other/videos",
    ),
)


def evaluate(arguments: Arguments) -> None:
    """Compose, test, write."""
    run = arguments.required("run", "which run")
    allow = arguments.flag("allow_split_mismatch")
    overrides = list(arguments.overrides)
    if arguments.values["order"] is not None:
        overrides.append(f"test.order={str(arguments.flag('order')).lower()}")

    from src.runs.trained import check_split, find_trained

    trained = find_trained(run, arguments.values["checkpoint"] or "best")

    from src.command_line.recorded import recorded_configuration  # Hydra, which the refusals above do without

    record = trained.record
    cfg = recorded_configuration(record.overrides, trained.folder.run, overrides, record.plugins, needs_data=True)
    if not allow:
        check_split(trained, cfg)

    from src.training import testing  # Lightning and the decoders, which a refusal does without

    testing.evaluate(trained, cfg, overrides)


if __name__ == "__main__":
    run_command(COMMAND, evaluate)
