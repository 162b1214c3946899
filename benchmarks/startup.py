"""How long commands take to start: wall seconds of whole processes, and of the second job of a sweep.

`python -m benchmarks.startup BEFORE` compares with another checkout of this project, in turn. Both run on the same
small sweep, which each of them makes first in a folder of its own.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import machine, save
from src.config import ROOT

ROUNDS = 3
SWEEP = """# @package _global_
defaults:
  - override /hydra/sweeper: table
hydra: { mode: MULTIRUN }
experiment:
  name: small
  title: Start-up
  common: [model=tiny, data.train=16, data.val=8, data.test=8, data.size=32, data.workers=0, recipe.epochs=1,
    logger=csv]
  seeds: [0, 1, 2]
  rows: { average: { overrides: [pooling=average] } }
"""
COMMANDS = {
    "import torch": ["-c", "import torch"],
    "import pytorch_lightning": ["-c", "import pytorch_lightning"],
    "train --help": ["-m", "src.train", "--help"],
    "train model=no_such_model": ["-m", "src.train", "model=no_such_model"],
    "train seed=one": ["-m", "src.train", "seed=one"],
    "report small": ["-m", "src.report", "small"],
    "sweep status": ["-m", "src.sweep", "status"],
    "complexity of one network": ["-m", "src.complexity", "model=i3d", "pooling=bert"],
    "dry run of table1": ["-m", "src.train", "experiments=table1", "dry_run=true"],
}


def place(checkout: Path, folder: Path) -> float:
    """Make a sweep of three jobs in a folder; returns seconds from the second job's start to its first line."""
    (folder / "conf" / "experiments").mkdir(parents=True)
    (folder / "conf" / "experiments" / "small.yaml").write_text(SWEEP)
    run(checkout, folder, ["-m", "src.train", f"--config-dir={folder}/conf", "experiments=small"])
    waits = []
    for head in sorted(folder.glob("outputs/runs/*/run.json"))[1:]:
        text = re.search(r'"started": "([^"]+)"', head.read_text())
        assert text is not None
        ready = (head.parent / "audit.json").stat().st_mtime  # written once everything is imported and built
        waits.append(ready - datetime.fromisoformat(text[1]).timestamp())
    return median(waits)


def run(checkout: Path, folder: Path, words: list[str]) -> float:
    """Wall seconds of one process."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    checkouts = {"now": ROOT} | ({"before": Path(sys.argv[1]).resolve()} if len(sys.argv) > 1 else {})
    seconds: dict[str, dict[str, list[float]]] = {name: {which: [] for which in checkouts} for name in COMMANDS}
    jobs: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for which, checkout in checkouts.items():
            jobs[which] = place(checkout, Path(scratch, which))
        for number in range(ROUNDS + 1):  # the first round warms the files
            for name, words in COMMANDS.items():
                for which, checkout in checkouts.items():
                    spent = run(checkout, Path(scratch, which), words)
                    if number:
                        seconds[name][which].append(spent)
    medians: dict[str, dict[str, float]] = {}
    for name, by_checkout in seconds.items():
        medians[name] = {which: median(values) for which, values in by_checkout.items()}
    medians["a further job of a sweep, up to its audit"] = jobs
    rows = []
    for name, values in medians.items():
        before = values.get("before")
        compared = [f"{before:.2f}", f"{before / values['now']:.1f}"] if before else ["–", "–"]
        rows.append([name, compared[0], f"{values['now']:.2f}", compared[1]])
    content: dict[str, Any] = {"machine": machine("torch", "pytorch-lightning", "hydra-core"), "seconds": medians}
    notes = f"Wall seconds of whole processes with warm files, medians of {ROUNDS} in turn."
    save("startup", "How long commands take to start", ["command", "before", "now", "ratio"], rows, content, notes)


if __name__ == "__main__":
    main()
