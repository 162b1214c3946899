"""What a recipe says of the loss and the steps: which weights learn, at which rate, and when."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, ReduceLROnPlateau, SequentialLR

from src.build.instantiate import NONSENSE, refusal
from src.build.instantiate import build as instantiate
from src.errors import UsageError
from src.frozen.build import keeps_features
from src.models.recognizer import Recognizer

OF_CLIPS = {"rand_augment": 0, "erasing": 0, "cutmix": 0}  # options that change pixels, and their values without effect
OF_ONE_CLASS = {"recipe.class_weights": None, "recipe.sampling": "shuffled", "data.flip_labels": "none"}  # likewise
IN_EPOCHS = ("T_max", "total_iters")  # how long a scheduler lasts; its arguments of this name become steps


@dataclass(frozen=True)
class Recipe:
    """Options of `conf/recipe/base.yaml` that change the loss or the steps; here they are off."""

    label_smoothing: float = 0
    class_weights: str | None = None
    sampling: str = "shuffled"
    mixup: float = 0
    cutmix: float = 0
    warmup: float = 0
    interval: str = "epoch"
    layer_decay: float = 1
    unfreeze: int = 0
    batch_norm: str = "train"

    @property
    def moves_by_step(self) -> bool:
        """Whether the learning rate does."""
        return self.warmup > 0 or self.interval == "step"

    @classmethod
    def of(cls, cfg: DictConfig) -> "Recipe":
        """Those of a configuration."""
        return cls(**{field.name: cfg.recipe[field.name] for field in fields(cls)})


def check_recipe(cfg: DictConfig) -> None:
    """Refuse a recipe that cannot be followed, or with which the optimizer or the schedule cannot be made.

    Raises:
        UsageError: names the option or the component, and its reason.
    """
    _check_steps(cfg)
    _check_frozen(cfg)
    _check_multilabel(cfg)
    what = "optim.optimizer"
    try:
        optimizer = instantiate(cfg.optim.optimizer)([torch.nn.Parameter(torch.zeros(1))])
        what = "schedule.scheduler"
        if cfg.schedule.scheduler:
            scheduler = instantiate(cfg.schedule.scheduler)(optimizer)
            optimizer.step()
            scheduler.step(*([0.0] if isinstance(scheduler, ReduceLROnPlateau) else []))
    except NONSENSE as error:
        raise refusal(what, error) from error


def _check_steps(cfg: DictConfig) -> None:
    recipe = cfg.recipe
    if recipe.batch_size % recipe.repeats:
        raise UsageError(
            f"recipe.repeats={recipe.repeats}: recipe.batch_size={recipe.batch_size} clips are not those of whole "
            f"videos; take a multiple of {recipe.repeats}"
        )
    if recipe.warmup >= recipe.epochs:
        raise UsageError(
            f"recipe.warmup={recipe.warmup:g}: it has to end before recipe.epochs={recipe.epochs} epochs; give less"
        )
    if recipe.interval == "step" and cfg.schedule.monitor:
        raise UsageError(
            f"recipe.interval=step: schedule={cfg.schedule.name} waits for {cfg.schedule.monitor}; take "
            "recipe.interval=epoch, or schedule=cosine"
        )
    if recipe.ema is not None and cfg.trainer.strategy == "fsdp":
        raise UsageError("recipe.ema: weights that trainer.strategy=fsdp takes apart are not averaged; take ddp")


def _check_frozen(cfg: DictConfig) -> None:
    """Refuse what a frozen backbone, or features that are kept, leave no place for."""
    recipe, kind = cfg.recipe, cfg.freeze.kind
    if recipe.unfreeze and kind != "none":
        raise UsageError(f"recipe.unfreeze={recipe.unfreeze}: freeze={kind} never ends; give recipe.unfreeze=0")
    if kind == "backbone" and recipe.repeats > cfg.features.clips:
        raise UsageError(
            f"recipe.repeats={recipe.repeats}: freeze=backbone has features.clips={cfg.features.clips} clips of a "
            "video; give more of these"
        )
    used = [name for name, nothing in OF_CLIPS.items() if recipe[name] != nothing]
    if used and keeps_features(cfg):
        off = " ".join(f"recipe.{name}={OF_CLIPS[name]}" for name in used)
        raise UsageError(
            f"recipe.{used[0]}={recipe[used[0]]}: features of the frozen backbone are kept, and clips change no more; "
            f"give {off}, or features.cache=false"
        )


def _check_multilabel(cfg: DictConfig) -> None:
    """Refuse what goes by the one class of a video."""
    if not cfg.data.get("multilabel"):
        return
    for name, off in OF_ONE_CLASS.items():
        value = OmegaConf.select(cfg, name)
        if value != off:
            raise UsageError(
                f"{name}={value}: it goes by the one class of a video, and with data.multilabel=true there are "
                f"several; give {name}={'null' if off is None else off}"
            )


def parameter_groups(recognizer: Recognizer, layer_decay: float) -> list[Any]:
    """What an optimizer is made of: the parameters that learn, or a group for each depth.

    A group has its `name` and `scale`, the share of the learning rate that it gets (`scale_rates`): what follows the
    trunk 1, and every part of the trunk, from its last on, `layer_decay` times that of the one behind it. Layer-wise
    decay is that of ELECTRA (Clark et al., 2020).
    """
    trained = [p for p in recognizer.parameters() if p.requires_grad]
    if layer_decay == 1:
        return trained
    groups: list[dict[str, Any]] = []
    scale = 1.0
    taken: set[int] = set()
    for name, modules in reversed(recognizer.backbone.parts().items()):
        scale *= layer_decay
        members = [p for module in modules for p in module.parameters() if p.requires_grad and id(p) not in taken]
        taken |= {id(p) for p in members}
        groups.append({"params": members, "name": name, "scale": scale})
    rest = [p for p in trained if id(p) not in taken]
    groups.insert(0, {"params": rest, "name": "head", "scale": 1.0})
    return [group for group in groups if group["params"]]


def scale_rates(optimizer: Optimizer) -> None:
    """Bring each group's learning rate to its share; before any schedule is made."""
    for group in optimizer.param_groups:
        group["lr"] *= group.get("scale", 1.0)


