"""Ranks: which process is one, and that several do what one does."""

import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from src.config import ROOT
from src.errors import UsageError, UserError
from src.runs import launch, ranks, start
from src.runs.folder import RunFolder
from src.scores import Scores
from src.training.callbacks import SameConfiguration

from tests.conftest import write_video
from tests.test_sweeps import MODEL
from tests.training_runs import assert_same, composed, own_videos
from tests.training_runs import train as train_in_this_process


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (False, 0)),
        ({"LOCAL_RANK": "1", "RANK": "3"}, (True, 3)),  # torchrun
        ({"SLURM_NTASKS": "8", "SLURM_STEP_ID": "0", "SLURM_PROCID": "5"}, (True, 5)),  # srun
        ({"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}, (False, 0)),  # one task starts its own
        ({"SLURM_NTASKS": "8", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "bash"}, (False, 0)),  # a shell
    ],
)
def test_who_started_this_process(environment, expected, monkeypatch):
    for key in [key for key in os.environ if key.startswith("SLURM_") or key in ("RANK", "LOCAL_RANK")]:
        monkeypatch.delenv(key)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert (ranks.is_rank(), ranks.rank()) == expected


@pytest.mark.parametrize(
    ("in_a_pool", "given", "count", "threads"),
    [
        (False, None, 1, None),  # alone: as PyTorch likes
        (False, None, 2, "4"),
        (False, None, 16, "1"),
        (False, "3", 2, "3"),  # the user's
        (True, "2", 1, "2"),  # a job of a parallel sweep, whose launcher has divided the cores
        (True, "2", 2, "1"),
        (True, None, 2, "4"),
    ],
)
def test_ranks_and_runs_side_by_side_share_the_cores(in_a_pool, given, count, threads, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(launch, "_works_for_a_pool", lambda: in_a_pool)
    shared = launch.sharing_cores(count)
    assert shared.get("OMP_NUM_THREADS") == threads
    assert shared.get("OMP_WAIT_POLICY") == (None if threads is None else "PASSIVE")


@pytest.mark.parametrize(("identities", "refused"), [(["a", "a"], False), (["a", "b"], True)])
def test_ranks_of_different_configurations_refuse_to_start(identities, refused, monkeypatch):
    def gather(gathered, own):
        assert own == identities[0]
        gathered[:] = identities

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    with pytest.raises(UserError, match="rank 0 a, rank 1 b") if refused else nullcontext():
        SameConfiguration(identities[0]).setup(SimpleNamespace(world_size=2), None, "fit")


@pytest.fixture
def words(tmp_path, monkeypatch):
    """A run of a network without batch norm (whose statistics are each rank's own) over 16, 6 and 7 videos."""
    lines = ["path,label,split"]
    for part, count in {"train": 16, "val": 6, "test": 7}.items():
        for i in range(count):
            path = write_video(tmp_path / "videos" / f"{part}{i}.mp4", 8, seed=len(lines))
            lines.append(f"{path},{'ab'[i % 2]},{part}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "small.yaml").write_text(MODEL.replace("toy.Toy", "toy.Staged"))
    monkeypatch.chdir(tmp_path)
    return [
        *(f"--config-dir={tmp_path}/conf", "model=small", "pooling=average", "logger=csv", "recipe.epochs=3"),
        *("data=folder", f"data.root={tmp_path}", f"data.csv={tmp_path}/list.csv", "data.workers=0"),
        *("trainer.accelerator=cpu", "recipe.dropout.baseline=0"),
    ]


def train(words, *starter):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *starter, "-m", "src.train", *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


TWO = ["trainer.devices=2", "trainer.strategy=ddp", "recipe.batch_size=4"]


@pytest.mark.slow
def test_two_processes_learn_and_test_as_one_does(words, tmp_path):
    train([*words, "recipe.batch_size=8", "run_dir=one"])
    train([*words, *TWO, "run_dir=two", "logger=wandb", "logger.wandb.mode=offline"])
    assert len(list(tmp_path.glob("two/wandb/offline-run-*"))) == 1
    train([*words, *TWO], "-m", "torch.distributed.run", "--nproc-per-node", "2")
    (three,) = (tmp_path / "outputs" / "runs").iterdir()
    one = RunFolder(tmp_path / "one")
    for other in (RunFolder(tmp_path / "two"), RunFolder(three)):
        results = [folder.read_results() for folder in (one, other)]
        assert results[0].metrics == results[1].metrics
        assert results[0].tested == results[1].tested == 7
        scores = [Scores.load(folder.scores) for folder in (one, other)]
        assert scores[0].videos == scores[1].videos
        np.testing.assert_allclose(scores[0].scores, scores[1].scores, atol=1e-5)
        curves = [folder.curves() for folder in (one, other)]
        for name in ("train/loss_epoch", "train/top1", "val/loss", "val/top1"):
            np.testing.assert_allclose(*([*curve[name].values()] for curve in curves), rtol=1e-5)
        assert len(list((other.path / "csv").iterdir())) == 1  # only rank 0 logs
    assert len(list(tmp_path.glob("outputs/*"))) == 1  # one folder a run


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiles: needs g++")
def test_two_processes_that_compile_learn_what_one_does_that_does_not(words, tmp_path):
    train([*words, "recipe.batch_size=8", "run_dir=one"])
    train([*words, *TWO, "trainer.compile=true", "model.checkpointing=true", "run_dir=two"])
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    scores = [Scores.load(folder.scores) for folder in (one, two)]
    assert scores[0].videos == scores[1].videos
    np.testing.assert_allclose(scores[0].scores, scores[1].scores, atol=1e-4)
    losses = [[*folder.curves()["train/loss_epoch"].values()] for folder in (one, two)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def job(words, folder):
    """A job of a sweep, on ranks that one server forks for all tests here."""
    words = [*words, f"run_dir={folder}"]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PYTEST_CURRENT_TEST", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):  # of tests in this process
            patch.delenv(name, raising=False)
        return start.run_job(composed(tuple(words)), words)


@pytest.fixture(scope="module")
def forked(tree, tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("forked") / "run")
    return job(own_videos(tree), folder), folder


def test_a_forked_rank_computes_what_a_plain_process_does(forked, tree, tmp_path):
    results, folder = forked
    plain, expected = train_in_this_process(own_videos(tree), tmp_path / "plain")
    assert_same(folder, plain)
    assert (results.metrics, results.best) == (expected.metrics, expected.best)


def test_a_finished_job_is_not_started_again(forked, tree, capsys):
    results, folder = forked
    assert job(own_videos(tree), folder) == results
    assert "finished already" in capsys.readouterr().out


def test_a_job_that_is_refused_says_why_in_its_folder(tree, tmp_path):
    with pytest.raises(launch.RankError, match=r"heads.*\(the run; .*rank_0\.log\)"):
        job([*own_videos(tree), "pooling.head.heads=7"], tmp_path / "run")
    state = RunFolder(tmp_path / "run").state()
    assert state.kind == "crashed" and "heads" in state.detail


def test_two_ranks_make_one_run(tree, tmp_path, capsys):
    results = job([*own_videos(tree), *TWO, "recipe.epochs=1"], tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert results == folder.read_results() and results.tested == 3
    assert "run │ epoch 1/1" in capsys.readouterr().out
    assert folder.log(0).is_file() and folder.log(1).is_file()
    assert len(list(folder.path.glob("csv/*"))) == 1


def test_when_one_rank_fails_the_other_ends_too(tree, tmp_path):
    with pytest.raises(launch.RankError, match="training has diverged"):
        job([*own_videos(tree), *TWO, "optim=sgd", "recipe.lr.sgd=1e30"], tmp_path / "run")
    assert RunFolder(tmp_path / "run").state().kind == "crashed"


def test_several_machines_are_for_torchrun(tree, tmp_path):
    words = [*own_videos(tree), "trainer.num_nodes=2"]
    with pytest.raises(UsageError, match="torchrun --nnodes 2"):
        launch.start_ranks(composed(tuple(words)), RunFolder(tmp_path), None, to_log=False)
