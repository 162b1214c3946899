"""From a configuration with freeze=backbone to the data of a run as features."""

from pathlib import Path

import torch
from omegaconf import DictConfig
from torch._subclasses.fake_tensor import FakeTensorMode

from src.data.datamodule import VideoData
from src.errors import UsageError
from src.files import cache, home_expanded
from src.frozen.contents import Contents
from src.frozen.data import FeatureData
from src.frozen.fill import Filler
from src.frozen.key import describe
from src.frozen.store import Store
from src.models.recognizer import Recognizer

ROUNDING = {"16-true": "16-mixed", "bf16-true": "bf16-mixed"}  # trainer.precision → what leaves weights as they are


def feature_data(
    cfg: DictConfig, clips: VideoData, recognizer: Recognizer, device: torch.device, rank: int = 0, world: int = 1
) -> FeatureData:
    """The features of a run's clips.

    recognizer: with its final weights, frozen; it is moved to `device`, where features are computed.
    rank, world: of the processes that share the work.
    """
    root = features_root(cfg)
    contents = Contents(root, clips.lists.root)
    shapes = view_shapes(recognizer, clips)
    views = {"train": clips.draws, "val": 1, "test": None}
    stores = {}
    for phase, description in describe(cfg, recognizer).items():
        never = clips.unmirrored() if phase == "train" else frozenset()
        stores[phase] = Store(root, description, contents, shapes, views[phase], never)
    filler = Filler(clips, stores, recognizer.to(device), device, cfg.features.precision, rank, world)
    return FeatureData(filler)


def keeps_features(cfg: DictConfig) -> bool:
    """Whether a run reads the features of a frozen backbone, so that its epochs take a second or two."""
    return bool(cfg.freeze.kind == "backbone" and cfg.features.cache)


def check_precision(cfg: DictConfig) -> None:
    """Refuse a training that rounds the backbone: features that are kept would not be those of its checkpoints.

    Raises:
        UsageError: names a precision that goes.
    """
    if cfg.trainer.precision in ROUNDING and keeps_features(cfg):
        raise UsageError(
            f"trainer.precision={cfg.trainer.precision}: it rounds the frozen backbone, whose features are kept as "
            f"they were before; take trainer.precision={ROUNDING[cfg.trainer.precision]}, or features.cache=false"
        )


def features_root(cfg: DictConfig) -> Path:
    """Where features are kept."""
    return home_expanded(cfg.features.root) if cfg.features.root else cache("features")


@torch.no_grad()
def view_shapes(recognizer: Recognizer, clips: VideoData) -> list[tuple[int, ...]]:
    """For each pathway the shape C, T, H, W of what the trunk makes of one view; nothing is computed."""
    clip, source = clips.source.clip, clips.source
    device = next(recognizer.parameters()).device
    with FakeTensorMode(allow_non_fake_inputs=True):
        view = torch.empty(1, source.channels, clip.frames, clip.crop, clip.crop, device=device)  # N C T H W
        return [tuple(one.shape[1:]) for one in recognizer.trunk(view)]
