"""Every option that conf/ offers, and each model at a size that runs in a moment."""

from pathlib import Path

from src.config import CONF

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
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def tiny(model: str) -> list[str]:
    """Overrides for this model at small size, on a small clip, for five classes."""
    clip = [f"model.clip.frames={FRAMES}", f"model.clip.crop={CROP}"]
    return [f"model={model}", *SMALL.get(model, []), *clip, f"data.num_classes={CLASSES}"]
