"""Sweeps: what is run, skipped, resumed and told. `slow` ones kill whole process groups and compare DDP."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache

import numpy as np
import pytest
from omegaconf import OmegaConf
from src.build.compose import compose
from src.config import ROOT
from src.errors import UsageError
from src.runs.folder import RunFolder
from src.runs.identity import describe, identity
from src.runs.start import folder_of
from src.sweeps import manifest as manifests
from src.sweeps.arguments import SweepOptions
from src.sweeps.plan import Experiment, experiment_of, manifest_of
from src.sweeps.plan import plan as plan_jobs

from tests.conftest import write_video

EXPERIMENT = """# @package _global_
experiment:
  name: trial
  title: Trial
  common: [model=small, data=folder, data.root={root}, recipe.epochs={epochs}, recipe.batch_size=4, logger=csv,
    data.workers=0, trainer.accelerator=cpu]
  rows:
    broken: {{ overrides: [pooling=bert, pooling.head.heads=7] }}
    unreadable: {{ overrides: [pooling=average, "data.root={bad}"] }}
    average: {{ overrides: [pooling=average] }}
    concat: {{ overrides: [pooling=concat] }}
"""
MODEL = """name: small
clip: { frames: 8, stride: 1, crop: 32, frame_size: [32, 32], keep_aspect: false }
backbone: { _target_: tests.models.toy.Toy, channels: [16], in_channels: 3 }
reduction: { full: none, reduced: none }
mean: [0.5, 0.5, 0.5]
std: [0.25, 0.25, 0.25]
statistics: {}
lr: { sgd: 1e-2, adamw: 1e-2 }
bert: { init_std: null, normalize_tokens: false }
pretrained: { rgb: null, flow: null }
"""


@pytest.fixture
def place(tmp_path, tree, monkeypatch):
    """A folder to sweep in: conf/ with a network of one convolution, and an experiment of four rows."""
    bad = tmp_path / "bad"
    for i in range(6):
        write_video(bad / ("hop", "skip")[i % 2] / f"{i}.mp4", 8, seed=i)
    (bad / "hop" / "no.mp4").write_bytes(b"no video")
    for path, text in {
        "model/small.yaml": MODEL,
        "experiments/trial.yaml": EXPERIMENT.format(root=tree, bad=bad, epochs=2),
        "experiments/long.yaml": EXPERIMENT.format(root=tree, bad=bad, epochs=150).replace("name: trial", "name: long"),
    }.items():
        (tmp_path / "conf" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / path).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*words, where, **options):
    command = [sys.executable, "-m", "src.train", f"--config-dir={where}/conf", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=where, env=environment, **pipes, **options)


@cache
def composed(words):
    return compose(list(words))


def table_of(name) -> Experiment:
    return experiment_of(compose([f"experiments={name}"]).experiment)


def plan(table, seeds, extra=()):
    return plan_jobs(table, SweepOptions(seeds=seeds, jobs=list(extra)), lambda words: composed(tuple(words)))


def manifest(where, name="trial"):
    rows = json.loads((where / "outputs" / "sweeps" / f"{name}.json").read_text())["rows"]
    return {row["name"]: [RunFolder(where / job["folder"]) for job in row["jobs"]] for row in rows}


# Planning


def test_rows_bring_their_streams():
    table = table_of("table3")
    assert table.picked(["bert_both"]) == ["bert_rgb", "bert_flow", "bert_both"]
    with pytest.raises(UsageError, match="has the rows average_rgb"):
        table.picked(["brt"])


def test_planning_composes_to_what_the_job_will_be():
    table = table_of("mini_table2")
    jobs = plan(table, [0, 3], ["recipe.epochs=1"])
    last = jobs["two_layers"][1]
    cfg = compose(last.overrides)
    assert (cfg.seed, cfg.recipe.epochs, cfg.pooling.head.layers) == (3, 1, 2)
    assert last.identity == identity(describe(cfg))
    assert last.folder == str(folder_of(cfg, last.identity))


def test_the_manifest_keeps_the_seeds_of_earlier_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = table_of("mini_table2")

    def seeds(wanted, *extra):
        manifests.write(manifest_of(table, plan(table, wanted, extra), extra))
        written = manifests.read(manifests.path_of("mini_table2"))
        assert [row.name for row in written.rows] == list(table.rows)
        return [job.seed for job in written.rows[2].jobs]

    assert seeds([0]) == [0]
    assert seeds([1, 2]) == [1, 2, 0]
    assert seeds([0], "recipe.epochs=1") == [0]  # other runs: nothing of before belongs beside them


# Whole sweeps


def test_a_crash_and_unreadable_data_stop_no_other_run(place):
    words = ["experiments=trial", "rows=[broken,unreadable,average]", "hydra/launcher=parallel"]
    process = start(*words, where=place)
    said, _ = process.communicate()
    folders = {row: own[0] for row, own in manifest(place).items()}
    states = {row: folder.state() for row, folder in folders.items()}
    assert process.returncode == 1
    assert "2 of 3 jobs did not finish (2 crashed)" in said
    assert {row: state.kind for row, state in states.items()} == {
        **{"broken": "crashed", "unreadable": "crashed"},
        **{"average": "finished", "concat": "missing"},
    }
    assert "heads" in states["broken"].detail
    assert "no.mp4" in states["unreadable"].detail and "cannot be read" in states["unreadable"].detail
    assert folders["average"].read_run().identity in folders["average"].path.name


@pytest.mark.slow
def test_two_launches_at_once_run_no_job_twice(place):
    words = ["experiments=trial", "rows=[average,concat]"]
    launches = [start(*words, where=place) for _ in range(2)]
    said = [launch.communicate()[0] for launch in launches]
    for launch, text in zip(launches, said, strict=True):  # one that meets the other's run says so
        told = ("another process is running this run", "did not finish (1 running)")
        assert launch.returncode == 0 or any(words in text for words in told)
    assert start(*words, where=place).wait() == 0
    for row in ("average", "concat"):
        (folder,) = manifest(place)[row]
        assert folder.state().kind == "finished"
        assert folder.log(0).read_text().count("epoch 1/") == 1


@pytest.mark.parametrize(
    ("launcher", "plugin"),
    [
        pytest.param("basic", None, marks=pytest.mark.slow),
        pytest.param("slurm_local", "hydra_submitit_launcher", marks=pytest.mark.slow),
        pytest.param("on_ray", "hydra_ray_launcher", marks=pytest.mark.slow),
    ],
)
def test_launchers_bring_every_job_to_its_end(place, launcher, plugin):
    if plugin:
        pytest.importorskip(f"hydra_plugins.{plugin}", reason="an extra: launchers")
    words = ["experiments=trial", "rows=[average,concat]", f"hydra/launcher={launcher}"]
    process = start(*words, where=place)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert [manifest(place)[row][0].state().kind for row in ("average", "concat")] == ["finished"] * 2


@pytest.mark.slow
def test_a_search_goes_on_with_other_values(place, tree):
    pytest.importorskip("optuna", reason="an extra: launchers")
    words = ["experiments=lr_search", "model=small", "pooling=average", "data=folder", f"data.root={tree}"]
    words += ["recipe.epochs=1", "recipe.batch_size=4", "data.workers=0", "logger=csv", "trainer.accelerator=cpu"]
    for trials in (1, 2, 2):
        assert start(*words, f"hydra.sweeper.n_trials={trials}", where=place).wait() == 0
    configs = [OmegaConf.load(path) for path in sorted(place.glob("outputs/runs/*/config.yaml"))]
    assert len({cfg.optim.optimizer.lr for cfg in configs}) == len(configs) == 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_again_and_again_a_sweep_ends_with_the_same_results(place):
    """kill -9 of the process group at ten random moments, each time the same command again: as if undisturbed."""
    words = ["experiments=long", "rows=[average]", "seeds=0,1"]
    began = time.monotonic()
    calm = fresh(place, "calm")
    assert start(*words, where=calm).wait() == 0
    job = (time.monotonic() - began) / 2
    random, kills, rounds = np.random.default_rng(0), 0, 0
    while kills < 10:
        where, rounds = fresh(place, f"round{rounds}"), rounds + 1
        while (process := start(*words, where=where, start_new_session=True)).poll() is None:
            try:
                process.communicate(timeout=random.uniform(0.2, 1.2) * job if kills < 10 else None)
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                kills += 1
        assert process.returncode == 0
        for disturbed, undisturbed in zip(
            manifest(where, "long")["average"], manifest(calm, "long")["average"], strict=True
        ):
            results = [folder.read_results() for folder in (disturbed, undisturbed)]
            for key in ("metrics", "best", "epochs", "tested"):
                assert getattr(results[0], key) == getattr(results[1], key)
            scores = [np.load(folder.scores)["scores"] for folder in (disturbed, undisturbed)]
            np.testing.assert_array_equal(*scores)
            curves = [folder.curves()["train/loss_epoch"] for folder in (disturbed, undisturbed)]
            assert curves[0] == curves[1]


def fresh(place, name):
    folder = place / name
    folder.mkdir()
    (folder / "conf").symlink_to(place / "conf")
    return folder
