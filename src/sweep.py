"""Where the jobs of sweeps stand: `python -m src.sweep status`. Sweeps are started by src.train experiment=NAME."""

import sys
from typing import TYPE_CHECKING

from src import plugins
from src.command_line.options import Arguments, Command, Option, run_command
from src.errors import UsageError, UserError
from src.text import console, listed, printable

if TYPE_CHECKING:
    from src.sweeps.manifest import Job

COMMAND = Command(
    name="sweep",
    about="""
Where each job of a sweep stands: finished, running, crashed, interrupted, damaged or missing. Without a name:
every sweep that has been started here. `python -m src.train experiment=NAME` starts a sweep and continues it.""",
    examples=("sweep status", "sweep status experiment=table1"),
    options={
        "experiment": Option("a sweep, started or not; its name alone does as well", repeatable=True),
        "experiments": Option("the same as experiment=", repeatable=True),
    },
    names="status [EXPERIMENT …]",
)


def sweep(arguments: Arguments) -> int:
    """Print a table for each sweep."""
    from src.runs.folder import SWEEPS
    from src.sweeps import manifest
    from src.sweeps.status import status_table

    if arguments.names[:1] != ["status"]:
        raise UsageError("give a command: python -m src.sweep status [experiment=NAME …]")
    names = arguments.names[1:]
    for value in [*arguments.repeated["experiment"], *arguments.repeated["experiments"]]:
        names += [name for name in value.split(",") if name]
    started = manifest.started()
    if not names and not started:
        raise UserError(f"no sweep has been started here ({SWEEPS}/ is empty); give experiment=NAME")
    shown = 0
    for name in dict.fromkeys(names or started):
        try:
            content = manifest.read(started[name]) if name in started else None
            jobs = {row.name: row.jobs for row in content.rows} if content else planned(name)
        except UserError as error:
            if len(names) == 1:
                raise
            print(printable(error), file=sys.stderr)
            continue
        console().print(status_table(content.experiment if content else name, jobs))
        shown += 1
    if not shown:
        raise UserError("no status can be given; see above")
    return 0


def planned(name: str) -> "dict[str, list[Job]]":
    """Row → jobs of an experiment that has not been started.

    Raises:
        UsageError: there is no such experiment.
        UserError: its configuration is not valid.
    """
    known = plugins.choices("experiments")
    if name not in known:
        raise UsageError(f"experiment={printable(name)}: no such experiment; choose one of {listed(known, 20)}")
    from src.build.compose import compose  # Hydra, which sweeps that have been started do without
    from src.sweeps import plan
    from src.sweeps.arguments import SweepOptions

    node = compose([f"experiments={name}"]).get("experiment")
    if not node or not node.get("rows"):
        raise UserError(f"experiment={name}: a search, not a table; its runs are in outputs/ once it has been started")
    return plan.plan(plan.experiment_of(node), SweepOptions(), compose)


if __name__ == "__main__":
    run_command(COMMAND, sweep)
