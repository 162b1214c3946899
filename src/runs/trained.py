"""A run whose network is used again, by evaluate and predict: its record, its classes and a checkpoint."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig

from src import files
from src.errors import UserError
from src.runs.folder import RunFolder, find_run
from src.runs.records import DamagedError, DataRecord, RunRecord

NAMED = ("best", "last")  # checkpoints that a run writes


@dataclass(frozen=True)
class Trained:
    """A trained network on disk.

    data: what it was trained on; `data.classes` are the names of its outputs.
    """

    folder: RunFolder
    record: RunRecord
    data: DataRecord
    checkpoint: Path


def find_trained(run: str | None, checkpoint: str) -> Trained:
    """The run that `run=` names, with the checkpoint that `checkpoint=` names: best, last or a file.

    Raises:
        UserError: there is no such run or file, or the run's records cannot be read.
    """
    folder = find_run(run)
    record, data = folder.read_run(), folder.read_data()
    if record is None or data is None:
        raise UserError(f"{folder}: it has no {folder.data.name}: the run ended before it began to train; run it again")
    if not data.classes:
        raise DamagedError(folder.data, "it names no classes")
    file = folder.checkpoints / f"{checkpoint}.ckpt" if checkpoint in NAMED else files.home_expanded(checkpoint)
    if not file.is_file():
        raise UserError(f"checkpoint={checkpoint}: there is no file {file}; give best, last or a .ckpt file")
    return Trained(folder, record, data, file)


def check_split(trained: Trained, cfg: DictConfig) -> None:
    """Refuse to test on another split of the data set than the one that the run was trained on.

    Raises:
        UserError: the splits differ.
    """
    split, wanted = trained.data.split, cfg.data.get("split")
    if trained.data.name == cfg.data.name and split != wanted:
        raise UserError(
            f"{trained.folder} was trained on {cfg.data.name} split {split} and would be tested on split {wanted}, "
            "whose test videos it has partly been trained on; if that is what you want, add allow_split_mismatch=true"
        )


def new_evaluation(folder: RunFolder) -> Path:
    """A folder for one evaluation, which no other one has."""
    return files.new_folder(folder.evaluations, f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
