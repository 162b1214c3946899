"""Folders of runs that somebody else has made: evaluate, predict and resuming run no code that they name."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from src import evaluate, predict
from src.build.recorded import compose_recorded
from src.command_line.hydra import composed
from src.errors import UserError
from src.runs.folder import RunFolder
from src.runs.start import begin
from src.training import loop

from tests.small_runs import exit_of, own_videos, train_here, write_classes

COMMANDS = {
    "evaluate": (evaluate.COMMAND, evaluate.evaluate, ()),
    "predict": (predict.COMMAND, predict.predict, ("video=clip.mp4",)),
}
# Each would run code, read configuration from elsewhere, or is no plain choice or value. MARK is a file that the code
# would write, EVIL a folder with configuration of somebody else's.
WAYS_IN = {
    "target": "pooling.head._target_=os.system",
    "target added": "+pooling.head._target_=os.system",
    "target forced": "++model.backbone._target_=os.system",
    "arguments": "+pooling.head._args_=['touch MARK']",
    "partial": "trainer._partial_=false",
    "convert": "+model.backbone._convert_=object",
    "recursive": "+model.backbone._recursive_=false",
    "mapping": "pooling.head={_target_:os.system,_args_:['touch MARK']}",
    "new node": "+x={_target_:os.system,_args_:['touch MARK']}",
    "in a list": "+x=[{_target_:os.system,_args_:['touch MARK']}]",
    "in lists": "model.mean=[[[{a:{_target_:os.system,_args_:['touch MARK']}}]]]",
    "in a mapping": "model.backbone={a:{b:{_target_:os.system,_args_:['touch MARK']}}}",
    "spaces": "pooling.head={ _target_ : os.system, _args_ : ['touch MARK'] }",
    "reader": "data.lists._target_=os.getcwd",
    "reader as a mapping": "data.lists={_target_:os.getcwd}",
    "whole group": "++data={lists:{_target_:os.getcwd}}",
    "optimiser": "optim.optimizer._target_=os.system",
    "scheduler": "+schedule.scheduler={_target_:os.system}",
    "logger": "logger={csv:{_target_:os.system}}",
    "weights": "+weights.source={_target_:os.system}",
    "rows": "experiment={rows:{_target_:os.system}}",
    "escaped": "pooling.head.\\_target_=os.system",
    "quoted key": "pooling.head.'_target_'=os.system",
    "brackets": "pooling.head[_target_]=os.system",
    "quoted brackets": "pooling['head']['_target_']=os.system",
    "zero width": "pooling.head._target_\u200b=os.system",
    "full width": "pooling.head.\uff3ftarget\uff3f=os.system",
    "other script": "pooling.head._t\u0430rget_=os.system",
    "newline": "seed=1\npooling.head._target_=os.system",
    "control": "pooling.head.\x00_target_=os.system",
    "launcher": "hydra/launcher=parallel",
    "launcher forced": "+hydra/launcher=parallel",
    "sweeper": "hydra/sweeper=table",
    "search path": "hydra.searchpath=['file://EVIL']",
    "job": "hydra.job.chdir=true",
    "all of hydra": "hydra={sweeper:{_target_:os.system}}",
    "flag": "--config-dir=EVIL",
    "short flag": "-cd=EVIL",
    "multirun": "--multirun",
    "path": "model=../../EVIL/model/evil",
    "absolute path": "model=EVIL/model/evil",
    "quoted path": "model='EVIL/model/evil'",
    "path in a list": "logger=[csv,../../EVIL/model/evil]",
    "path of experiments": "experiments=../EVIL/model/evil",
    "group below": "model/../../EVIL/model=evil",
    "no such file": "model=evil",
    "another package": "data@x=folder",
    "moved package": "+model@pooling.head=tiny",
    "global package": "+model@_global_=tiny",
    "mapping for a group": "model={_target_:os.system}",
    "interpolation": "pooling.name=${oc.env:HOME}",
    "escaped interpolation": "pooling.name=\\${oc.env:HOME}",
    "decoded": "pooling.head=${oc.decode:'{_target_: os.system}'}",
    "created": "pooling.head=${oc.create:{_target_:os.system}}",
    "deleted": "~pooling.head._target_",
    "deleted group": "~pooling",
    "several values": "seed=1,2",
    "choices": "seed=choice(1,2)",
    "range": "seed=range(1,3)",
    "no value": "seed",
    "nothing": "",
    "no name": "=1",
    "deep": "seed=" + "[" * 3000 + "]" * 3000,
    "long": "seed=" + "1" * 100_000,
    "another type": "data.lists=5",
    "no group": "pooling.head=null",
    "wrong value": "seed=one",
    "unknown": "no.such.option=1",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run as it should be."""
    base = tmp_path_factory.mktemp("made")
    return train_here([*own_videos(write_classes(base / "videos")), f"run_dir={base / 'run'}"])


