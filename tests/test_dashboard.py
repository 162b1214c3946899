import json
import sys
from typing import Any

import pytest
from src import dashboard
from src.errors import UserError


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(UserError, match="uv pip install 'wandb-workspaces"):
        dashboard.main(["mode=offline"])


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UserError, match="sort=top1: there is no such option; options are project="):
        dashboard.main(["sort=top1"])


@pytest.fixture()
def spec(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    pytest.importorskip("wandb_workspaces")
    dashboard.main(["mode=offline", "group=mini_table1", "entity=me"])
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
