"""What a stopped run says and asks for."""

import shlex
import signal

import pytest
from omegaconf import OmegaConf
from src.runs import interruption
from src.runs.folder import RunFolder
from src.signals import Stopped

JOBS = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "LOCAL_RANK", "RANK")


@pytest.fixture(autouse=True)
def outside_of_slurm(monkeypatch):
    for name in JOBS:
        monkeypatch.delenv(name, raising=False)


def stopped(folder, number=signal.SIGTERM, **options) -> Stopped:
    cfg = OmegaConf.create({"run_dir": None, "requeue": False} | options)
    with pytest.raises(Stopped) as caught, interruption.explained(cfg, RunFolder(folder)):
        raise Stopped(number)
    return caught.value


def test_the_words_to_go_on_follow_from_where_the_run_stands(tmp_path):
    folder = tmp_path / "a run (2)"
    run = RunFolder(folder)
    assert stopped(folder).advice == "no epoch was finished: the same command starts again"
    run.checkpoints.mkdir(parents=True)
    run.last.touch()
    advice = stopped(folder).advice
    assert f"ckpt_path={folder}" in shlex.split(advice)
    assert stopped(folder, run_dir=str(folder)).advice == "the same command continues from here"
    run.results.touch()
    assert stopped(folder).advice == f"the run has finished: {folder}"


def scontrol(tmp_path, monkeypatch, code=0):
    """A scontrol that notes its words."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(tmp_path))}/asked\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return tmp_path / "asked"


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({"SLURM_JOB_ID": "17"}, "17"),
        ({"SLURM_JOB_ID": "19", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "2"}, "17_2"),
    ],
)
def test_slurm_is_asked_to_queue_the_job_again(environment, job, tmp_path, monkeypatch, capsys):
    asked = scontrol(tmp_path, monkeypatch)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stopped(tmp_path / "run", requeue=True)
    assert asked.read_text() == f"requeue {job}\n"
    assert capsys.readouterr().err == f"SLURM job {job} is queued again\n"


@pytest.mark.parametrize(
    ("number", "options", "environment"),
    [
        (signal.SIGTERM, {"requeue": False}, {"SLURM_JOB_ID": "17"}),
        (signal.SIGINT, {"requeue": True}, {"SLURM_JOB_ID": "17"}),  # a person's Ctrl-C
        (signal.SIGTERM, {"requeue": True}, {}),  # not under SLURM
        (signal.SIGTERM, {"requeue": True}, {"SLURM_JOB_ID": "17", "LOCAL_RANK": "1", "RANK": "1"}),  # rank 0 asks
    ],
)
def test_slurm_is_asked_for_nothing_else(number, options, environment, tmp_path, monkeypatch):
    asked = scontrol(tmp_path, monkeypatch)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stopped(tmp_path / "run", number, **options)
    assert not asked.exists()


def test_a_refused_request_is_said(tmp_path, monkeypatch, capsys):
    scontrol(tmp_path, monkeypatch, code=1)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    stopped(tmp_path / "run", requeue=True)
    assert "SLURM job 17 could not be queued again" in capsys.readouterr().err


@pytest.mark.parametrize(("count", "again"), [(None, False), ("0", False), ("1", True)])
def test_whether_slurm_has_started_the_job_before(count, again, monkeypatch):
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    if count is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    assert interruption.was_requeued() is again
