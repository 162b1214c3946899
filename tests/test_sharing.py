"""Runs side by side on one machine: how many cores each has, and how many processes decode for it."""

import os
from typing import Any, NoReturn

import pytest
import torch
from hydra_plugins import parallel_launcher
from src.build import devices
from src.build.compose import compose
from src.runs import launch


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, and nobody else on them."""
    for name in (devices.SHARE, devices.JOBS, "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("environment", "mine"),
    [
        ({}, 8),
        ({"LATE_CORES": "3"}, 3),
        ({"LATE_CORES": "0"}, 1),
        ({"LOCAL_WORLD_SIZE": "4"}, 2),
        ({"LOCAL_WORLD_SIZE": "16"}, 1),
        ({"LOCAL_WORLD_SIZE": ""}, 8),
    ],
)
def test_cores_of_a_run(environment: dict[str, str], mine: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert devices.own_cores() == mine


@pytest.mark.parametrize(
    ("mine", "device", "words", "processes"),
    [
        (1, "cpu", [], 0),  # it decodes between its steps
        (2, "cpu", [], 1),
        (3, "cpu", [], 2),
        (64, "cpu", [], 2),
        (1, "cuda", [], 1),
        (4, "cuda", [], 3),
        (64, "cuda", [], 8),
        (1, "cpu", ["data.workers=5"], 5),  # the user's
        (64, "cuda", ["data.workers=0"], 0),
    ],
)
def test_processes_that_decode(
    mine: int, device: str, words: list[str], processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATE_CORES", str(mine))
    monkeypatch.setattr(devices, "device_of", lambda cfg: torch.device(device))
    assert devices.decoding_workers(compose(["model=tiny", "pooling=average", *words])) == processes


@pytest.mark.parametrize(
    ("jobs", "count", "mine"),
    [("1", 1, 8), ("2", 1, 4), ("2", 2, 2), ("3", 1, 2), ("16", 1, 1)],
)
def test_jobs_of_a_parallel_sweep_and_their_ranks_divide_the_cores(
    jobs: str, count: int, mine: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_works_for_a_pool", lambda: True)
    monkeypatch.setenv("LATE_JOBS", jobs)
    assert launch.sharing_cores(count)["LATE_CORES"] == str(mine)


@pytest.mark.parametrize(("at_a_time", "number", "told"), [(2, 5, "2"), (4, 3, "3"), (-1, 5, None), (2, 1, "1")])
def test_the_launcher_tells_how_many_jobs_there_are_at_a_time(
    at_a_time: int, number: int, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    joblib = pytest.importorskip("joblib")
    seen: list[str] = []

    def launch_jobs(launcher: Any, *_: Any) -> None:
        seen.extend([os.environ["LATE_JOBS"], str(launcher.joblib["n_jobs"])])

    monkeypatch.setattr(parallel_launcher.Base, "launch", launch_jobs)
    launcher = parallel_launcher.ParallelLauncher(n_jobs=at_a_time)
    launcher.launch([["model=tiny"]] * number, 0)
    assert seen == [told or str(min(number, joblib.cpu_count()))] * 2
    assert "LATE_JOBS" not in os.environ


def test_the_launcher_forgets_it_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("joblib")

    def broken(*_: Any) -> NoReturn:
        raise RuntimeError("no")

    monkeypatch.setattr(parallel_launcher.Base, "launch", broken)
    with pytest.raises(RuntimeError, match="no"):
        parallel_launcher.ParallelLauncher(n_jobs=2).launch([["model=tiny"]], 0)
    assert "LATE_JOBS" not in os.environ
