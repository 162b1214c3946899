"""Other systems than Linux: what only POSIX has is not needed, and the project does not spread over site-packages."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from src import plugins
from src.config import ROOT
from src.runs import processes
from src.sweeps.arguments import with_sweeper

from tests.conftest import write_video
from tests.small_runs import own_videos

PATIENCE = 250.0  # seconds, on a machine with much else to do
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Takes away from Python what Windows does not have, as far as libraries of this machine do without it: they have been
# imported before, and keep theirs. `src` gets to see nothing of it.
WINDOWS = """
import importlib.abc, os, select, signal, socket, sys
import pytorch_lightning, torchmetrics, torchvision, wandb, av, decord, filelock, matplotlib.pyplot, rich.progress
import hydra.core.plugins, multiprocessing.resource_tracker, torch.utils.data

MISSING = {"fcntl", "resource", "termios", "pwd", "grp", "posix"}

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}")

for name in MISSING:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocker())
for module, names in {
    os: ["fork", "register_at_fork", "sched_getaffinity", "killpg", "getuid", "setsid", "WNOHANG", "O_CLOEXEC"],
    signal: ["SIGHUP", "SIGCHLD", "SIGALRM", "alarm", "pthread_sigmask", "pthread_kill", "SIGQUIT"],
    socket: ["AF_UNIX"],
}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "another"
"""


def run_on_windows(code: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS + code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_and_its_prediction_need_nothing_that_only_posix_has(tmp_path):
    for i in range(8):
        write_video(tmp_path / "videos" / ("hop", "skip")[i % 2] / f"{i}.mp4", 10, seed=i, g="8", bf="0")
    words = [*own_videos(tmp_path / "videos"), "run_dir=run"]
    said = run_on_windows(
        f"""
from src import files
from src.train import train_here
from src.command_line.hydra import composed
from src.command_line.options import finish, parse
from src.runs.start import begin
from src.runs import launch, processes
from src.signals import held, stop_on_signals
from src import predict, sweep, prepare
from src.data.workers import METHOD

assert launch.Server is processes.Server
cfg = composed({words!r})
with stop_on_signals(), held(), begin(cfg, {words!r}) as run:
    assert files.is_locked(run.folder.lock)
    train_here(cfg, run.folder, run.checkpoint)
assert not files.is_locked(run.folder.lock)
finish(lambda: predict.predict(parse(predict.COMMAND, ["run=run", "videos/hop/0.mp4"])))
""",
        tmp_path,
    )
    assert "hop" in said and "skip" in said
    assert json.loads((tmp_path / "run" / "results.json").read_text())["tested"] > 0


def test_no_module_of_posix_is_imported_without_asking():
    for file in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "hydra_plugins").rglob("*.py")]):
        if file.name == "process_server.py":  # Linux alone
            continue
        for line in file.read_text().splitlines():  # at the left margin: not in a function, nor behind a question
            assert not re.match(r"(import|from) (fcntl|resource|termios|pwd|grp|posix)\b", line), file


# Processes that are started one by one


@pytest.fixture
def server():
    server = processes.Server("tests.forked")
    yield server
    server.close()


def start(server, *arguments, folder=None, **environment):
    return server.start(processes.Task(arguments, {**os.environ, **environment}, str(folder or Path.cwd())))


@pytest.mark.parametrize(("words", "expected"), [(["exit", "7"], 7), (["say", "no"], 1), (["raise", "no"], 1)])
def test_exit_codes_are_those_of_a_program(server, words, expected):
    process = start(server, *words)
    assert process.wait(PATIENCE) and process.exitcode == expected


def test_each_has_an_environment_and_folder_of_its_own(server, tmp_path):
    process = start(server, "about", str(tmp_path / "said"), folder=tmp_path, RANK="3")
    assert process.wait(PATIENCE) and process.exitcode == 0
    said = json.loads((tmp_path / "said").read_text())
    assert said["environment"]["RANK"] == "3" and said["folder"] == str(tmp_path)
    assert said["path"][0] == str(ROOT)
    assert server.is_usable(server.environment) and not server.is_usable({"another": "environment"})


def test_none_is_left_when_the_server_is_closed_or_the_command_dies(server, tmp_path):
    process = start(server, "wait", str(tmp_path / "number"))
    while not (tmp_path / "number").exists():
        assert not process.wait(0.05)
    process.terminate()
    assert process.wait(PATIENCE) and process.exitcode != 0
    process = start(server, "wait", str(tmp_path / "other"))
    server.close()
    assert process.exitcode is not None
    orphan = start(server, "wait", str(tmp_path / "orphan"))
    while not (tmp_path / "orphan").exists():
        assert not orphan.wait(0.05)
    orphan._started.stdin.close()  # what the system does when the command dies
    assert orphan.wait(PATIENCE) and orphan.exitcode == 1


# What an experiment asks of Hydra before it composes


@pytest.mark.parametrize(
    ("words", "added"),
    [
        (["experiments=table1"], ["hydra/sweeper=table", "--multirun"]),
        (["experiments=mini_table1"], ["hydra/sweeper=table", "hydra/launcher=parallel", "--multirun"]),
        (["experiments=mini_table1", "hydra/launcher=basic", "-m"], ["hydra/sweeper=table"]),
        (["experiments=lr_search"], ["hydra/sweeper=lr_search", "--multirun"]),
        (["experiments=probe_table1", "hydra/launcher=basic"], ["hydra/sweeper=table", "--multirun"]),
        (
            ["experiments=probe_table1", "hydra.launcher.n_jobs=3"],
            ["hydra/sweeper=table", "hydra/launcher=parallel", "--multirun"],
        ),
        (["experiments=table1", "--cfg", "job"], ["hydra/sweeper=table"]),
        (["experiments=none"], []),
        (["-m", "seed=1,2"], ["hydra/sweeper=lists"]),
        (["-m", "seed=1,2", "hydra/sweeper=basic"], []),
        (["seed=1"], []),
    ],
)
def test_an_experiment_is_a_sweep(words, added):
    assert with_sweeper(words) == [*words, *added]


def test_experiments_do_not_choose_how_hydra_runs():
    for name in plugins.choices("experiments"):
        text = (ROOT / "experiments" / f"{name}.yaml").read_text()
        assert "override /hydra" not in text and "\nhydra:" not in text, name


# Packages


def test_releases_that_must_not_be_installed():
    required = {one.name: one.specifier for one in map(Requirement, PROJECT["dependencies"])}
    for version in ("2.6.2", "2.6.3", "2.6.5"):
        assert not required["pytorch-lightning"].contains(version), "malicious, or runs code of checkpoints"
    assert required["pytorch-lightning"].contains("2.6.6")
    assert not required["wandb"].contains("0.32.0"), "Lightning's logger needs RunDisabled"
    assert "decord" not in required and required["decord2"].contains("3.4.0")
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(Version("3.13.0"))


def test_the_project_is_not_installed_as_a_package(tmp_path):
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(tmp_path / "site")]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, cwd=tmp_path)
    if "No module named pip" in done.stderr:
        pytest.skip("this environment has no pip")
    assert done.returncode != 0
    assert "is not installed as a package: run it in its checkout" in done.stdout + done.stderr
    assert not (tmp_path / "site").exists()
    assert not [line for line in (ROOT / "README.md").read_text().splitlines() if re.search(r"pip install '?\.", line)]
