"""Which command, code and machine made something."""

import platform
import shlex
import subprocess
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from src.config import ROOT
from src.runs.records import Origin

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "torchmetrics",
    "decord2",
    "av",
    "wandb",
    "numpy",
)


def origin() -> Origin:
    """Command, time, git revision, versions and machine of this process."""
    return Origin(
        command=shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        started=now(),
        revision=_revision(),
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        machine={"platform": platform.platform(), "processor": platform.machine()},
    )


def now() -> str:
    """The local time with its zone, ISO 8601."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _revision() -> dict[str, Any] | None:
    """The commit that runs, and whether tracked files differ from it; None outside a git checkout."""
    try:
        return {"commit": _git("rev-parse", "HEAD").strip(), "changed": bool(_git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
