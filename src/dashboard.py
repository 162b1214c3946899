"""The workspace of panels in Weights & Biases: curves by pooling, the table, confusion matrices, attention."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from src.command_line.options import Arguments, Command, Option, run_command
from src.errors import UsageError, UserError
from src.text import console

# What src/training/outputs.py leaves in a run's summary: the columns of the table.
COLUMNS = (
    *("model", "pooling", "modality", "optimizer", "protocol", "data", "split", "seed"),
    *(
        "test/top1",
        "test/top3",
        "test/top5",
        "test/mean_class",
        "test/macro_f1",
        "params M",
        "operations G",
        "best epoch",
    ),
)
CURVES = {
    "val/top1": "Validation top-1, %",
    "val/loss": "Validation loss",
    "train/loss_epoch": "Training loss",
    "train/top1": "Training top-1, %",
}
COMMAND = Command(
    name="dashboard",
    about="""
Panels for this project's runs in Weights & Biases: saved where you are logged in, else printed as JSON. Needs the
extra `dashboard`: uv pip install wandb-workspaces.""",
    examples=("dashboard experiment=table1", "dashboard mode=offline project=my-project"),
    options={
        "experiment": Option("only the runs of this sweep; its name alone does as well"),
        "project": Option("as in conf/logger/wandb.yaml", "late-temporal-modelling"),
        "entity": Option("user or team in W&B; default: your own"),
        "name": Option("of the workspace"),
        "mode": Option("auto: online where you are logged in", "auto", ("auto", "online", "offline")),
        "group": Option("the same as experiment="),
    },
    names="EXPERIMENT",
)


def dashboard(arguments: Arguments) -> int:
    """Build the workspace; save it online or print it."""
    from src.training.wandb_mode import wandb_mode

    values = arguments.values
    groups = [name for name in (*arguments.names, values["experiment"], values["group"]) if name]
    if len(set(groups)) > 1:
        raise UsageError(f"{', '.join(groups)}: a workspace is about one experiment; name one")
    made = workspace(values["entity"] or "", values["project"] or "", groups[0] if groups else None, values["name"])
    if wandb_mode(values["mode"] or "auto") == "online":
        made.entity = made.entity or _own_entity()
        print(made.save().url)
    else:
        console().print_json(data=spec(made))
    return 0


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
    run_command(COMMAND, dashboard)
