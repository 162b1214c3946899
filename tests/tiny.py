"""Every option that conf/ offers, and each model at a size that runs in a moment."""

from pathlib import Path
from typing import Any

from src.config import CONF, ClipSpec
from src.data.annotations import Lists

FRAMES, CROP, CLASSES = 16, 32, 5

# Overrides that make a model small. A model without an entry runs at its own size on the small clip.
SMALL = {
    "resnext101": [
        "model.backbone.blocks=[1,1,1,2]",
        "model.backbone.stem_width=8",
        "model.backbone.widths=[8,8,8,16]",
        "model.backbone.cardinality=4",
        "model.backbone.reduced_channels=16",
    ],
    "i3d": [
        "model.backbone.stem=[8,8,16]",
        "model.backbone.stages=[[[8,4,8,4,8,8]],[[8,4,8,4,8,8]],[[8,4,8,4,8,8],[8,4,8,4,8,8]]]",
        "model.backbone.reduced=[4,4,4,4,4,4]",
    ],
    "slowfast": [
        "model.backbone.blocks=[1,1,1,2]",
        "model.backbone.width=8",
        "model.backbone.beta_inverse=4",
        "model.backbone.reduced_channels=[32,16]",
    ],
    "r2plus1d": [
        "model.backbone.blocks=[1,1,1,1]",
        "model.backbone.widths=[8,8,8,16]",
        "model.backbone.stem_width=8",
    ],
    "tiny": [
        "model.backbone.widths=[8,8,16]",
        "model.backbone.kernels=[1,3,3]",
        "model.backbone.strides=[1,2,1]",
    ],
}


def options(group: str, conf: Path = CONF) -> list[str]:
    """The names that `group=` takes."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml") if path.stem != "base")


def tiny(model: str) -> list[str]:
    """Overrides for this model at small size, on a small clip, for five classes."""
    clip = [f"model.clip.frames={FRAMES}", f"model.clip.crop={CROP}"]
    return [f"model={model}", *SMALL.get(model, []), *clip, f"data.num_classes={CLASSES}"]


SCALES = (1.0, 0.875, 0.75, 0.66)  # of the paper's training crops


def video_data(lists: Lists, clip: ClipSpec, **others: Any) -> Any:
    """Batches of some lists, as conf/ would have them but for `others`."""
    from src.data.datamodule import VideoData

    arguments = {
        **{"modality": "rgb", "decoder": "pyav", "batch_size": 8, "workers": 0, "seed": 0, "on_error": "raise"},
        **{"flip": True, "scales": SCALES, "clips": None, "crops": 1, "view_batch": 8},
        **{"protocol": "holdout", "holdout_fraction": 0.1},
    }
    return VideoData(lists=lists, clip=clip, **{**arguments, **others})
