"""Under the releases that pyproject.toml does not take yet: Hydra 1.4 and Optuna 5 (slow: installs them)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from src.config import ROOT

from tests.conftest import write_video
from tests.small_runs import own_videos

COMING = ("hydra-core>=1.4.0rc3", "hydra-joblib-launcher>=1.4.0rc3", "hydra-optuna-sweeper>=1.4.0rc3", "optuna>=4.9")
TINY = ["recipe.epochs=1", "logger=csv", "data.workers=0", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the packages, in front of those of the environment."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        pytest.skip("installing them needs uv")
    folder = tmp_path_factory.mktemp("coming")
    command = [uv, "pip", "install", "--quiet", "--prerelease", "allow", "--python", sys.executable]
    done = subprocess.run([*command, "--target", str(folder), *COMING], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no registry has them: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for i in range(12):
        write_video(root / ("hop", "skip")[i % 2] / f"{i}.mp4", 10, seed=i, g="8", bf="0")
    return root


def command(site, place, name, *words):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    environment["PYTHONWARNINGS"] = "default"  # what Hydra 1.4 warns of is an error in 1.5, and here as well
    done = subprocess.run(
        [sys.executable, "-m", f"src.{name}", *words],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MigrationWarning" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.slow
def test_runs_sweeps_and_searches_under_the_coming_releases(site, videos, tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", "import hydra, optuna; print(hydra.__version__, optuna.__version__, hydra.__file__)"],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.startswith("1.4") and str(site) in said
    words = [*own_videos(videos), *TINY]
    command(site, tmp_path, "train", *words, "run_dir=one")
    assert "hop" in command(site, tmp_path, "predict", "run=one", f"{videos}/hop/0.mp4")
    command(site, tmp_path, "evaluate", "run=one", "test.crops=3")
    command(site, tmp_path, "train", "-m", *words, "seed=1,2")
    table = command(site, tmp_path, "train", "experiments=mini_table1", "rows=average,bert", "seeds=0", "dry_run=true")
    assert [line.split()[0] for line in table.splitlines()[-2:]] == ["average", "bert"]
    small = [word for word in words if not word.startswith(("model=", "pooling="))]
    command(site, tmp_path, "train", "experiments=mini_table1", "rows=average", "seeds=0,1", *small)
    assert "average" in command(site, tmp_path, "report", "mini_table1")
    search = [*words, "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.n_startup_trials=1"]
    command(site, tmp_path, "train", "experiments=lr_search", *search)
    assert "2 trials done" in command(site, tmp_path, "train", "experiments=lr_search", *search)
