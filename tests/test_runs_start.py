"""Where a run gets its folder: a new one, the one it goes on in, or none because it is refused."""

import hashlib
import os
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from omegaconf import DictConfig
from src.build.compose import compose
from src.errors import UserError
from src.runs import records, start
from src.runs.folder import RunFolder
from src.runs.identity import describe, identity

TINY = ["model=tiny", "pooling=bert"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@cache
def composed(*words: str) -> DictConfig:
    return compose(list(words))


def begin(*overrides: str, epochs: int = 0, finish: bool = False) -> start.Start:
    """Begin a run and end the process after some epochs."""
    words = [*TINY, *overrides]
    with start.begin(composed(*words), words) as run:
        if epochs:
            run.folder.checkpoints.mkdir(exist_ok=True)
            run.folder.last.write_text(f"{epochs} epochs")
        if finish:
            records.write(run.folder.results, results_of(run))
    return run


def results_of(run: start.Start) -> records.Results:
    none = records.Videos(0, "")
    data = records.DataRecord(2, "data", ".", None, False, ["a", "b"], [], none, none, none, none)
    cost = records.Cost(1, 1, 1)
    about = (run.record.title, run.record.identity, run.record.origin, "tiny", "bert", "rgb", "adamw", {}, None, 0)
    return records.Results(2, *about, cost, data, 1, None, None, False, {"top1": 50.0}, 1, {}, {})


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder with its SHA-256."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_folder_says_how_to_repeat_the_run() -> None:
    run = begin("seed=3")
    record = run.folder.read_run()
    assert run.checkpoint is None and record is not None
    assert record.overrides == [*TINY, "seed=3"]
    assert identity(describe(compose(record.overrides))) == record.identity == identity(record.description)
    assert record.origin.packages["torch"]
    assert "${" not in run.folder.config.read_text()


def test_an_interrupted_run_dir_goes_on_from_its_last_epoch() -> None:
    assert begin("run_dir=here", epochs=2).checkpoint is None
    head = content(Path("here"))
    again = begin("run_dir=here")
    assert again.checkpoint == Path("here/checkpoints/last.ckpt")
    assert content(Path("here")) == head


def test_before_its_first_epoch_is_over_an_interrupted_run_starts_anew() -> None:
    begin("run_dir=here")
    assert begin("run_dir=here").checkpoint is None


@pytest.mark.parametrize(
    "words, reason",
    [
        (["run_dir=done"], "done has finished"),
        (["run_dir=done", "ckpt_path=last"], "done has finished"),
        (["ckpt_path=done"], "done has finished"),
        (["run_dir=done", "seed=1"], r"holds another run \(seed=0 there\)"),
        (["run_dir=done", "seed=1", "ckpt_path=done"], "holds another run"),
        (["run_dir=foreign"], "not empty and holds no run"),
        (["run_dir=file"], "is a file"),
        (["run_dir=dangling"], "is a link to nowhere, which is not there"),
        (["run_dir=circle"], "is a link to circle, which is not there"),
        (["run_dir=link"], "link has finished"),
        (["run_dir=link", "seed=1"], "holds another run"),
        (["run_dir=done/inner"], "is inside the run .*/done; give a folder outside"),
        (["run_dir=done/evaluations/a/b"], "is inside the run .*/done; give a folder outside"),
        (["run_dir=link/inner"], "is inside the run .*/done; give a folder outside"),
        (["run_dir=done/run.json"], "is a file"),
        (["run_dir=damaged"], r"damaged/run\.json: damaged"),
        (["run_dir=older"], "written by another version"),
        (["run_dir=new", "ckpt_path=nowhere.ckpt"], "there is no file"),
        (["run_dir=new", "ckpt_path=last"], "there is no file"),
        (["ckpt_path=last", "seed=7"], "no run of this configuration"),
    ],
)
def test_a_refused_run_changes_nothing(words: list[str], reason: str) -> None:
    begin("run_dir=done", epochs=3, finish=True)
    begin("run_dir=damaged")
    Path("damaged/run.json").write_text("{")
    begin("run_dir=older")
    older = Path("older/run.json")
    older.write_text(older.read_text().replace('"schema": 2', '"schema": 1'))
    Path("foreign").mkdir()
    Path("foreign/thesis.tex").touch()
    Path("file").touch()
    for name, target in {"dangling": "nowhere", "circle": "circle", "link": "done"}.items():
        Path(name).symlink_to(target)
    before = content(Path())
    with pytest.raises(UserError, match=reason) as refused:
        begin(*words)
    assert "\n" not in str(refused.value)
    assert content(Path()) == before
    assert not Path("new").exists() and not Path("nowhere").exists()


def test_a_link_to_an_empty_folder_is_a_folder_for_a_run() -> None:
    Path("large disk").mkdir()
    Path("link").symlink_to("large disk")
    begin("run_dir=link", epochs=1)
    assert Path("link").is_symlink() and Path("large disk/run.json").is_file()
    assert begin("run_dir=link").checkpoint == Path("link/checkpoints/last.ckpt")


def test_what_is_refused_later_leaves_no_new_folder_and_an_old_one_as_it_was() -> None:
    begin("run_dir=old", epochs=1)
    before = content(Path())
    for words in (["run_dir=old"], ["run_dir=new"], []):
        cfg = composed(*TINY, *words)
        with pytest.raises(UserError, match="no"), start.begin(cfg, TINY):
            raise UserError("no such device")
    assert content(Path()) == before
    assert not Path("new").exists() and not [*Path("outputs").iterdir()]


def test_a_new_folder_with_something_in_it_is_kept_when_training_fails() -> None:
    words = [*TINY, "run_dir=new"]
    with pytest.raises(UserError), start.begin(compose(words), words) as run:
        (run.folder.path / "csv").mkdir()
        raise UserError("a video cannot be read")
    assert run.folder.state().kind == "interrupted"
    begin("run_dir=new")


def test_a_busy_folder_is_refused() -> None:
    words = [*TINY, "run_dir=here"]
    with start.begin(composed(*words), words), pytest.raises(UserError, match="another process is running this run"):
        begin("run_dir=here")
    assert RunFolder(Path("here")).run.is_file()


def test_two_runs_of_one_second_have_two_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        @staticmethod
        def now() -> datetime:
            return datetime(2030, 1, 1, 12)

    monkeypatch.setattr(start, "datetime", Clock)
    folders = {begin(f"seed={seed}", "recipe.lr.adamw=1e-3").folder.path for seed in (0, 0, 1)}
    assert len(folders) == 3
    for folder in folders:
        record = RunFolder(folder).read_run()
        assert record is not None and folder.name.startswith("2030-01-01_12-00-00")


def test_last_means_the_newest_run_of_the_same_configuration() -> None:
    first, second = begin(epochs=1), begin(epochs=2)
    os.utime(first.folder.last, (1, 1))
    other = begin("seed=1", epochs=3)
    again = begin("ckpt_path=last")
    assert again.folder == second.folder and again.checkpoint == second.folder.last
    assert begin("seed=1", "ckpt_path=last").folder == other.folder


def test_another_run_that_begins_from_a_checkpoint_has_a_folder_of_its_own() -> None:
    old = begin(epochs=3, finish=True)
    before = content(old.folder.path)
    new = begin("recipe.epochs=9", f"ckpt_path={old.folder}")
    assert new.folder != old.folder and new.checkpoint == old.folder.last
    assert content(old.folder.path) == before


def test_a_full_disk_does_not_hide_why_a_run_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, record: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(records, "write", full)
    start._record_failure(RunFolder(tmp_path), UserError("the checkpoint cannot be written"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", [["config.yaml"], ["config.yaml", "run.json"]])
def test_what_is_killed_while_it_writes_its_record_can_start_again(missing: list[str]) -> None:
    folder = begin("run_dir=own").folder
    whole = folder.config.read_text()
    for name in missing:
        (folder.path / name).unlink()
    (folder.path / f".{missing[-1]}.4194304.abcd_123.unfinished").write_text("half")  # of a process that is no more
    assert begin("run_dir=own").folder.config.read_text() == whole
    assert {path.name for path in folder.path.iterdir()} <= {"config.yaml", "run.json", ".lock"}


def test_a_run_whose_configuration_is_lost_still_goes_on_from_its_last_epoch() -> None:
    folder = begin("run_dir=own", epochs=2).folder
    folder.config.unlink()
    assert begin("run_dir=own").checkpoint == folder.last and folder.config.is_file()
