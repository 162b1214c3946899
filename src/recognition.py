"""Training and testing a recognizer: loss, optimiser, and views averaged into one score per video."""

import zlib
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics.classification import MulticlassAccuracy

from src.batch import IGNORE, Batch
from src.errors import UserError
from src.models.recognizer import Recognizer
from src.scores import Scores


class VideoScores(nn.Module):
    """Sums of logits and numbers of views per video; a video met twice keeps its mean.

    That makes videos which a distributed sampler repeats harmless, and the sum over ranks exact.
    """

    sums: Tensor  # videos, classes
    views: Tensor  # videos

    def __init__(self, videos: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(videos, classes), persistent=False)
        self.register_buffer("views", torch.zeros(videos), persistent=False)

    def add(self, video_id: Tensor, logits: Tensor) -> None:
        """Logits (N, V, classes) of V views of the N videos at `video_id`."""
        self.sums.index_add_(0, video_id, logits.float().sum(1))
        self.views.index_add_(0, video_id, torch.full_like(video_id, logits.shape[1], dtype=torch.float))


class Recognition(LightningModule):
    """A recognizer in training.

    optimizer: called with the parameters.
    scheduler: called with the optimiser; None keeps the learning rate.
    monitor: the metric that a plateau scheduler watches.
    seed: with the epoch's and the rank's number it fixes dropout and masking, so that a resumed run goes on as if
        it had never stopped.
    """

    val_scores: VideoScores
    test_scores: VideoScores

    def __init__(
        self,
        recognizer: Recognizer,
        classes: list[str],
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
        monitor: str | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.recognizer = recognizer
        self.classes = classes
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.monitor = monitor
        self.seed = seed
        self.train_top1 = MulticlassAccuracy(len(classes), average="micro", ignore_index=IGNORE)
        self.unreadable: dict[str, set[str]] = defaultdict(set)  # phase → messages

    def forward(self, clip: Tensor) -> Tensor:
        """Clips (N, V, C, T, H, W) → logits (N, V, classes)."""
        logits: Tensor = self.recognizer(clip.flatten(0, 1))  # N V C T H W → NV C T H W
        return logits.view(*clip.shape[:2], -1)  # NV K → N V K

    # Training

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(zlib.crc32(f"{self.seed} {self.current_epoch} {self.global_rank}".encode()))
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], rank_zero_only=True)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        self._note_unreadable("train", batch)
        logits = self(batch["clip"]).mean(1)  # N V K → N K
        label = batch["label"]
        readable = (label != IGNORE).sum()
        loss = F.cross_entropy(logits, label, ignore_index=IGNORE, reduction="sum") / readable.clamp(min=1)
        self.log("batch_top1", self.train_top1(logits, label), logger=False, prog_bar=True)
        size = len(label)
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        self.log("train/top1", self.train_top1, on_step=False, on_epoch=True, batch_size=size)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer([p for p in self.recognizer.parameters() if p.requires_grad])
        if self.make_scheduler is None:
            return optimizer
        scheduler = {"scheduler": self.make_scheduler(optimizer), "interval": "epoch"}
        if self.monitor:
            scheduler["monitor"] = self.monitor
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def lr_scheduler_step(self, scheduler: LRScheduler, metric: Any) -> None:
        """Nothing: Lightning would step after the epoch's checkpoint; `on_validation_epoch_end` does it before."""

    def _step_scheduler(self, metrics: dict[str, float]) -> None:
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            assert self.monitor is not None
            scheduler.step(metrics[self.monitor])
        elif isinstance(scheduler, LRScheduler):
            scheduler.step()

    # Validation

    def on_validation_epoch_start(self) -> None:
        self.val_scores = VideoScores(len(self._videos("val")), len(self.classes)).to(self.device)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._note_unreadable("val", batch)
        readable = batch["label"] != IGNORE
        self.val_scores.add(batch["video_id"][readable], self(batch["clip"])[readable])

    def on_validation_epoch_end(self) -> None:
        scores = self._gather("val", self.val_scores)
        labels = torch.from_numpy(scores.labels)
        loss = float(F.cross_entropy(torch.from_numpy(scores.scores), labels)) if len(labels) else float("nan")
        metrics = {"loss": loss} | (scores.metrics() if len(labels) else {"top1": 0.0})
        named = {f"val/{name}": value for name, value in metrics.items()}
        self.log_dict(named, prog_bar=False, rank_zero_only=False, sync_dist=False)
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self._step_scheduler(named)

    # Testing

    def on_test_epoch_start(self) -> None:
        self.test_scores = VideoScores(len(self._videos("test")), len(self.classes)).to(self.device)

    def test_step(self, batch: Batch, index: int) -> None:
        self._note_unreadable("test", batch)
        if len(batch["label"]):
            self.test_scores.add(batch["video_id"], self(batch["clip"]))

    def on_test_epoch_end(self) -> None:
        self.result = self._gather("test", self.test_scores)
        if not len(self.result.videos):
            named = ", ".join(sorted(message.partition(": ")[0] for message in self.unreadable["test"])[:3])
            count = len(self._videos("test"))
            raise UserError(f"none of the {count} test videos can be read ({named}); replace them")
        self.log_dict({f"test/{k}": v for k, v in self.result.metrics().items()}, sync_dist=False)

    # Both

    def _gather(self, phase: str, scores: VideoScores) -> Scores:
        """All ranks' sums as one table of the videos that could be read; the same on every rank."""
        reduce = self.trainer.strategy.reduce
        sums, views = reduce(scores.sums, reduce_op="sum").cpu(), reduce(scores.views, reduce_op="sum").cpu()
        seen = torch.nonzero(views)[:, 0]
        videos = self._videos(phase)
        return Scores(
            classes=self.classes,
            videos=[videos[i].name for i in seen.tolist()],
            labels=np.array([videos[i].label for i in seen.tolist()], dtype=np.int64),
            scores=(sums[seen] / views[seen, None]).numpy(),
            views=views[seen].long().numpy(),
        )

    def _videos(self, phase: str) -> Any:
        """The phase's list of videos; `video_id` counts in it."""
        return getattr(self.trainer.datamodule, f"{phase}_videos")  # type: ignore[attr-defined]

    def _note_unreadable(self, phase: str, batch: Batch) -> None:
        self.unreadable[phase].update(batch.get("unreadable", []))
