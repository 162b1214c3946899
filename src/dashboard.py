"""The workspace of panels in Weights & Biases: curves by pooling, the table, confusion matrices, attention.

python -m src.dashboard                          save it where you are logged in, else print it as JSON
python -m src.dashboard mode=offline             print it without any network
python -m src.dashboard group=table1 project=…   only the runs of one sweep; project and entity as in conf/logger

Needs the extra `dashboard`: uv pip install wandb-workspaces.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from rich.console import Console

from src import cli
from src.errors import UserError
from src.loggers import wandb_mode

# What src/results.py leaves in a run's summary: the columns of the table.
COLUMNS = (
    *("model", "pooling", "modality", "optimizer", "protocol", "data", "split", "seed"),
    *("test/top1", "test/top3", "test/top5", "test/mean_class", "params M", "operations G", "best epoch"),
)
CURVES = {
    "val/top1": "Validation top-1, %",
    "val/loss": "Validation loss",
    "train/loss_epoch": "Training loss",
    "train/top1": "Training top-1",
}
OPTIONS: dict[str, str | None] = {
    "project": "late-temporal-modelling",
    "entity": None,
    "group": None,
    "name": None,
    "mode": "auto",
}


def main(arguments: list[str]) -> None:
    """Build the workspace; save it online or print it."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    options, stray = cli.options(arguments, OPTIONS)
    if stray:
        raise UserError(f"{stray[0]}: there is no such option; options are {', '.join(f'{key}=' for key in OPTIONS)}")
    mode = wandb_mode(options["mode"] or "auto")
    made = workspace(options["entity"] or "", options["project"] or "", options["group"], options["name"])
    if mode == "online":
        made.entity = made.entity or _own_entity()
        print(made.save().url)
    else:
        Console(soft_wrap=True).print_json(data=spec(made))


def workspace(entity: str, project: str, group: str | None = None, name: str | None = None) -> Any:
    """A `wandb_workspaces.workspaces.Workspace`; nothing is sent.

    Raises:
        UserError: the package is not installed.
    """
    panels, workspaces = _library()
    by_pooling = {
        "groupby": panels.Config("pooling.name"),
        "groupby_aggfunc": "mean",
        "groupby_rangefunc": "stddev",
    }
    curves = [
        panels.LinePlot(title=title, x="epoch", y=[metric], title_x="epoch", **by_pooling)
        for metric, title in CURVES.items()
    ]
    results = [
        panels.BarPlot(title="Test top-1 by pooling, %", metrics=["test/top1"], **by_pooling),
        panels.ScatterPlot(
            title="Test top-1 over operations (G)",
            x=panels.SummaryMetric("operations G"),
            y=panels.SummaryMetric("test/top1"),
        ),
        panels.RunComparer(diff_only=True),
    ]
    pictures = [
        panels.MediaBrowser(title="Confusion, share of the true class", media_keys=["confusion"]),
        panels.WeavePanelSummaryTable(table_name="worst mistakes"),
    ]
    attention = [panels.MediaBrowser(title="Attention of the classification token", media_keys=["attention"])]
    sections = [
        _section(workspaces, "Curves by pooling", curves, 2),
        _section(workspaces, "Table", results, 3),
        _section(workspaces, "Confusion and worst mistakes", pictures, 2),
        _section(workspaces, "Attention", attention, 2),
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name or (f"Late temporal modelling: {group}" if group else "Late temporal modelling"),
        sections=sections,
        settings=workspaces.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=workspaces.RunsetSettings(
            filters=[workspaces.Metric("Group") == group] if group else [],
            order=[workspaces.Ordering(workspaces.Summary("test/top1"), ascending=False)],
            pinned_columns=[f"summary:{column}" for column in COLUMNS],
        ),
    )


def _section(workspaces: ModuleType, name: str, panels: Sequence[Any], columns: int) -> Any:
    layout = workspaces.SectionLayoutSettings(columns=columns, rows=-(-len(panels) // columns))
    return workspaces.Section(name=name, panels=list(panels), is_open=True, layout_settings=layout)


def spec(made: Any) -> dict[str, Any]:
    """The workspace as W&B stores it, as plain values."""
    view: dict[str, Any] = made._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return view


def _library() -> tuple[ModuleType, ModuleType]:
    """The package's panels and workspaces; it is an extra, so it is imported only here."""
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ModuleNotFoundError as error:
        raise UserError(
            "the dashboard needs the package wandb-workspaces; uv pip install 'wandb-workspaces>=0.4'"
        ) from error
    return panels, workspaces


def _own_entity() -> str:
    """Whom W&B knows the user as."""
    import wandb

    entity = wandb.Api().default_entity
    if not entity:
        raise UserError("W&B does not tell whose workspace this is; give entity=NAME")
    return str(entity)


if __name__ == "__main__":
    cli.plain(main)
