"""One folder a run: what it was made of, what came out, and how to find it again.

config.yaml   resolved configuration      run.json      command, revision, versions, identity
results.json  metrics, protocol, data     scores/       per-video scores
checkpoints/  best.ckpt, last.ckpt        metrics.csv, wandb/, mistakes/, confusion.*
"""

import csv
import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src import files
from src.config import ROOT
from src.errors import UserError

OUTPUTS = Path("outputs")
PACKAGES = "torch torchvision pytorch-lightning hydra-core omegaconf torchmetrics decord av wandb numpy".split()


def identity(cfg: DictConfig) -> str:
    """Twelve hex digits of what defines a run: the resolved configuration but for where and how it is logged."""
    content: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    for key in ("run_dir", "ckpt_path", "logger", "experiment", "rows", "seeds", "dry_run"):
        content.pop(key, None)
    for key in ("enable_progress_bar", "log_every_n_steps"):
        content["trainer"].pop(key, None)
    for node in (content["data"], content["data"].get("module") or {}):
        node.pop("workers", None)  # any number of workers gives the same clips
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def title(cfg: DictConfig) -> str:
    """What the run is, in a few words fit for a file name."""
    parts = [cfg.model.name, cfg.pooling.name, cfg.data.name]
    if cfg.modality.name != "rgb":
        parts.append(cfg.modality.name)
    if cfg.data.get("split"):
        parts.append(f"split{cfg.data.split}")
    return "-".join([*parts, f"seed{cfg.seed}"])


def prepare(cfg: DictConfig, overrides: Sequence[str] = ()) -> tuple[Path, Path | None]:
    """The run's folder (made, with config.yaml and run.json in it) and the checkpoint to resume from, if any.

    overrides: what `cfg` was composed from, kept so that the run can be composed again (src/evaluate.py).

    Raises:
        UserError: nothing to resume from, or the folder holds a run of another configuration.
    """
    checkpoint = _resume_from(cfg)
    if cfg.run_dir is not None:
        folder = Path(cfg.run_dir)
    elif checkpoint is not None and (checkpoint.parent.parent / "run.json").is_file():
        folder = checkpoint.parent.parent
    else:
        folder = OUTPUTS / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{title(cfg)}"
    known = read_json(folder / "run.json")
    begun = (folder / "checkpoints").exists()
    if begun and checkpoint is None and known.get("identity") != identity(cfg):
        raise UserError(f"run_dir={folder} holds a run of another configuration; give another folder or remove it")
    if (folder / "results.json").exists() and checkpoint is None:
        raise UserError(f"run_dir={folder} holds a finished run; give another folder or remove it")
    write_head(cfg, folder, overrides)
    return folder, checkpoint


def write_head(cfg: DictConfig, folder: Path, overrides: Sequence[str]) -> None:
    """What is known of a run before it starts: config.yaml and run.json."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    about = {"title": title(cfg), "identity": identity(cfg), "overrides": list(overrides), **provenance()}
    files.write_json(folder / "run.json", about)


def discard(folder: Path) -> None:
    """Remove a folder in which nothing has happened but `write_head`: a run that was refused leaves no trace."""
    head = {"config.yaml", "run.json"}
    if {path.name for path in folder.iterdir()} <= head:
        for name in head:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _resume_from(cfg: DictConfig) -> Path | None:
    """The checkpoint that `ckpt_path` means."""
    if cfg.ckpt_path is None:
        return None
    if cfg.ckpt_path != "last":
        path = Path(cfg.ckpt_path)
        path = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    elif cfg.run_dir is not None:
        path = Path(cfg.run_dir) / "checkpoints" / "last.ckpt"
    else:
        wanted = identity(cfg)
        heads = [*OUTPUTS.glob("*/run.json"), *OUTPUTS.glob("runs/*/run.json")]
        runs = [p.parent for p in heads if read_json(p).get("identity") == wanted]
        found = [p for run in runs if (p := run / "checkpoints" / "last.ckpt").is_file()]
        if not found:
            raise UserError(
                f"ckpt_path=last: no run of this configuration under {OUTPUTS}/ has a last checkpoint; "
                "give its folder or file (ckpt_path=outputs/RUN), or leave ckpt_path out to start anew"
            )
        path = max(found, key=lambda p: p.stat().st_mtime)
    if not path.is_file():
        raise UserError(f"ckpt_path={cfg.ckpt_path}: there is no file {path}; give a run's folder or a .ckpt file")
    return path


def provenance() -> dict[str, Any]:
    """Command, time, git revision, versions and machine, as plain values."""
    return {
        "command": shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "revision": _revision(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "machine": {"platform": platform.platform(), "processor": platform.machine()},
    }


def _revision() -> dict[str, Any] | None:
    """The commit that runs, and whether tracked files differ from it; None outside a git checkout."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout

    try:
        return {
            "commit": git("rev-parse", "HEAD").strip(),
            "changed": bool(git("status", "--porcelain", "-uno")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def read_json(path: Path) -> dict[str, Any]:
    """The file's object; an empty one where there is no file."""
    return json.loads(path.read_text()) if path.is_file() else {}


def read_curves(folder: Path) -> dict[str, dict[int, float]]:
    """Metric → epoch → value, from the run's CSV files; of an epoch that was done twice the later counts.

    A last line that a kill cut off is left out.
    """
    curves: dict[str, dict[int, float]] = {}
    files = (folder / "csv").glob("version_*/metrics.csv")
    for file in sorted(files, key=lambda path: int(path.parent.name.removeprefix("version_"))):
        with file.open(newline="") as stream:
            for row in csv.DictReader(line for line in stream if line.endswith("\n")):
                for name, value in row.items():
                    if value and row.get("epoch") and name not in ("epoch", "step"):
                        curves.setdefault(name, {})[int(row["epoch"])] = float(value)
    return curves
