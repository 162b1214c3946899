"""A run's folder: where the run stands, its lock and its curves."""

import subprocess
import sys
from pathlib import Path

import pytest
from src.config import ROOT
from src.errors import UserError
from src.runs import records
from src.runs.folder import BusyError, RunFolder, find_run
from src.runs.records import ErrorRecord

from tests.test_runs_records import RESULTS, RUN


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def curves(folder: RunFolder, version: int, rows: str, head: str = "epoch,step,val/top1") -> None:
    file = folder.path / "csv" / f"version_{version}" / "metrics.csv"
    file.parent.mkdir(parents=True)
    file.write_text(f"{head}\n{rows}")


def test_states_of_a_run(folder: RunFolder) -> None:
    assert folder.state().kind == "missing"
    with folder.locked():
        records.write(folder.run, RUN)
        assert folder.state().kind == "running"
        with pytest.raises(BusyError), folder.locked():
            pass
    assert folder.state().kind == "interrupted"
    records.write(folder.error, ErrorRecord(2, "no memory", "", [], None))
    assert (folder.state().kind, folder.state().detail) == ("crashed", "no memory")
    records.write(folder.results, RESULTS)
    assert (folder.state().kind, folder.state().detail) == ("finished", "top-1 50.00 %")
    folder.results.write_text(folder.results.read_text()[:-20])
    assert folder.state().kind == "damaged" and "results.json" in folder.state().detail


def test_an_epoch_that_was_cut_off_is_not_counted(folder: RunFolder) -> None:
    records.write(folder.run, RUN)
    head = "epoch,step,train/loss_epoch,train/loss_step"
    curves(folder, 0, "0,1,,2.5\n0,1,2.5,\n1,2,,2.0\n1,2,2.0,\n2,3,,1.5\n", head)
    assert folder.state().detail == "0 epochs done"  # no checkpoint: it starts anew
    folder.checkpoints.mkdir()
    folder.last.touch()
    assert folder.state().detail == "2 epochs done"


def test_a_killed_process_lets_go_of_its_run(folder: RunFolder) -> None:
    with folder.locked():
        pass
    code = (
        f"import time; from pathlib import Path; from src import files; held = files.locked(Path({str(folder.lock)!r}))"
    )
    code += "; print(held.__enter__(), flush=True); time.sleep(600)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == b"True"
    with pytest.raises(BusyError), folder.locked():
        pass
    holder.kill()
    holder.wait()
    with folder.locked():
        pass


def test_of_an_epoch_that_was_done_twice_the_later_values_count(folder: RunFolder) -> None:
    curves(folder, 2, "0,0,10\n1,1,20\n")
    curves(folder, 10, "1,1,25\n2,2,30\n3,3,4")  # a last line that a kill cut off
    assert folder.curves() == {"val/top1": {0: 10.0, 1: 25.0, 2: 30.0}}


def test_damaged_lines_of_curves_are_left_out(folder: RunFolder) -> None:
    curves(folder, 0, "0,0,10\nx,y,z\n1,1,\x00\n,,\n2,2,30\n")
    assert folder.curves() == {"val/top1": {0: 10.0, 2: 30.0}}


def test_the_run_that_an_option_names(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records.write(Path("outputs/one/run.json"), RUN)
    assert find_run("outputs/one").path == Path("outputs/one")
    for name in (None, "elsewhere"):
        with pytest.raises(UserError, match="runs under outputs/: outputs/one"):
            find_run(name)