def steps_in_epoch(trainer: Trainer) -> int:
    """How many the optimizer takes."""
    _ = trainer.estimated_stepping_batches  # makes Lightning count the batches
    return -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)


def schedules(
    optimizer: Optimizer, make: Callable[..., LRScheduler] | None, recipe: Recipe, steps: int
) -> tuple[LRScheduler | None, LRScheduler | None]:
    """(what moves after every step, what moves after every epoch); None where nothing does.

    In a warm-up of W steps the s-th step, from 1, has s / W of the learning rate. A schedule by epochs runs beside it;
    one by steps begins when it is over, and ends as early as it would without a warm-up.

    make: called with the optimizer and, by steps, with what lasts as many steps as it would last epochs.
    steps: of the optimizer, in an epoch.
    """
    warm = round(recipe.warmup * steps)
    warm = warm if warm > 1 else 0  # the only step of one would have all of the rate
    rising = LinearLR(optimizer, 1 / warm, total_iters=warm - 1) if warm else None
    if make is None or recipe.interval == "epoch":
        return rising, None if make is None else make(optimizer)
    lasting: Mapping[str, Any] = make.keywords if isinstance(make, partial) else {}
    falling = make(
        optimizer, **{name: max(1, round(lasting[name] * steps) - warm) for name in IN_EPOCHS if name in lasting}
    )
    return (falling if rising is None else SequentialLR(optimizer, [rising, falling], [warm])), None


def resting(recognizer: Recognizer, unfreeze: int, epoch: int) -> list[nn.Module]:
    """The modules of the trunk that do not learn yet in an epoch (from 0): its last part learns after `unfreeze`
    epochs, and every `unfreeze` epochs one more, as in ULMFiT (Howard and Ruder, 2018); 0: all learn."""
    if not unfreeze:
        return []
    parts = list(recognizer.backbone.parts().values())
    return [module for part in parts[: max(0, len(parts) - epoch // unfreeze)] for module in part]
