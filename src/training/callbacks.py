"""What happens around the training loop: a line an epoch, a progress bar, early stopping, a check of the ranks.

A `module: Any` is a Recognition, of whose own attributes Lightning's type knows nothing.
"""

import math
import time
from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console

from src.build.devices import decoding_workers
from src.errors import UserError
from src.runs.folder import RunFolder
from src.training.averaging import WeightAverage
from src.training.checkpoints import BestAndLast
from src.training.timing import Profile, Throughput


class SameConfiguration(Callback):
    """Refuses to start where ranks have different configurations.

    identity: of this rank's configuration (src.runs.identity).
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
        identities: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(identities, self.identity)
        if len(set(identities)) > 1:
            ranks = ", ".join(f"rank {number} {identity}" for number, identity in enumerate(identities))
            raise UserError(f"the ranks have different configurations ({ranks}); start all with the same options")


class EpochLines(Callback):
    """One line an epoch on the terminal or in the log, and one in every logger.

    Lightning would log the epoch after its checkpoint is written: a run that is killed between the two goes on behind
    an epoch that its curves lack.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.start = 0.0
        self.rate = 0.0  # that the epoch begins with

    def on_train_epoch_start(self, trainer: Trainer, module: Any) -> None:
        self.start = time.perf_counter()
        self.rate = module.learning_rate

    def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
        # All ranks take part in these two, which bring their numbers together.
        train_top1 = 100 * float(module.train_top1.compute())
        values = trainer.callback_metrics
        if not trainer.is_global_zero:
            return
        loss = float(values["train/loss_epoch"])
        row = {"epoch": trainer.current_epoch, "lr": self.rate, "train/loss_epoch": loss, "train/top1": train_top1}
        for logger in trainer.loggers:
            logger.log_metrics(row, trainer.global_step - 1)  # its last step, as Lightning counts
            logger.save()
        val: dict[str, float] = module.val_metrics
        validation = f"val loss {val['val/loss']:.3f} top1 {val.get('val/top1', 0):.1f} %  " if val else ""
        self.console.print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  "
            f"train loss {loss:.3f} top1 {train_top1:.1f} %  {validation}"
            f"lr {module.learning_rate:.1e}  {values['clips_per_second']:.1f} clips/s, "
            f"{values['waiting']:.0%} waiting  {time.perf_counter() - self.start:.0f} s"
        )


class StopEarly(Callback):
    """Ends training once the validation loss has not fallen for some epochs; epochs without a validation don't count.

    patience: how many epochs.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.lowest = math.inf
        self.waited = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """A run that was cut off between its last epoch and its test trains no further."""
        self._stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
        loss: float | None = module.val_metrics.get("val/loss")
        if loss is None:
            return
        if loss < self.lowest:
            self.lowest, self.waited = loss, 0
        else:  # also where it is not finite
            self.waited += 1
        self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if self.waited >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"lowest": self.lowest, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lowest, self.waited = float(state["lowest"]), int(state["waited"])


class Bar(RichProgressBar):
    """Progress with loss, accuracy and clips per second of the current batch."""

    SHOWN: ClassVar = {"train/loss_step": "loss", "batch_top1": "top1", "clips_per_second": "clips/s"}

    def get_metrics(self, trainer: Trainer, module: LightningModule) -> dict[str, int | str | float | dict[str, float]]:
        values = super().get_metrics(trainer, module)
        return {short: values[name] for name, short in self.SHOWN.items() if name in values}


def callbacks(
    folder: RunFolder, console: Console, identity: str, cfg: DictConfig, bar: bool, pause: float
) -> list[Callback]:
    """All of a run's callbacks; checkpoints come last.

    bar: show progress on the terminal.
    pause: see `BestAndLast`.
    """
    made: list[Callback] = [
        SameConfiguration(identity),
        Throughput(console, decoding_workers(cfg)),
        EpochLines(console),
    ]
    if cfg.recipe.ema is not None:
        made.append(WeightAverage(cfg.recipe.ema))
    if cfg.early_stopping is not None:
        made.append(StopEarly(cfg.early_stopping))
    if cfg.trainer.profile:
        made.append(Profile(console, folder.profile))
    if bar:
        made.append(Bar())
    return [*made, BestAndLast(folder, pause)]
