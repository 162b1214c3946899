"""Runs side by side on one machine: two at a time beside one after the other.

`python -m benchmarks.sharing`: a sweep of `model=tiny` on the embedded data, whole commands, in turn.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.report import machine, save
from src.config import ROOT

ROUNDS = 3
RUNS, EPOCHS = 4, 5
SWEEP = ["-m", f"seed={','.join(str(seed) for seed in range(RUNS))}", "model=tiny", "pooling=bert", "logger=csv"]
SWEEP += [f"recipe.epochs={EPOCHS}"]
WAYS = {"one after the other": [], "two at a time": ["hydra/launcher=parallel", "hydra.launcher.n_jobs=2"]}


def seconds(words: list[str], folder: Path) -> float:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    command = [sys.executable, "-m", "src.train", *SWEEP, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return time.perf_counter() - began


def main() -> None:
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(ROUNDS):
        for way in list(WAYS)[:: 1 if number % 2 else -1]:
            with tempfile.TemporaryDirectory() as folder:
                taken[way].append(seconds(WAYS[way], Path(folder)))
    one, two = (median(taken[way]) for way in WAYS)
    rows = [[f"{RUNS} runs of {EPOCHS} epochs, model=tiny", f"{one:.0f} s", f"{two:.0f} s", f"{one / two:.2f}"]]
    notes = f"Whole commands, start included; medians of {ROUNDS} in turn."
    values = {"machine": machine("torch", "pytorch-lightning"), "seconds": taken, "ratio": one / two}
    save("sharing", "Runs side by side", ["what", *WAYS, "ratio"], rows, values, notes)


if __name__ == "__main__":
    main()
