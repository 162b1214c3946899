"""The data of a configuration."""

import inspect
from typing import TYPE_CHECKING, Any

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from src.config import ClipSpec
from src.data.annotations import Lists, check_trainable

if TYPE_CHECKING:
    from src.data.datamodule import VideoData


def read_lists(cfg: DictConfig) -> Lists:
    """The data set's lists of videos. `data.lists._target_` is called with those options of `data` that it names.

    Raises:
        UserError: something on disk or in the lists is not as it must be.
    """
    reader = get_method(cfg.data.lists._target_)
    options: Any = OmegaConf.to_container(cfg.data, resolve=True)
    options["modality"] = cfg.modality.name
    arguments = {name: options[name] for name in inspect.signature(reader).parameters if name in options}
    lists: Lists = reader(**arguments)
    return lists


def build_data(cfg: DictConfig) -> "VideoData":
    """The data of a configuration: lists read, checked against the inventory, and split by the protocol.

    Raises:
        UserError: something on disk or in the lists is not as it must be.
    """
    from src.data.datamodule import VideoData  # Lightning and torchvision, which reading lists does without
    from src.data.usable import usable

    lists = usable(read_lists(cfg), cfg.modality.name, cfg.data.on_error, cfg.data.flow)
    check_trainable(lists)
    return VideoData(
        lists=lists,
        clip=clip_spec(cfg),
        modality=cfg.modality.name,
        decoder=cfg.data.decoder,
        batch_size=cfg.recipe.batch_size,
        workers=cfg.data.workers,
        seed=cfg.seed,
        on_error=cfg.data.on_error,
        flip=cfg.data.flip,
        scales=tuple(cfg.data.scales),
        clips=None if cfg.test.clips == "all" else cfg.test.clips,
        crops=cfg.test.crops,
        view_batch=cfg.test.view_batch,
        protocol=cfg.protocol.name,
        holdout_fraction=cfg.protocol.fraction,
    )


def clip_spec(cfg: DictConfig) -> ClipSpec:
    """The clips that the configured network takes."""
    clip = cfg.model.clip
    width, height = clip.frame_size
    return ClipSpec(clip.frames, clip.stride, clip.crop, (width, height), clip.keep_aspect)
