"""Checkpoints that are never half-written, and reading them without unpickling code."""

import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from torch.optim import Optimizer

from src import files
from src.errors import UserError
from src.runs.folder import RunFolder
from src.runs.records import Best
from src.runs.trained import KEY, Description
from src.text import first_line, listed
from src.training import averaging

TEMPERATURE = "temperature"  # of a checkpoint: what its weights' scores are divided by to be calibrated
PROGRESS = {  # what a checkpoint needs for a run to go on from it
    **{"epoch": int, "global_step": int, "loops": dict, "callbacks": dict},
    **{"optimizer_states": list, "lr_schedulers": list},
}


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

    Where videos show several classes their mean average precision decides.

    Both are written when the epoch is over and the schedule has moved, so that resuming is exact. An epoch without a
    validation, or whose validation read no video, is never the best.

    pause: seconds that last.ckpt may be old before an epoch that is not the run's last writes it again.
    """

    def __init__(self, folder: RunFolder, pause: float = 0) -> None:
        self.folder, self.pause = folder, pause
        self.best: Best | None = None
        self.written = -math.inf  # last.ckpt, on the clock of time.monotonic

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        measured: dict[str, float] = cast(Any, module).val_metrics
        if "val/top1" in measured:
            now = Best(trainer.current_epoch, measured["val/top1"], measured.get("val/map"))
            if self.best is None or _decisive(now) > _decisive(self.best):
                self.best = now
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
            checkpoint[KEY] = Description(record.title, record.overrides, classes, record.plugins).stored()

    def state_dict(self) -> dict[str, Any]:
        if self.best is None:
            return {}
        state = {"epoch": self.best.epoch, "val_top1": self.best.val_top1}
        return state if self.best.val_map is None else state | {"val_map": self.best.val_map}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state and self.folder.best.is_file():
            precision = state.get("val_map")
            self.best = Best(
                int(state["epoch"]), float(state["val_top1"]), None if precision is None else float(precision)
            )


def _decisive(best: Best) -> float:
    """What an epoch is judged by."""
    return best.val_top1 if best.val_map is None else best.val_map


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
    if not path.stat().st_size:
        raise UserError(f"checkpoint {path} is empty; give another .ckpt file of a run, or remove it to start anew")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not all(isinstance(tensor, Tensor) for tensor in content["state_dict"].values()):
            raise TypeError("its state_dict holds other things than tensors")
    except Exception as error:  # torch raises many kinds on foreign files
        reason = first_line(error).partition(". ")[0]
        raise UserError(
            f"checkpoint {path} cannot be read ({reason}); if it has been cut off, give another .ckpt file of a run, "
            "or remove it to start anew"
        ) from error
    return content


def check_fit(module: nn.Module, path: Path) -> None:
    """Refuse a checkpoint of another network.

    Raises:
        UserError: names or shapes differ from the network's.
    """
    _compare(module, read(path)["state_dict"], path)


def check_continues(module: nn.Module, optimizer: Optimizer, path: Path, epochs: int, averaged: bool = False) -> None:
    """Refuse a checkpoint that a run cannot go on from, before anything starts.

    optimizer, epochs, averaged: of the run, which averages its weights or does not.

    Raises:
        UserError: it is of another network, optimizer or frozen part, holds weights only, or has more epochs behind it.
    """
    content = read(path)
    _compare(module, content["state_dict"], path)
    anew = f"start a new run from its weights with weights=file weights.path={path}"
    lacking = [name for name, kind in PROGRESS.items() if not isinstance(content.get(name), kind)]
    if lacking:
        raise UserError(f"checkpoint {path} has no {listed(lacking)} to go on from; {anew}")
    if averaged != (averaging.KEY in content):
        has = "no averages" if averaged else "averages"
        raise UserError(
            f"checkpoint {path} has {has} of the weights to go on from; give recipe.ema as the run that wrote it, "
            f"or {anew}"
        )
    done = content["epoch"] + 1
    if done > epochs:
        raise UserError(
            f"checkpoint {path} has {done} epochs behind it, more than recipe.epochs={epochs}; give more epochs"
        )
    states = content["optimizer_states"]
    if len(states) != 1 or not _is_state_of(optimizer, states[0]):
        raise UserError(
            f"checkpoint {path} is of another optimizer, or of other parameters that are trained (optim, freeze); use "
            f"the options of the run that wrote it (config.yaml in its folder), or {anew}"
        )


def _is_state_of(optimizer: Optimizer, state: Any) -> bool:
    """Whether an optimizer of this kind, for as many parameters, can go on from it.

    Versions of PyTorch add settings to an optimizer; another optimizer also lacks some.
    """
    groups = state.get("param_groups") if isinstance(state, dict) else None
    own = optimizer.state_dict()["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(own):
        return False
    for mine, theirs in zip(own, groups, strict=True):
        if not isinstance(theirs, dict) or len(theirs.get("params", ())) != len(mine["params"]):
            return False
        if mine.keys() - theirs.keys() and theirs.keys() - mine.keys():
            return False
    return True


def _compare(module: nn.Module, stored: dict[str, Tensor], path: Path) -> None:
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


def restore(module: nn.Module, path: Path) -> None:
    """Put a checkpoint's weights, and the temperature fitted for them, into the network that it fits."""
    check_fit(module, path)
    content = read(path)
    module.load_state_dict(content["state_dict"])
    module.temperature = temperature_of(content)  # type: ignore[assignment]


def temperature_of(content: Mapping[str, Any]) -> float | None:
    """The temperature that a checkpoint keeps; None where it has none."""
    value = content.get(TEMPERATURE)
    return value if isinstance(value, float) and 0 < value < math.inf else None
