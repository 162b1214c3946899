"""Backbones, heads and readers of one's own, in a folder outside of the project."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from src import evaluate, plugins, predict
from src.build.instantiate import build, located
from src.build.network import build_recognizer
from src.command_line.hydra import composed
from src.config import ROOT
from src.errors import UsageError, UserError
from src.frozen import key
from src.runs.folder import RunFolder

from tests.conftest import write_video
from tests.own_folder import WORDS, write_own
from tests.small_runs import exit_of, train_here

SETTINGS = ["recipe.epochs=1", "recipe.batch_size=4", "logger=csv", "data.workers=0", "trainer.accelerator=cpu"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A home and a folder to work in, without a folder of one's own, and without modules that other tests imported."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LATE_PLUGINS", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    forget()
    yield tmp_path
    forget()


def forget():
    """As in a new process."""
    for name in ("wide", "flat", "heads", "heads.peak"):
        sys.modules.pop(name, None)
    plugins.digest.cache_clear()
    plugins._say_once.cache_clear()


@pytest.fixture
def own(place):
    return write_own(place / "own")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for i in range(12):
        write_video(root / f"{('run', 'jump', 'walk')[i // 4]}-{i}.mp4", 10, seed=i, g="8", bf="0")
    return root


def test_the_words_of_a_command_line_name_the_folder(own, monkeypatch):
    for words in (["a=1", f"--config-dir={own}"], ["--config-dir", str(own), "a=1"], ["-cd", str(own), "a=1"]):
        monkeypatch.setenv("LATE_PLUGINS", "")
        assert plugins.take(words) == ["a=1"]
        assert plugins.folder() == own
    assert plugins.take(["b=2"]) == ["b=2"]  # given by the environment, as to the processes of a command
    monkeypatch.chdir(own.parent)
    plugins.take(["--config-dir=own"])
    assert plugins.folder() == own


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config-dir=nowhere"], "--config-dir=nowhere: there is no such folder"),
        (["--config-dir"], "names no folder"),
    ],
)
def test_a_folder_that_is_not_there_is_wrong_usage(words, said):
    with pytest.raises(UsageError, match=said):
        plugins.take(words)


@pytest.mark.parametrize("name", ["model/tiny.yaml", "train.yaml", "experiments/table1.yaml"])
def test_no_file_takes_the_place_of_one_of_the_project(own, name):
    (own / name).write_text("name: tiny\n")
    with pytest.raises(UsageError, match=f"{name} has the name of a file of this project; rename it"):
        plugins.take([f"--config-dir={own}"])


def test_a_disk_is_no_folder_of_plugins(own, monkeypatch):
    monkeypatch.setattr(plugins, "MOST", 5)
    with pytest.raises(UsageError, match="more than 5 files"):
        plugins.take([f"--config-dir={own}"])


def test_its_choices_are_among_the_others(own):
    with pytest.raises(UsageError, match="model=wide does not exist"):
        composed(["model=wide"])
    plugins.take([f"--config-dir={own}"])
    assert composed(["model=wide", "pooling=peak"]).pooling.head._target_ == "heads.peak.Peak"
    with pytest.raises(UsageError, match=r"model can be: .*tiny, .*wide"):
        composed(["model=wise"])
    assert "wide" in plugins.choices("model")
    assert plugins.is_group("model") and not plugins.is_group("heads/none")


def test_the_hash_follows_code_and_configuration(own):
    before = plugins.digest(own)
    (own / "README.md").write_text("words")
    (own / "__pycache__").mkdir()
    (own / "__pycache__" / "wide.pyc").write_text("made by Python")
    (own / ".git").mkdir()
    (own / ".git" / "hook.py").write_text("")
    plugins.digest.cache_clear()
    assert plugins.digest(own) == before
    assert plugins.digest(Path(shutil.copytree(own, own.parent / "copy"))) == before
    for change in (lambda: (own / "more.py").write_text(""), lambda: (own / "more.py").rename(own / "moved.py")):
        change()
        plugins.digest.cache_clear()
        assert plugins.digest(own) != before
        before = plugins.digest(own)


@pytest.mark.parametrize(
    "target",
    [
        *("os.system", "builtins.eval", "subprocess.Popen", "hydra.utils.get_method", "torch.load", "pathlib.Path"),
        *("src.data.scan.os.system", "torch.optim.sgd.torch.load", "src.files.write_text", "src.files.shutil"),
        *("src.models", "src.models.backbones.tiny.Nothing", "src.models.backbones.nothing.Tiny", "torch.optim."),
        *("5", "src", "..", "", "wide.Wide"),
    ],
)  # fmt: skip
def test_no_other_target_is_called(target):
    for node in ({"_target_": target}, {"_target_": "torch.optim.SGD", "lr": {"x": [{"_target_": target}]}}):
        with pytest.raises(UserError, match="_target_=") as refusal:
            build(node)
        assert "\n" not in str(refusal.value)


def test_a_package_that_its_yaml_names_is_trusted(own):
    assert located("torch.optim.Adam") is torch.optim.Adam
    with pytest.raises(UserError, match="put one of your own into a module of a folder"):
        located("tests.models.toy.Toy")
    (own / "model" / "toy.yaml").write_text("backbone: { _target_: tests.models.toy.Toy }\n")
    plugins.take([f"--config-dir={own}"])
    assert located("tests.models.toy.Toy").__name__ == "Toy"


def test_a_module_with_the_name_of_an_installed_one_is_refused(own):
    (own / "av.py").write_text("class Net: pass\n")
    plugins.take([f"--config-dir={own}"])
    with pytest.raises(UserError, match="av has the name of an installed module; rename it"):
        located("av.Net")


def test_a_module_that_fails_is_one_line(own):
    (own / "wide.py").write_text("import nothing_that_is_there\n")
    plugins.take([f"--config-dir={own}"])
    with pytest.raises(UserError, match=r"wide cannot be imported \(ModuleNotFoundError: No module") as refusal:
        build_recognizer(["model=wide", "pooling=average"], 3)
    assert "\n" not in str(refusal.value)


def test_features_of_a_backbone_of_ones_own_follow_its_code(own):
    plugins.take([f"--config-dir={own}"])
    words = [*WORDS, "data.root=/x", "freeze=backbone"]

    def keys():
        forget()
        cfg = composed(words)
        torch.manual_seed(0)
        described = key.describe(cfg, build_recognizer(cfg, 3))
        return key.key(described["test"])

    before = keys()
    assert keys() == before
    with (own / "wide.py").open("a") as file:
        file.write("# another version\n")
    assert keys() != before


def test_a_run_finds_it_again_and_moves_to_another_machine(place, own, clips, monkeypatch, capsys):
    plugins.take([f"--config-dir={own}"])
    root = Path(shutil.copytree(clips, place / "clips"))
    run = train_here([*WORDS, f"data.root={root}", *SETTINGS, f"run_dir={place}/run"])
    recorded = run.read_run()
    assert recorded.plugins == plugins.Plugins("own", plugins.digest(own))
    assert str(own) not in run.run.read_text()  # where code is on a machine is nobody else's to say
    asked = (predict.COMMAND, predict.predict)

    def answer(folder, *words):
        forget()
        capsys.readouterr()
        code = exit_of(*asked, *words, f"video={clips}/run-0.mp4", *([] if folder is None else [f"run={folder}"]))
        return code, capsys.readouterr()

    # This machine knows the folder, in a new process and without its name.
    monkeypatch.setenv("LATE_PLUGINS", "")
    code, here = answer(run)
    assert code == 0 and not here.err
    monkeypatch.setenv("LATE_PLUGINS", "")
    assert answer(None, f"checkpoint={run.best}")[0] == 0

    # The same home, but other code: nothing runs unasked.
    (own / "wide.py").write_text((own / "wide.py").read_text() + "raise SystemExit('run unasked')\n")
    monkeypatch.setenv("LATE_PLUGINS", "")
    code, refused = answer(run)
    assert code == 1
    assert "not known here or has changed; give --config-dir=FOLDER" in refused.err
    assert len(refused.err.splitlines()) == 1

    # Another machine: a copy of the run and of the folder, and no training data.
    elsewhere = place / "elsewhere"
    moved = RunFolder(Path(shutil.copytree(run.path, elsewhere / "run")))
    theirs = write_own(elsewhere / "parts")
    shutil.rmtree(root)
    shutil.rmtree(run.path)
    shutil.rmtree(own)
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere / "cache"))
    monkeypatch.setenv("LATE_PLUGINS", "")
    assert answer(moved)[0] == 1
    forget()
    plugins.take([f"--config-dir={theirs}"])
    code, there = answer(moved)
    assert code == 0
    assert table(there.out) == table(here.out)
    code = exit_of(evaluate.COMMAND, evaluate.evaluate, f"run={moved}", f"data.root={clips}", "data.workers=0")
    assert code == 0
    (evaluation,) = moved.evaluations.glob("*/evaluation.json")
    assert json.loads(evaluation.read_text())["metrics"] == moved.read_results().metrics

    # Other code that the user vouches for.
    (theirs / "wide.py").write_text((theirs / "wide.py").read_text() + "# mine\n")
    code, mine = answer(moved)
    assert code == 0
    assert "made with other files of own than" in mine.err


def table(said):
    """Classes and probabilities, without the line that says how long it took."""
    return [line for line in said.splitlines() if "│" in line]


@pytest.mark.parametrize("sha256", ["", "../../../own", "0" * 64, "x" * 64, "0" * 10_000])
def test_a_record_cannot_say_where_code_is(own, sha256):
    with pytest.raises(UserError, match="not known here or has changed"):
        plugins.restore(plugins.Plugins(str(own), sha256), "run.json")
    assert plugins.folder() is None


@pytest.mark.slow
def test_train_sweep_report_predict_on_two_machines(place, own, clips):
    """With the commands that a user types, in another home and folder than the one that trained."""

    def command(home, name, *words, code=0):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(home)}
        environment |= {"XDG_CACHE_HOME": str(home / "cache"), "LATE_PLUGINS": ""}
        home.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", f"src.{name}", *words], cwd=home, env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    one, two = place / "one", place / "two"
    root = Path(shutil.copytree(clips, place / "clips"))
    given = f"--config-dir={own}"
    command(one, "train", given, *WORDS, f"data.root={root}", *SETTINGS, "run_dir=trained", "trainer.devices=2")
    command(one, "train", given, "experiments=ours", f"data.root={root}")
    command(one, "train", given, "experiments=ours", f"data.root={root}", "seeds=1", "hydra/launcher=parallel")
    words = [*WORDS, f"data.root={root}", *SETTINGS]
    command(one, "train", given, "-m", *words, "seed=2,3", "hydra/launcher=parallel")
    command(one, "features", given, *WORDS, f"data.root={root}", "freeze=backbone", "data.workers=0")
    first = command(one, "predict", "run=trained", f"{clips}/run-0.mp4")
    assert "wide.conv" not in command(one, "complexity", given, "model=wide", "pooling=peak")

    shutil.copytree(one, two, ignore=shutil.ignore_patterns("cache"))
    for gone in (one, root):
        shutil.rmtree(gone)
    parts = own.rename(place / "parts")
    given = f"--config-dir={parts}"
    report = command(two, "report", "ours")
    assert "average" in report and "peak" in report
    assert "finished" in command(two, "sweep", "status", "ours")
    command(two, "predict", "run=trained", f"{clips}/run-0.mp4", code=1)
    assert table(command(two, "predict", given, "run=trained", f"{clips}/run-0.mp4")) == table(first)
    assert table(command(two, "predict", "run=trained", f"{clips}/run-0.mp4")) == table(first)  # remembered
    assert "MACs" in command(two, "complexity", "run=trained")
    command(two, "evaluate", "run=trained", f"data.root={clips}", "data.workers=0")
    command(two, "export", "run=trained", "format=safetensors", "out=network.safetensors")
    assert table(command(two, "predict", "run=network.safetensors", f"{clips}/run-0.mp4")) == table(first)
