"""Where the jobs of a sweep stand. Reads small files only."""

from collections.abc import Container, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from src.sweeps.manifest import Job
from src.text import printable

STYLES = {
    "finished": "green",
    "running": "cyan",
    "crashed": "bold red",
    "damaged": "bold red",
    "interrupted": "yellow",
    "missing": "dim",
}
COLUMNS = ("row", "data", "seed", "state", "", "folder")


def status_table(name: str, jobs: Mapping[str, Sequence[Job]], wanted: Container[Job] | None = None) -> Table:
    """Where each job of the rows stands; of the wanted ones where only some are."""
    table = Table(*COLUMNS, title=Text(printable(name)), title_justify="left", box=None)
    for row, own in jobs.items():
        for job in own:
            if wanted is None or job in wanted:
                state = job.run.state()
                cells = (row, job.place, str(job.seed), state.kind, state.detail, job.folder)
                table.add_row(*(Text(printable(cell)) for cell in cells), style=STYLES[state.kind])
    return table
