from pathlib import Path

import pytest
from omegaconf import DictConfig
from src.build import compose

from tests.reports.made_runs import TINY


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def bert() -> DictConfig:
    return compose([*TINY, "pooling=bert"])
