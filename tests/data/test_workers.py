"""Processes that work on files which may hang or crash them."""

import os

import pytest
from src.data.workers import Failure, run_limited
from src.errors import MachineError, UserError

from tests.misbehaviour import misbehave


def test_crashes_and_greed_are_survived_and_named():
    tasks = ["a", "crash", "exit", "greedy", "raise", "b", "c"]
    results = dict(run_limited(misbehave, tasks, workers=2, limit_s=1000, memory=1 << 30))
    assert results.pop("a") == "A" and results.pop("b") == "B" and results.pop("c") == "C"
    assert all(isinstance(result, Failure) for result in results.values())
    reasons = {task: result.reason for task, result in results.items()}
    assert "SIGSEGV" in reasons["crash"] and "status 3" in reasons["exit"]
    assert reasons["greedy"] == "needs more than 1 GB of memory" and reasons["raise"] == "LookupError: two lines"


def test_hangs_are_survived_and_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.avi")  # opening it waits for ever
    tasks = ["hang", str(tmp_path / "pipe.avi")]
    late = Failure("took more than 1 s")
    assert dict(run_limited(misbehave, tasks, workers=1, limit_s=1)) == dict.fromkeys(tasks, late)


def test_a_full_disk_ends_the_run_rather_than_condemn_the_file():
    with pytest.raises(UserError, match=r"flow\.mkv cannot be written \(No space left on device\); what is done is"):
        list(run_limited(misbehave, ["a", "disk", "b"], workers=1, limit_s=1000))


def test_a_fault_of_the_machine_ends_the_run_with_its_own_words():
    with pytest.raises(MachineError, match=r"^the GPU is gone$"):
        list(run_limited(misbehave, ["a", "machine", "b"], workers=1, limit_s=1000, memory=None))


def test_no_tasks_start_no_workers():
    assert list(run_limited(misbehave, [], workers=2, limit_s=1)) == []
