"""A moving average of the weights, which stands in for them wherever a trained network is used."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

KEY = "averaged"  # of a checkpoint whose weights are averages: decay, steps, and the weights that training goes on from


class WeightAverage(Callback):
    """An exponential moving average of a recognizer's weights and of the statistics of its batch norms.

    average ← d · average + (1 - d) · weights after each step n = 1, 2, …; the first one takes the weights as they are,
    and d = min(decay, n / (n + 9)), so that early averages do not remember the beginning.

    It is validated, and stands in checkpoints in the place of the weights: `state_dict` is the average, and `averaged`
    holds what training goes on from.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: AveragedModel | None = None
        self.steps = 0  # of the optimizer, that the average has followed
        self.stored: dict[str, Any] | None = None  # of the checkpoint that the run goes on from

    def move(self, averages: Any, weights: Any, updates: Any) -> None:
        """Bring averages (a list of tensors, in place) nearer to the weights.

        updates: how many there were before; at least 1.
        """
        n = int(updates) + 1
        decay = min(self.decay, n / (n + 9))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, 1 - decay)
            return
        for average, weight in zip(averages, weights, strict=True):
            average.copy_(weight)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        recognizer = _recognizer(module)
        self.average = AveragedModel(recognizer, multi_avg_fn=self.move, use_buffers=True)
        self.steps = trainer.global_step
        if self.stored is not None:  # Lightning has put the average in the place of the weights
            self.average.n_averaged.fill_(self.stored["updates"])
            recognizer.load_state_dict(self.stored["weights"])
            self.stored = None

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *others: Any) -> None:
        if self.average is not None and trainer.global_step > self.steps:  # not within accumulated gradients
            self.average.update_parameters(_recognizer(module))
            self.steps = trainer.global_step

    def on_validation_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.average is None:
            return
        if trainer.world_size > 1:  # a checkpoint has the first rank's statistics; all shall validate with these
            for buffer in self.average.module.buffers():
                torch.distributed.broadcast(buffer, 0)
        self._exchange(_recognizer(module))

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.average is not None:
            self._exchange(_recognizer(module))

    @torch.no_grad()
    def _exchange(self, recognizer: nn.Module) -> None:
        """Give the recognizer the average, and the average its weights."""
        assert self.average is not None
        for average, weight in zip(_tensors(self.average.module), _tensors(recognizer), strict=True):
            kept = average.clone()
            average.copy_(weight)
            weight.copy_(kept)

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.average is None:
            return
        updates = int(self.average.n_averaged)
        weights = _recognizer(module).state_dict()
        checkpoint[KEY] = {"decay": self.decay, "updates": updates, "weights": weights}
        averages = {f"recognizer.{name}": value for name, value in self.average.module.state_dict().items()}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **averages}

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.stored = checkpoint.get(KEY)


def _recognizer(module: LightningModule) -> nn.Module:
    recognizer = module.recognizer
    assert isinstance(recognizer, nn.Module)
    return recognizer


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    return chain(network.parameters(), network.buffers())
