"""Checkpoints that are never half-written, and reading them without unpickling code."""

import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from src import files
from src.errors import UserError
from src.runs.folder import RunFolder
from src.runs.records import Best
from src.runs.trained import KEY, Description
from src.text import first_line, listed


class WholeFileCheckpoints(TorchCheckpointIO):
    """Checkpoints written under a temporary name and renamed: a killed run leaves the previous one intact."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the file, whole or not at all.

        Raises:
            UserError: the disk is full or read-only; the previous checkpoint is intact.
        """
        try:
            with files.replacing(Path(path)) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:  # PyTorch's writer reports a full disk as a RuntimeError
            reason = first_line(error) if isinstance(error, OSError) else "no room on the disk"
            raise UserError(
                f"{path}: the checkpoint cannot be written ({reason}); the previous one is intact: "
                "make room, and the same command goes on from there"
            ) from error


class BestAndLast(Checkpoint):
    """Writes last.ckpt after every epoch, and best.ckpt where an epoch's top-1 on validation videos is the highest.

    Both are written when the epoch is over and the schedule has moved, so that resuming is exact. An epoch without a
    validation, or whose validation read no video, is never the best.

    pause: seconds that last.ckpt may be old before an epoch that is not the run's last writes it again.
    """

    def __init__(self, folder: RunFolder, pause: float = 0) -> None:
        self.folder, self.pause = folder, pause
        self.best: Best | None = None
        self.written = -math.inf  # last.ckpt, on the clock of time.monotonic

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        top1 = module.val_metrics.get("val/top1")  # type: ignore[union-attr, operator]
        if top1 is not None and (self.best is None or top1 > self.best.val_top1):
            self.best = Best(trainer.current_epoch, top1)
            trainer.save_checkpoint(self.folder.best)
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        due = ends or trainer.global_step == trainer.max_steps or time.monotonic() >= self.written + self.pause
        if trainer.strategy.broadcast(due):  # ranks write together
            trainer.save_checkpoint(self.folder.last)
            self.written = time.monotonic()

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say which network this is, so that the file alone can be used."""
        record = self.folder.read_run()
        if record is not None:
            classes: list[str] = list(module.classes)  # type: ignore[arg-type]
            checkpoint[KEY] = Description(record.title, record.overrides, classes).stored()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.best is None else {"epoch": self.best.epoch, "val_top1": self.best.val_top1}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state and self.folder.best.is_file():
            self.best = Best(int(state["epoch"]), float(state["val_top1"]))


def bring_best(checkpoint: Path, folder: RunFolder) -> None:
    """Copy the best epoch's checkpoint from the run that `checkpoint` is of, for a run that goes on in another folder.

    Where it has been replaced or removed since, the best of the epochs to come counts.
    """
    best = RunFolder(checkpoint.parent.parent).best
    if folder.best.exists() or not best.is_file():
        return
    states = [read(path).get("callbacks", {}).get(BestAndLast.__qualname__) for path in (checkpoint, best)]
    if states[0] and states[0] == states[1]:
        with files.replacing(folder.best) as temporary:
            shutil.copyfile(best, temporary)


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content.

    Raises:
        UserError: there is no such file, or it is not a checkpoint of a run.
    """
    if not path.is_file():
        raise UserError(f"checkpoint {path}: there is no such file; give a .ckpt file of a run")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        content["state_dict"]
    except Exception as error:  # torch raises many kinds on foreign files
        raise UserError(
            f"checkpoint {path} cannot be read ({first_line(error)}); give a .ckpt file of a run"
        ) from error
    return content


def check_fit(module: nn.Module, path: Path, epochs: int | None = None) -> None:
    """Refuse a checkpoint of another network before anything starts.

    epochs: of the run that would go on from it.

    Raises:
        UserError: names or shapes differ from the network's, or the run would have fewer epochs.
    """
    content = read(path)
    stored: dict[str, Tensor] = content["state_dict"]
    expected = module.state_dict()
    wrong = []
    for name, tensor in expected.items():
        if name not in stored:
            wrong.append(f"{name} is missing")
        elif stored[name].shape != tensor.shape:
            wrong.append(f"{name} is {tuple(stored[name].shape)} instead of {tuple(tensor.shape)}")
    wrong += [f"{name} is left over" for name in stored if name not in expected]
    if wrong:
        raise UserError(
            f"checkpoint {path} does not fit this network: {listed(wrong, 3, '; ')}; "
            "use the options of the run that wrote it (config.yaml in its folder)"
        )
    done = int(content.get("epoch", -1)) + 1
    if epochs is not None and done > epochs:
        raise UserError(
            f"checkpoint {path} has {done} epochs behind it, more than recipe.epochs={epochs}; give more epochs"
        )


def restore(module: nn.Module, path: Path) -> None:
    """Put a checkpoint's weights into the network that it fits."""
    check_fit(module, path)
    module.load_state_dict(read(path)["state_dict"])
