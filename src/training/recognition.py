"""Training and testing a recognizer: loss, optimiser, and views averaged into one score per video."""

import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from src.batch import IGNORE, Batch, views_of
from src.data.annotations import Video
from src.data.balance import class_weights
from src.data.mirrored import Mirror, seen_directly
from src.errors import UserError
from src.models.order import Variant, logits
from src.models.recognizer import Recognizer
from src.runs.records import Order
from src.scores import Scores
from src.text import listed
from src.training import order
from src.training.arriving import Arriving
from src.training.checkpoints import TEMPERATURE, temperature_of
from src.training.meters import Top1
from src.training.mixing import Mixing, labels_of
from src.training.multilabel import binary_loss, one_of_several, shown
from src.training.recipe import Recipe, parameter_groups, resting, scale_rates, schedules, steps_in_epoch


class DivergedError(UserError):
    """A training loss is not a finite number."""


class VideoScores(nn.Module):
    """Sums of logits and numbers of views per video; a video met twice keeps its mean.

    That makes videos which a distributed sampler repeats harmless, and the sum over ranks exact.
    """

    sums: Tensor  # N, K
    views: Tensor  # N

    def __init__(self, videos: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(videos, classes), persistent=False)
        self.register_buffer("views", torch.zeros(videos), persistent=False)

    def add(self, video_id: Tensor, logits: Tensor) -> None:
        """Logits (N, V, K) of V views of the N videos at `video_id`."""
        self.sums.index_add_(0, video_id, logits.float().sum(1))
        self.views.index_add_(0, video_id, torch.full_like(video_id, logits.shape[1], dtype=torch.float))