@pytest.fixture
def run(made: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of it to doctor; the mark is a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil" / "model").mkdir(parents=True)
    (tmp_path / "evil" / "model" / "evil.yaml").write_text("_target_: os.system\n_args_: [touch mark]\n")
    shutil.copy(next(made.path.parent.glob("videos/run/*.mp4")), "clip.mp4")
    return RunFolder(Path(shutil.copytree(made.path, tmp_path / "run")))


def doctor(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def add_override(run: RunFolder, word: str) -> None:
    here = str(run.path.parent)
    word = word.replace("MARK", f"{here}/mark").replace("EVIL", f"{here}/evil")
    doctor(run.run, lambda content: content["overrides"].append(word))


def is_refused(run: RunFolder, name: str, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that the command says; it has run nothing and written nothing."""
    command, task, more = COMMANDS[name]
    before = {path: path.stat().st_mtime_ns for path in run.path.parent.rglob("*")}
    capsys.readouterr()
    assert exit_of(command, task, f"run={run}", *more, *words) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    assert {path: path.stat().st_mtime_ns for path in run.path.parent.rglob("*")} == before
    return printed.err


@pytest.mark.parametrize("way", WAYS_IN)
def test_no_recorded_override_brings_in_code(run: RunFolder, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    add_override(run, WAYS_IN[way])
    for name in COMMANDS:
        assert "recorded override" in is_refused(run, name, capsys)


def test_what_the_user_types_is_trusted() -> None:
    recorded = ["model=tiny", "pooling=average", "pooling.head._target_=src.models.pooling.lstm.Lstm"]
    with pytest.raises(UserError, match="refused"):
        compose_recorded(recorded)
    own = ["pooling.head._target_=src.models.pooling.concat.Concat"]
    assert compose_recorded(recorded, own).pooling.head._target_ == "src.models.pooling.concat.Concat"


def test_configuration_of_somebody_elses_can_be_typed(tmp_path: Path) -> None:
    (tmp_path / "pooling").mkdir()
    (tmp_path / "pooling" / "mine.yaml").write_text("name: mine\n")
    own = [f"hydra.searchpath=['file://{tmp_path}']", "pooling=mine"]
    assert compose_recorded(["model=tiny", "pooling=mine"], own).pooling.name == "mine"


@pytest.mark.parametrize(
    "word",
    [
        "seed=3",
        "+trainer.max_steps=5",
        "logger=[csv,wandb]",
        "logger.wandb.name='a (b)'",
        "experiments=lr_search",
        "recipe.lr={sgd: 1e-3, adamw: 1}",
        "data.root='/a b/c=d'",
        "data.scales=[1,0.875]",
    ],
)
def test_plain_choices_and_values_are_taken(word: str) -> None:
    recorded = ["model=tiny", "logger=wandb", "data=folder", "data.root=/x"]
    assert compose_recorded([*recorded, word]).model.name == "tiny"


def test_recorded_places_are_not_written_to(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("run_dir=elsewhere", "weights=file", "weights.path=elsewhere", "ckpt_path=elsewhere", "logger=wandb"):
        add_override(run, word)
    add_override(run, "+trainer.default_root_dir=elsewhere")
    is_refused(run, "evaluate", capsys)
    doctor(run.run, lambda content: content["overrides"].pop())
    command, task, _ = COMMANDS["evaluate"]
    assert exit_of(command, task, f"run={run}") == 0
    assert not Path("elsewhere").exists()
    assert not Path("outputs").exists()


@pytest.mark.parametrize("option", ["data.root", "++data.root"])
def test_embedded_videos_are_not_made_where_a_record_says(option: str) -> None:
    recorded = ["model=tiny", f"{option}=/elsewhere", "data.name=another"]
    assert compose_recorded(recorded).data.root is None
    assert compose_recorded(recorded, ["data.root=/mine"]).data.root == "/mine"


@pytest.mark.parametrize("place", ["data.root=${oc.env:HOME}", "data.root=???", "++data.csv=${oc.env:HOME}"])
def test_where_the_training_videos_were_is_nothing_to_predict_with(
    run: RunFolder, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(content: Any) -> None:
        words = [word for word in content["overrides"] if not word.startswith("data.root=")]
        content["overrides"] = [*words, place]

    doctor(run.run, change)
    command, task, more = COMMANDS["predict"]
    assert exit_of(command, task, f"run={run}", *more) == 0
    assert "jump" in capsys.readouterr().out
    command, task, _ = COMMANDS["evaluate"]
    assert exit_of(command, task, f"run={run}") == 1


RECORDS: dict[str, Callable[[RunFolder], object]] = {
    "run.json: no text": lambda run: run.run.write_text('{"_target_": "os.system"}'),
    "run.json: a number": lambda run: doctor(run.run, lambda content: content["overrides"].append(5)),
    "run.json: a mapping": lambda run: doctor(run.run, lambda c: c["overrides"].append({"_target_": "os.system"})),
    "run.json: no list": lambda run: doctor(run.run, lambda content: content.update(overrides="seed=1")),
    "run.json: another version": lambda run: doctor(run.run, lambda content: content.update(schema=99)),
    "data.json: damaged": lambda run: run.data.write_text("{" * 100_000),
    "data.json: no list": lambda run: doctor(run.data, lambda content: content.update(classes={"a": 1})),
    "data.json: no names": lambda run: doctor(run.data, lambda c: c.update(classes=[{"_target_": "os.system"}])),
    "data.json: other classes": lambda run: doctor(run.data, lambda content: content["classes"].append("fly")),
    "data.json: no class": lambda run: doctor(run.data, lambda content: content.update(classes=[])),
    "data.json: missing": lambda run: run.data.unlink(),
}


@pytest.mark.parametrize("change", RECORDS)
def test_a_damaged_record_is_one_line(run: RunFolder, change: str, capsys: pytest.CaptureFixture[str]) -> None:
    RECORDS[change](run)
    for name in COMMANDS:
        is_refused(run, name, capsys)


def test_what_other_files_say_has_no_effect(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    code = "!!python/object/apply:os.system ['touch mark']"
    run.config.write_text(f"x: {code}\npooling: {{head: {{_target_: os.system, _args_: [touch mark]}}}}\n")
    for path in (run.results, run.error, run.audit, run.scores):
        path.write_text('{"_target_": "os.system", "_args_": ["touch mark"]}')
    command, task, more = COMMANDS["predict"]
    assert exit_of(command, task, f"run={run}", *more) == 0
    assert "jump" in capsys.readouterr().out
    assert not Path("mark").exists()


class Code:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch mark",)


def test_a_checkpoint_of_code_is_not_unpickled(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (run.best, run.last):
        content = torch.load(file, weights_only=True)
        torch.save({**content, "more": Code()}, file)
    for name, said in (("evaluate", "cannot be read"), ("predict", "only tensors are read")):
        assert said in is_refused(run, name, capsys)
    words = json.loads(run.run.read_text())["overrides"]
    words = [word for word in words if not word.startswith("run_dir=")]
    cfg = composed([*words, f"ckpt_path={run}", "recipe.epochs=2"])
    with pytest.raises(UserError, match="cannot be read"), begin(cfg, words) as start:
        loop.run(cfg, start.folder, start.checkpoint)
    assert not Path("mark").exists()


def test_training_goes_on_from_a_record_without_obeying_it(run: RunFolder) -> None:
    words = json.loads(run.run.read_text())["overrides"]
    own = [word for word in words if not word.startswith("run_dir=")]
    add_override(run, WAYS_IN["new node"])
    doctor(run.run, lambda content: content["description"].update({"seed": {"_target_": "os.system"}}))
    doctor(run.run, lambda content: content.update(title="x\x1b[31m"))
    cfg = composed([*own, f"run_dir={run}"])
    with pytest.raises(UserError, match="has finished"), begin(cfg, own):
        pass
    run.results.unlink()
    with begin(cfg, own) as start:
        assert start.checkpoint == run.last
    assert not Path("mark").exists()
