"""What happens around the training loop: checkpoints that are never half-written, throughput, a line an epoch."""

import os
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from pytorch_lightning.plugins.io import TorchCheckpointIO
from rich.console import Console

from src.errors import UserError


class WholeFileCheckpoints(TorchCheckpointIO):
    """Checkpoints written under a temporary name and renamed: a killed run leaves the previous one intact."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            torch.save(checkpoint, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


class SameConfiguration(Callback):
    """Refuses to start where ranks have different configurations.

    identity: of this rank's configuration (src.run.identity).
    """

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Compare with all ranks; they have found each other by now, and nothing has been trained.

        Raises:
            UserError: they differ; on every rank.
        """
        if trainer.world_size == 1:
            return
        found: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(found, self.identity)
        if len(set(found)) > 1:
            ranks = ", ".join(f"rank {number} {identity}" for number, identity in enumerate(found))
            raise UserError(f"the ranks have different configurations ({ranks}); start all with the same options")


class Throughput(Callback):
    """Clips per second of the training loop, waiting for data included, validation not."""

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.clips, self.start = 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        clips = batch["clip"]
        self.clips += clips.shape[0] * clips.shape[1] * trainer.world_size
        rate = self.clips / (time.perf_counter() - self.start)
        module.log("clips_per_second", rate, prog_bar=True, on_step=True, on_epoch=False, rank_zero_only=True)


class EpochLines(Callback):
    """One line an epoch on the terminal or in the log."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        values = trainer.callback_metrics
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.console.print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  "
            f"train loss {values['train/loss_epoch']:.3f} top1 {100 * values['train/top1']:.1f} %  "
            f"val loss {values.get('val/loss', float('nan')):.3f} top1 {values.get('val/top1', 0):.1f} %  "
            f"lr {rate:.1e}  {values['clips_per_second']:.1f} clips/s  {time.perf_counter() - self.start:.0f} s",
            highlight=False,
        )


class Bar(RichProgressBar):
    """Progress with loss, accuracy and clips per second of the batch at hand."""

    SHOWN: ClassVar = {"train/loss_step": "loss", "batch_top1": "top1", "clips_per_second": "clips/s"}

    def get_metrics(
        self, trainer: Trainer, module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        values = super().get_metrics(trainer, module)
        return {short: values[name] for name, short in self.SHOWN.items() if name in values}


def callbacks(folder: Path, console: Console, early_stopping: int | None, bar: bool) -> list[Callback]:
    """Best and last checkpoint under `folder`/checkpoints, throughput, lines, early stopping.

    Both checkpoints are written when the epoch is over and the schedule has moved, so that resuming is exact.
    """
    checkpoints: dict[str, Any] = {
        "dirpath": folder / "checkpoints",
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    made: list[Callback] = [Throughput(), EpochLines(console)]
    if early_stopping is not None:
        made.append(EarlyStopping("val/loss", patience=early_stopping, check_on_train_epoch_end=True))
    if bar:
        made.append(Bar())
    best = ModelCheckpoint(filename="best", save_top_k=1, monitor="val/top1", mode="max", **checkpoints)
    last = ModelCheckpoint(filename="last", save_top_k=1, monitor=None, **checkpoints)
    return [*made, best, last]
