import json
import subprocess
import sys
from typing import Any

import pytest
from src import dashboard
from src.command_line.options import parse
from src.config import ROOT
from src.errors import UsageError, UserError


def run(*words: str) -> int:
    return dashboard.dashboard(parse(dashboard.COMMAND, words))


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(UserError, match="uv pip install 'wandb-workspaces"):
        run("mode=offline")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sort=top1"], "sort=top1: unknown option; options are experiment=, project="),
        (["mode=on"], "mode=on: choose one of auto, online, offline"),
        (["table1", "table2"], "table1, table2: a workspace is about one experiment"),
        (["table1", "group=table2"], "table1, table2: a workspace is about one experiment"),
    ],
)
def test_wrong_words_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(*words)


def test_it_imports_neither_networks_nor_decoders() -> None:
    """Also where it asks whether somebody is logged in."""
    code = """
import sys
from src import dashboard
from src.command_line.options import parse
dashboard.workspace = lambda *arguments: None
dashboard.spec = lambda made: {"fine": True}
dashboard.dashboard(parse(dashboard.COMMAND, sys.argv[1:]))
for name in ("torch", "torchvision", "pytorch_lightning", "decord", "av", "hydra"):
    if name in sys.modules:
        print(name, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "table1"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "WANDB_MODE": "offline"},
    )
    assert json.loads(done.stdout) == {"fine": True}
    assert done.stderr.split() == []


@pytest.fixture(params=[["mini_table1"], ["experiment=mini_table1"], ["group=mini_table1"]])
def spec(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    pytest.importorskip("wandb_workspaces")
    run("mode=offline", "entity=me", *request.param)
    made: dict[str, Any] = json.loads(capsys.readouterr().out)
    return made


def test_offline_the_spec_is_printed_with_all_panels(spec: dict[str, Any]) -> None:
    assert (spec["entity"], spec["project"]) == ("me", "late-temporal-modelling")
    section = spec["spec"]["section"]
    names = [one["name"] for one in section["panelBankConfig"]["sections"]]
    assert names == ["Curves by pooling", "Table", "Confusion and worst mistakes", "Attention"]
    curve = section["panelBankConfig"]["sections"][0]["panels"][0]["config"]
    assert (curve["metrics"], curve["groupBy"], curve["xAxis"]) == (["val/top1"], "pooling.value.name", "epoch")


def test_the_group_filters_the_runs_and_the_tables_columns_are_pinned(spec: dict[str, Any]) -> None:
    (runs,) = spec["spec"]["section"]["runSets"]
    (only,) = runs["filters"]["filters"]
    assert (only["key"]["name"], only["value"]) == ("group", "mini_table1")
    assert {"summary:test/top1", "summary:params M"} < set(runs["runFeed"]["columnPinned"])
