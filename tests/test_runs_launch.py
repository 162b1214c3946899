"""Ranks: who starts them, who outlives whom, and that several do what one does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from src.config import ROOT
from src.errors import UserError
from src.runs import ranks
from src.runs.folder import RunFolder
from src.runs.launch import _free_port
from src.training.callbacks import SameConfiguration

from tests.conftest import write_video
from tests.test_sweeps import MODEL

RANK = "from src.signals import end_with_parent; end_with_parent(); print(1, flush=True); import time; time.sleep(60)"
STARTER = f"""
import subprocess, sys, time
rank = subprocess.Popen([sys.executable, "-c", {RANK!r}])
print(rank.pid, flush=True)
time.sleep(60)
"""


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's signal is Linux's")
def test_a_rank_does_not_outlive_its_parent():
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    lines = [starter.stdout.readline(), starter.stdout.readline()]
    rank = max(int(line) for line in lines)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    for _ in range(100):
        if not _alive(rank):
            return
        time.sleep(0.05)
    pytest.fail("the rank is still there")


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _compare(rank, port, identities, path):
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=len(identities))
    try:
        SameConfiguration(identities[rank]).setup(SimpleNamespace(world_size=len(identities)), None, "fit")
    except UserError as error:
        (path / str(rank)).write_text(str(error))


@pytest.mark.parametrize(("identities", "refused"), [(["a", "a"], False), (["a", "b"], True)])
def test_ranks_of_different_configurations_refuse_to_start(identities, refused, tmp_path):
    torch.multiprocessing.spawn(_compare, (_free_port(), identities, tmp_path), nprocs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == (["0", "1"] if refused else [])
    for path in tmp_path.iterdir():
        assert "rank 0 a, rank 1 b" in path.read_text()


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
    (tmp_path / "conf" / "model" / "small.yaml").write_text(MODEL)
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
    one, two = tmp_path / "one", tmp_path / "two"
    for other in (two, three):
        folders = [RunFolder(one), RunFolder(other)]
        results = [folder.read_results() for folder in folders]
        assert results[0].metrics == results[1].metrics
        assert results[0].tested == results[1].tested == 7
        scores = [np.load(folder.scores) for folder in folders]
        np.testing.assert_array_equal(scores[0]["videos"], scores[1]["videos"])
        np.testing.assert_allclose(scores[0]["scores"], scores[1]["scores"], atol=1e-5)
        curves = [folder.curves() for folder in folders]
        for name in ("train/loss_epoch", "train/top1", "val/loss", "val/top1"):
            np.testing.assert_allclose(*([*curve[name].values()] for curve in curves), rtol=1e-5)
        assert len(list((other / "csv").iterdir())) == 1  # only rank 0 logs
    assert len(list(tmp_path.glob("outputs/*"))) == 1  # one folder a run
