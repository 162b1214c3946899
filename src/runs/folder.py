"""The folder of a run: the name of every file in it, where the run stands, its lock, curves and checkpoints.

config.yaml       the resolved configuration, to be read by people
run.json          command, git revision, versions, description and identity      src.runs.records.RunRecord
data.json         classes, and which videos are trained and tested on            DataRecord
audit.json        counts, and what the phases have in common
csv/version_N/    curves, a file each time the run was started or resumed
checkpoints/      best.ckpt, last.ckpt
results.json      metrics and cost: the sign that the run has finished            Results
scores/test.npz   one score per video and class
error.json        why the last attempt failed; the next attempt removes it       ErrorRecord
rank_N.log        what a process of its own printed
profile/          the costliest operations, and a trace (trainer.profile=true)
confusion.*, attention.png, mistakes/, wandb/, tensorboard/
exports/          files and pages for others (src.export)
evaluations/      a folder for each time the network was tested again     records.Evaluation
.lock             held while the run goes on
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src import files
from src.config import OUTPUTS
from src.errors import UserError
from src.runs import records
from src.runs.records import DataRecord, ErrorRecord, Results, RunRecord

SWEEPS = OUTPUTS / "sweeps"
RUNS = OUTPUTS / "runs"  # of sweeps: named by what defines the run
LAST_EPOCH = 1e9  # what a damaged file says beyond it is left out
LARGEST_CURVES = 256 << 20  # bytes of a file of curves; a larger one is not read
Curves = dict[str, dict[int, float]]  # metric → epoch (from 0) → value


class BusyError(UserError):
    """Another process is running this run."""


@dataclass(frozen=True)
class State:
    """Where a run stands: finished, running, crashed, interrupted, damaged or missing, and a word on it."""

    kind: str
    detail: str = ""


@dataclass(frozen=True)
class RunFolder:
    """The one place that knows the names of a run's files."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def run(self) -> Path:
        return self.path / "run.json"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def audit(self) -> Path:
        return self.path / "audit.json"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def error(self) -> Path:
        return self.path / "error.json"

    @property
    def scores(self) -> Path:
        return self.path / "scores" / "test.npz"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def evaluations(self) -> Path:
        return self.path / "evaluations"

    @property
    def exports(self) -> Path:
        return self.path / "exports"

    @property
    def profile(self) -> Path:
        return self.path / "profile"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    def log(self, rank: int) -> Path:
        """What the process of this rank printed."""
        return self.path / f"rank_{rank}.log"

    def read_run(self) -> RunRecord | None:
        """What the run is. Raises UserError where it cannot be read."""
        return records.read(self.run, RunRecord)

    def read_data(self) -> DataRecord | None:
        """Which videos and classes it has. Raises UserError where it cannot be read."""
        return records.read(self.data, DataRecord)

    def read_results(self) -> Results | None:
        """What came out; None where the run has not finished. Raises UserError where it cannot be read."""
        return records.read(self.results, Results)

    def state(self) -> State:
        """Where the run stands. Reads small files only, and writes nothing."""
        try:
            return self._state()
        except (UserError, OSError, ValueError) as error:  # ValueError: a path that no file can have
            return State("damaged", str(error))

    def _state(self) -> State:
        results = self.read_results()
        if results is not None:
            top1 = (results.metrics or {}).get("top1")
            return State("finished", "" if top1 is None else f"top-1 {top1:.2f} %")
        if files.is_locked(self.lock):
            return State("running", f"{self.epochs_done()} epochs done")
        error = records.read(self.error, ErrorRecord)
        if error is not None:
            return State("crashed", error.message)
        if not self.run.is_file():
            return State("missing")
        return State("interrupted", f"{self.epochs_done()} epochs done")

    def epochs_done(self) -> int:
        """Epochs that were trained to their end; 0 without a last checkpoint to go on from."""
        if not self.last.is_file():
            return 0
        return 1 + max(self.curves().get("train/loss_epoch", {}), default=-1)

    def curves(self) -> Curves:
        """What was logged; of an epoch that was done twice the later values count. Damaged lines are left out."""
        curves: Curves = {}
        for file in sorted(self.path.glob("csv/version_*/metrics.csv"), key=_version):
            for line in _rows(file):
                epoch = line.pop("epoch", None)
                for name, value in line.items():
                    if epoch is not None and 0 <= epoch < LAST_EPOCH and name != "step":
                        curves.setdefault(name, {})[int(epoch)] = value
        return curves

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's lock: a run is run by one command at a time.

        Raises:
            BusyError: another process holds it.
        """
        with files.locked(self.lock) as taken:
            if not taken:
                raise BusyError(f"{self.path}: another process is running this run; try again when it has finished")
            yield


def _version(file: Path) -> int:
    number = file.parent.name.removeprefix("version_")
    return int(number) if number.isdecimal() else -1


def _rows(file: Path) -> Iterator[dict[str, float]]:
    """The lines of a CSV file of numbers, without a last line that a kill cut off and cells that are not numbers."""
    try:
        if not file.is_file() or file.stat().st_size > LARGEST_CURVES:  # a pipe in its place would be waited on
            return
        with file.open(newline="", **files.ENCODING) as stream:
            whole = (line for line in stream if line.endswith("\n"))
            for row in csv.DictReader(whole):
                yield {name: float(value) for name, value in row.items() if name and _is_number(value)}
    except (OSError, csv.Error):
        return


def _is_number(text: object) -> bool:
    try:
        float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def find_run(name: str | None) -> RunFolder:
    """The run that `run=` names.

    Raises:
        UserError: no run is there; it lists those under outputs/.
    """
    folder = RunFolder(files.home_expanded(name)) if name else None
    if folder is None or not folder.run.is_file():
        runs = sorted(str(path.parent) for path in OUTPUTS.glob("**/run.json"))
        what = f"run={name}: there is no run in this folder" if name else "which run? give run=FOLDER"
        raise UserError(f"{what}; runs under {OUTPUTS}/: {', '.join(runs[-8:]) or 'none'}")
    return folder