class Recognition(LightningModule):
    """A recognizer in training.

    classes: names of the K classes.
    videos: phase (train, val, test) → its videos; a batch's `video_id` counts in them.
    optimizer: called with the parameters.
    scheduler: called with the optimiser; None keeps the learning rate.
    monitor: the metric that a plateau scheduler watches.
    seed: with the epoch's and the rank's number it fixes dropout and masking, so that a resumed run goes on as if
        it had never stopped.
    stop_on_divergence: raise at the first loss that is not finite; else go on and set `diverged`. A step's loss is
        looked at when the next step starts, or the epoch is over, so that no step waits for the device.
    test_order: test with time rearranged as well (src/training/order.py).
    mirror: class → the class that mirrored views of it show (src/data/mirrored.py).
    recipe: what else changes the loss and the steps.
    multilabel: a video may show several classes: binary cross-entropy, and mean average precision.
    """

    val_scores: VideoScores
    test_scores: VideoScores
    changed_scores: VideoScores  # K classes for each of `variants`

    def __init__(
        self,
        recognizer: Recognizer,
        classes: list[str],
        videos: Mapping[str, Sequence[Video]],
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
        monitor: str | None,
        seed: int,
        stop_on_divergence: bool,
        test_order: bool = False,
        mirror: Mirror | None = None,
        recipe: Recipe = Recipe(),  # noqa: B008  # it does not change
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        self.recognizer = recognizer
        self.classes = classes
        self.videos = videos
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.monitor = monitor
        self.seed = seed
        self.stop_on_divergence = stop_on_divergence
        self.test_order = test_order
        self.mirror = mirror
        self.recipe = recipe
        self.mixing = Mixing(recipe.mixup, recipe.cutmix, len(classes))
        self.class_weight: Tensor | None = None  # K
        self.shown: Tensor | None = None  # M, K: the classes of the training videos, where they may be several
        self.by_step: LRScheduler | None = None
        self.by_epoch: LRScheduler | None = None
        self.multilabel = multilabel
        self.variants: list[Variant] = order.computed(recognizer) if test_order else []
        self.train_top1 = Top1()
        self.latest: tuple[Arriving, str] | None = None  # the loss of a step, and which one, until it is looked at
        self.unreadable: dict[str, set[str]] = defaultdict(set)  # phase → messages
        self.diverged = False
        self.val_metrics: dict[str, float] = {}  # of this epoch; empty without a validation
        self.temperature: float | None = None  # fitted on the validation videos, of the weights as they are
        self.result: Scores | None = None  # of the test
        self.order: Order | None = None

    def maps(self, batch: Batch) -> tuple[Sequence[Tensor], tuple[int, int]]:
        """What the trunk makes of each view (NV, Ci, Ti, H, W), computed or kept, and the numbers N and V."""
        if "maps" in batch:
            kept = batch["maps"]
            return [one.flatten(0, 1) for one in kept], (kept[0].shape[0], kept[0].shape[1])  # N V … → NV …
        clip = views_of(batch)
        return self.recognizer.trunk(clip.flatten(0, 1)), (clip.shape[0], clip.shape[1])  # N V C T H W → NV C T H W

    def logits(self, batch: Batch) -> Tensor:
        """Of each view (N, V, K), from its clip or from what the trunk has made of it."""
        maps, shape = self.maps(batch)
        return self.recognizer.classify(maps).view(*shape, -1)  # NV K → N V K

    # Training

    def on_fit_start(self) -> None:
        if self.multilabel:
            self.shown = shown(self.videos["train"], len(self.classes)).to(self.trainer.strategy.root_device)
        if self.recipe.class_weights is not None:
            labels = [video.label for video in self.videos["train"]]
            weights = class_weights(labels, len(self.classes), self.recipe.sampling == "balanced")
            self.class_weight = torch.tensor(weights, device=self.trainer.strategy.root_device)

    def on_train_epoch_start(self) -> None:
        if self.recipe.unfreeze:  # DDP waits for the gradients of all weights that it began with
            rest = resting(self.recognizer, self.recipe.unfreeze, self.current_epoch)
            self.recognizer.let_rest(rest, with_gradients=self.trainer.world_size > 1)
        torch.manual_seed(zlib.crc32(f"{self.seed} {self.current_epoch} {self.global_rank}".encode()))
        self.val_metrics = {}
        self.temperature = None
        self.train_top1.reset()

    @property
    def learning_rate(self) -> float:
        """Of the first group of parameters, now."""
        return float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def training_step(self, batch: Batch, index: int) -> Tensor:
        self._check_loss()
        self._note_unreadable("train", batch)
        batch, target = self.mixing(batch, self.recognizer, self.targets(batch))
        logits = self.logits(batch).mean(1)  # N V K → N K
        loss = self.loss(logits, target)
        label = one_of_several(logits, target) if self.multilabel else labels_of(target)
        self.latest = Arriving(loss), self._place()
        self.log("batch_top1", 100 * self.train_top1(logits, label), logger=False, prog_bar=True)
        size = len(label)
        self.log("train/loss_step", loss, on_step=True, prog_bar=True, batch_size=size, sync_dist=True)
        # EpochLines gives the epoch's mean to the loggers.
        self.log("train/loss_epoch", loss, logger=False, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return loss

    def targets(self, batch: Batch) -> Tensor:
        """What N clips show: their labels (N), or shares of all classes (N, K) where there may be several."""
        label = batch["label"]
        if self.shown is None:
            return label
        readable = label != IGNORE
        return self.shown[batch["video_id"].where(readable, 0)].float() * readable[:, None]

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Of scores (N, K) for labels (N) or the classes' shares (N, K), a mean over the clips that could be read."""
        if self.multilabel:
            return binary_loss(logits, target, self.recipe.label_smoothing)
        readable = (labels_of(target) != IGNORE).sum()
        weight = None if self.class_weight is None else self.class_weight.to(logits)
        smoothing = self.recipe.label_smoothing
        total = F.cross_entropy(logits, target, weight, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing)
        return total / readable.clamp(min=1)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Before gradients are clipped: those of resting weights are none."""
        for module in self.recognizer.resting:
            for parameter in module.parameters():
                parameter.grad = None

    def _check_loss(self) -> None:
        """Look at the latest step's loss, once; before anything is made of what it has led to."""
        latest, self.latest = self.latest, None
        if latest is not None and not math.isfinite(loss := latest[0].get()):
            self._note_divergence(f"the loss is {loss} in {latest[1]}")

    def _place(self) -> str:
        return f"epoch {self.current_epoch + 1}, step {self.global_step} (learning rate {self.learning_rate:g})"

    def _note_divergence(self, what: str) -> None:
        """Remember that a number is not finite, and stop where that is wanted."""
        self.diverged = True
        if self.stop_on_divergence:
            raise DivergedError(
                f"{what}: training has diverged; try a smaller recipe.lr, trainer.gradient_clip_val=1 or "
                "trainer.precision=32-true, or go on knowingly with on_divergence=continue"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["diverged"] = self.diverged
        checkpoint[TEMPERATURE] = self.temperature
        checkpoint["unreadable"] = {phase: sorted(messages) for phase, messages in self.unreadable.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.diverged = bool(checkpoint.get("diverged", False))
        self.temperature = temperature_of(checkpoint)
        for phase, messages in checkpoint.get("unreadable", {}).items():
            self.unreadable[phase].update(messages)

    def on_train_epoch_end(self) -> None:
        self._check_loss()
        self._step_scheduler()

    def new_optimizer(self) -> Optimizer:
        """An optimizer of what is not frozen."""
        optimizer = self.make_optimizer(parameter_groups(self.recognizer, self.recipe.layer_decay))
        scale_rates(optimizer)
        return optimizer

    def configure_optimizers(self) -> Any:
        optimizer = self.new_optimizer()
        steps = steps_in_epoch(self.trainer) if self.recipe.moves_by_step else 0
        self.by_step, self.by_epoch = schedules(optimizer, self.make_scheduler, self.recipe, steps)
        made: list[dict[str, Any]] = []
        if self.by_step is not None:
            made.append({"scheduler": self.by_step, "interval": "step"})
        if self.by_epoch is not None:
            made.append({"scheduler": self.by_epoch, "interval": "epoch", "strict": False})
            if self.monitor:
                made[-1]["monitor"] = self.monitor
        return [optimizer], made

    def lr_scheduler_step(self, scheduler: LRScheduler, metric: Any) -> None:
        """After a step; after an epoch nothing, as Lightning would step behind its checkpoint: `on_train_epoch_end`
        does it before."""
        if scheduler is self.by_step:
            scheduler.step()

    def _step_scheduler(self) -> None:
        """Move the learning rate at the end of an epoch; a plateau schedule only where its metric was measured."""
        scheduler = self.by_epoch
        if isinstance(scheduler, ReduceLROnPlateau):
            if self.monitor in self.val_metrics:
                scheduler.step(self.val_metrics[self.monitor])
        elif isinstance(scheduler, LRScheduler):
            scheduler.step()

    # Validation

    def on_validation_epoch_start(self) -> None:
        self._check_loss()
        self.val_scores = VideoScores(len(self.videos["val"]), len(self.classes)).to(self.device)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._note_unreadable("val", batch)
        readable = batch["label"] != IGNORE
        self.val_scores.add(batch["video_id"][readable], self.logits(batch)[readable])

    def on_validation_epoch_end(self) -> None:
        scores = self._gather("val", self.val_scores)
        if not scores.videos:  # nothing was measured: no schedule and no choice of the best epoch may follow it
            return
        if not np.isfinite(scores.scores).all():
            self._note_divergence(f"the network's scores of the validation videos are not finite in {self._place()}")
        metrics = {"loss": scores.loss(), **scores.metrics()}
        self.val_metrics = {f"val/{name}": value for name, value in metrics.items()}
        self.temperature = scores.temperature()
        self.log_dict(self.val_metrics, prog_bar=False, sync_dist=False)

    # Testing

    def on_test_epoch_start(self) -> None:
        videos, classes = len(self.videos["test"]), len(self.classes)
        self.test_scores = VideoScores(videos, classes).to(self.device)
        self.changed_scores = VideoScores(videos, len(self.variants) * classes).to(self.device)

    def test_step(self, batch: Batch, index: int) -> None:
        self._note_unreadable("test", batch)
        if not len(batch["label"]):
            return
        maps, shape = self.maps(batch)
        mirrored = batch.get("mirrored")
        direct = self.recognizer.classify(maps).view(*shape, -1)  # NV K → N V K
        self.test_scores.add(batch["video_id"], seen_directly(direct, mirrored, self.mirror))
        if self.variants:
            changed = logits(self.recognizer, maps, self.variants)  # NV A K
            changed = changed.view(*shape, *changed.shape[1:])  # NV A K → N V A K
            self.changed_scores.add(
                batch["video_id"], seen_directly(changed, mirrored, self.mirror).flatten(2)
            )  # N V AK

    def on_test_epoch_end(self) -> None:
        self.result = self._gather("test", self.test_scores)
        if not self.result.videos:
            named = listed(sorted(message.partition(": ")[0] for message in self.unreadable["test"]), 3)
            raise UserError(f"none of the {len(self.videos['test'])} test videos can be read ({named}); replace them")
        if not np.isfinite(self.result.scores).all():
            self._note_divergence("the network's scores of the test videos are not finite")
        self.log_dict({f"test/{k}": v for k, v in self.result.metrics().items()}, sync_dist=False)
        if self.test_order:
            changed = self._gather("test", self.changed_scores) if self.variants else self.result
            self.order = order.sensitivity(self.recognizer, self.result, changed)

    # Both

    def _gather(self, phase: str, scores: VideoScores) -> Scores:
        """All ranks' sums as one table of the videos that could be read; the same on every rank."""
        reduce = self.trainer.strategy.reduce
        sums, views = reduce(scores.sums, reduce_op="sum").cpu(), reduce(scores.views, reduce_op="sum").cpu()
        seen = torch.nonzero(views)[:, 0]
        videos = [self.videos[phase][i] for i in seen.tolist()]
        return Scores(
            classes=self.classes,
            videos=[video.name for video in videos],
            labels=np.array([video.label for video in videos], dtype=np.int64),
            scores=(sums[seen] / views[seen, None]).numpy(),
            views=views[seen].long().numpy(),
            targets=shown(videos, len(self.classes)).numpy() if self.multilabel else None,
        )

    def _note_unreadable(self, phase: str, batch: Batch) -> None:
        self.unreadable[phase].update(batch.get("unreadable", []))
