"""A trained network on disk that is used again: what it was composed from, its classes and a checkpoint."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from src import files
from src.errors import UserError
from src.plugins import Plugins
from src.runs import records
from src.runs.folder import RunFolder, find_run
from src.runs.records import DamagedError, DataRecord, RunRecord

NAMED = ("best", "last")  # checkpoints that a run writes
KEY = "network"  # of a checkpoint: what the file alone needs to be used again


@dataclass(frozen=True)
class Trained:
    """A trained network on disk.

    data: what it was trained on; `data.classes` are the names of its outputs.
    """

    folder: RunFolder
    record: RunRecord
    data: DataRecord
    checkpoint: Path


@dataclass(frozen=True)
class Description:
    """What rebuilds a network: the overrides that it was composed from, and the names of its outputs.

    plugins: the user's own folder, where it was composed with one.
    """

    title: str
    overrides: list[str]
    classes: list[str]
    plugins: Plugins | None = None

    def stored(self) -> dict[str, Any]:
        """As a checkpoint keeps it: plain values."""
        return dataclasses.asdict(self)


def described(content: Mapping[str, Any], file: Path) -> Description:
    """What a checkpoint says of its network, or else the records of the run whose folder it is in.

    Raises:
        UserError: neither says it, or what they say is not of the right form.
    """
    stored = content.get(KEY)
    if stored is None:
        return _by_folder(file)
    try:
        known: Description = records.typed(stored, Description)
    except TypeError:
        raise DamagedError(file, "what it says of its network is not of the right form") from None
    if not known.classes:
        raise DamagedError(file, "it names no classes")
    return known


def _by_folder(file: Path) -> Description:
    folder = RunFolder(file.absolute().parent.parent)
    record, data = folder.read_run(), folder.read_data()
    if record is None or data is None or not data.classes:
        raise UserError(
            f"checkpoint {file}: neither it nor a run's folder around it says which network it is of; "
            "give run=FOLDER, or weights=file weights.path=FILE with its model and classes=FILE"
        )
    return Description(record.title, record.overrides, data.classes, record.plugins)


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
