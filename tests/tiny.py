"""Every option that conf/ offers, and each model at a size that runs in a moment."""

import functools
import importlib.util
from pathlib import Path
from typing import Any

from src.build.compose import compose
from src.config import CONF, ClipSpec
from src.data.annotations import Lists

FRAMES, CROP, CLASSES = 16, 32, 5

LAYERS = ("model.backbone.depth=2", "model.backbone.heads=2", "model.backbone.hidden=32")
STAGES = ("model.backbone.depths=[1,1]", "model.backbone.heads=[1,2]", "model.backbone.reduced_channels=16")
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
    "mc3_18": ["model.backbone.blocks=[1,1,1,1]"],
    "r2plus1d_18": ["model.backbone.blocks=[1,1,1,1]"],
    "r3d_18": ["model.backbone.blocks=[1,1,1,1]"],
    "s3d": ["model.backbone.reduced_channels=16"],
    "swin3d_t": ["model.backbone.width=16", *STAGES],
    "swin3d_s": ["model.backbone.width=16", *STAGES],
    "swin3d_b": ["model.backbone.width=16", *STAGES],
    "mvit_v1_b": ["model.backbone.widths=[16,32]", *STAGES],
    "mvit_v2_s": ["model.backbone.widths=[16,32]", *STAGES],
    "videomae": ["model.backbone.width=32", *LAYERS],
    "videomae_l": ["model.backbone.width=32", *LAYERS],
    "vjepa2": ["model.backbone.width=32", *LAYERS, "model.backbone.pooler_layers=1"],
    "vjepa2_g": ["model.backbone.width=32", *LAYERS, "model.backbone.pooler_layers=1"],
    "tiny": [
        "model.backbone.widths=[8,8,16]",
        "model.backbone.kernels=[1,3,3]",
        "model.backbone.strides=[1,2,1]",
    ],
}


def options(group: str, conf: Path = CONF) -> list[str]:
    """The names that `group=` takes."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml") if path.stem != "base")


@functools.cache
def models() -> list[str]:
    """The models that can be built here: some need an extra."""
    usable = importlib.util.find_spec("transformers") is not None
    return [model for model in options("model") if usable or not backbone_class(model).startswith("transformers.")]


@functools.cache
def networks() -> list[str]:
    """Of those, one of each class of backbone: others of it differ in sizes alone."""
    first: dict[str, str] = {}
    for model in models():
        first.setdefault(backbone_class(model), model)
    return list(first.values())


def backbone_class(model: str) -> str:
    """Where the class of a model's backbone is."""
    return str(compose([f"model={model}"], "network").model.backbone._target_).removeprefix("src.models.backbones.")


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
