from pathlib import Path

import pytest
from omegaconf import DictConfig
from src import files, run
from src.build import compose
from src.errors import UserError


def tiny(*overrides: str) -> DictConfig:
    return compose(["model=tiny", "pooling=bert", *overrides])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("same", ["run_dir=x", "logger=csv", "ckpt_path=last", "data.workers=0"])
def test_where_and_how_a_run_is_logged_does_not_define_it(same: str) -> None:
    assert run.identity(tiny(same)) == run.identity(tiny())


@pytest.mark.parametrize("other", ["seed=1", "pooling=average", "recipe.lr.adamw=1e-4", "pooling.head.layers=2"])
def test_what_changes_the_result_changes_the_identity(other: str) -> None:
    assert run.identity(tiny(other)) != run.identity(tiny())


def test_the_folder_says_how_to_repeat_the_run() -> None:
    overrides = ["model=tiny", "pooling=bert", "seed=3"]
    folder, checkpoint = run.prepare(compose(overrides), overrides)
    about = run.read_json(folder / "run.json")
    assert checkpoint is None
    assert run.identity(compose(about["overrides"])) == about["identity"]
    assert about["packages"]["torch"]
    assert "${" not in (folder / "config.yaml").read_text()


def test_a_finished_or_foreign_folder_is_not_written_over() -> None:
    folder, _ = run.prepare(tiny("run_dir=here"))
    (folder / "checkpoints").mkdir()
    run.prepare(tiny("run_dir=here"))  # cut off before it finished: goes on
    with pytest.raises(UserError, match="another configuration"):
        run.prepare(tiny("run_dir=here", "seed=1"))
    files.write_json(folder / "results.json", {})
    with pytest.raises(UserError, match="finished"):
        run.prepare(tiny("run_dir=here"))


def test_last_means_the_newest_run_of_the_same_configuration() -> None:
    with pytest.raises(UserError, match="no run of this configuration"):
        run.prepare(tiny("ckpt_path=last"))
    folder, _ = run.prepare(tiny())
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    again, checkpoint = run.prepare(tiny("ckpt_path=last"))
    assert again == folder
    assert checkpoint == folder / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError):
        run.prepare(tiny("ckpt_path=last", "seed=1"))


def test_of_an_epoch_that_was_done_twice_the_later_values_count(tmp_path: Path) -> None:
    for version, rows in ((0, "0,0,10\n1,1,20\n"), (1, "1,1,25\n2,2,30\n")):
        file = tmp_path / "csv" / f"version_{version}" / "metrics.csv"
        file.parent.mkdir(parents=True)
        file.write_text("epoch,step,val/top1\n" + rows)
    assert run.read_curves(tmp_path) == {"val/top1": {0: 10.0, 1: 25.0, 2: 30.0}}
