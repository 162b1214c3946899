"""Every public checkpoint loads, and the network then answers what the published one answers."""

import numpy as np
import pytest
import torch
from src.build import build_recognizer
from src.models import weights
from src.models.backbones.wrapped import Wrapped
from src.models.weights.layouts import LAYOUTS, recognise, strip_prefixes
from torch import nn

from tests.models.golden import fill, layouts, numbers

# Per checkpoint the command-line overrides of the network that it belongs to.
RESNEXT, I3D, SLOWFAST, R2PLUS1D = (f"model={name}" for name in ("resnext101", "i3d", "slowfast", "r2plus1d"))
NETWORKS = {
    "resnext101_64f_kinetics_rgb": (RESNEXT, "pooling=average"),
    "resnext101_64f_kinetics_flow": (RESNEXT, "pooling=average"),
    "i3d_kinetics_rgb": (I3D, "pooling=average"),
    "i3d_kinetics_flow": (I3D, "pooling=average"),
    "slowfast_8x8_r50_pytorchvideo": (SLOWFAST, "pooling=average"),
    "slowfast_8x8_r50_pyslowfast": (SLOWFAST, "pooling=average"),
    "r2plus1d_34_32f_ig65m": (R2PLUS1D, "pooling=average"),
    "rgb_resneXt3D64f101": (RESNEXT, "pooling=average"),
    "flow_resneXt3D64f101": (RESNEXT, "pooling=average"),
    "rgb_resneXt3D64f101_FRMB_adamw": (RESNEXT, "pooling=average", "reduction=frmb"),
    "rgb_resneXt3D64f101_FRMB_lstm": (RESNEXT, "pooling=lstm"),
    "rgb_resneXt3D64f101_concatenation": (RESNEXT, "pooling=concat_fc"),
    "rgb_resneXt3D64f101_FRMB_NLB_concatenation": (RESNEXT, "pooling=nonlocal_concat_fc"),
    "rgb_resneXt3D64f101_bert10_FRMB": (RESNEXT, "pooling=bert"),
    "flow_resneXt3D64f101_bert10_FRMB": (RESNEXT, "pooling=bert"),
    "rgb_resneXt3D64f101_bert10_FRAB": (RESNEXT, "pooling=bert", "reduction=frab"),
    "flow_resneXt3D64f101_bert10_FRAB": (RESNEXT, "pooling=bert", "reduction=frab"),
    "rgb_I3D64f": (I3D, "pooling=average"),
    "flow_I3D64f": (I3D, "pooling=average"),
    "rgb_I3D64f_bert2": (I3D, "pooling=bert", "reduction=none"),
    "flow_I3D64f_bert2": (I3D, "pooling=bert", "reduction=none"),
    "rgb_I3D64f_bert2_FRAB": (I3D, "pooling=bert"),
    "flow_I3D64f_bert2_FRAB": (I3D, "pooling=bert"),
    "rgb_I3D64f_bert2_FRMB": (I3D, "pooling=bert", "reduction=frmb"),
    "rgb_slowfast64f_50": (SLOWFAST, "pooling=average"),
    "rgb_slowfast64f_50_bert10_FRAB_early": (SLOWFAST, "pooling=bert_early_fusion"),
    "rgb_slowfast64f_50_bert10_FRAB_late": (SLOWFAST, "pooling=bert_late_fusion"),
    "rgb_slowfast64f_50_bert10_FRMB_early": (SLOWFAST, "pooling=bert_early_fusion", "reduction=frmb"),
    "rgb_slowfast64f_50_bert10_FRMB_late": (SLOWFAST, "pooling=bert_late_fusion", "reduction=frmb"),
    "rgb_r2plus1d_32f_34": (R2PLUS1D, "pooling=average"),
    "rgb_r2plus1d_32f_34_bert10": (R2PLUS1D, "pooling=bert"),
    "rgb_r2plus1d_64f_34_bert10": (R2PLUS1D, "pooling=bert", "model.clip.frames=64"),
}
CLASSES = {RESNEXT: 400, I3D: 400, SLOWFAST: 400, R2PLUS1D: 359}
# One of each backbone; the rest takes minutes.
FAST = {"rgb_resneXt3D64f101_bert10_FRMB", "rgb_I3D64f_bert2_FRAB", "rgb_slowfast64f_50_bert10_FRAB_late"} | {
    "rgb_r2plus1d_32f_34_bert10"
}


def network(name, device="cpu"):
    modality = "flow" if layouts()[name]["input"][0] == 2 else "rgb"
    overrides = list(NETWORKS[name])
    classes = 51 if name.startswith(("rgb", "flow")) else CLASSES[overrides[0]]
    with torch.device(device):
        return build_recognizer(
            [*overrides, f"modality={modality}", "data=hmdb51", f"data.num_classes={classes}"]
        ).eval()


def wrapped(state, wrapper):
    return {wrapper: state} if wrapper else state


def test_the_layouts_are_all_here():
    assert set(layouts()) == set(NETWORKS)
    assert set(numbers()) <= set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_missing_and_nothing_left_over(name):
    recognizer, layout = network(name, "meta"), layouts()[name]
    state = {key: torch.empty(shape, device="meta") for key, shape in layout["state_dict"].items()}
    loaded = weights.load(recognizer, wrapped(state, layout["wrapper"]))
    assert set(loaded.loaded) == set(recognizer.state_dict())
    assert not loaded.initial
    assert not loaded.dropped
    assert sum(weight.numel() for weight in recognizer.parameters()) == layout["parameters"] or "slowfast" in name


def test_every_layout_has_a_checkpoint():
    recognised = [recognise(strip_prefixes(entry["state_dict"]).values()) for entry in layouts().values()]
    # Those of other libraries' networks are tested beside the libraries.
    assert set(recognised) == {layout for layout in LAYOUTS if not issubclass(layout.backbone, Wrapped)}


def batch_statistics(recognizer):
    """Every batch norm uses the statistics of its batch and keeps its running ones."""
    for module in recognizer.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.train()
            module.momentum = 0.0


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in sorted(numbers())]
)
def test_answers_what_the_published_network_answers(name):
    reference, layout = numbers()[name], layouts()[name]
    recognizer = network(name)
    weights.load(recognizer, wrapped(fill.fill_state_dict(layout["state_dict"]), layout["wrapper"]))
    clip = fill.clip(reference["input"])
    for mode in ("eval", "batch_stats"):
        if mode == "batch_stats":
            batch_statistics(recognizer)
        with torch.inference_mode():
            maps = recognizer.features(clip)
            found = {
                "features": torch.cat([x.mean(dim=(2, 3, 4)) for x in maps], dim=1),
                "logits": recognizer.classifier(recognizer.pooling(maps)),
            }
        for what, tensor in found.items():
            expected = reference.get(f"{what}_{mode}")
            if expected is not None:
                error = np.abs(tensor[0].numpy() - expected).max() / np.std(expected)
                print(f"{name} {what}_{mode}: {error:.1e} standard deviations")
                assert error <= 1e-3, f"{what} in mode {mode}: off by {error:.1e} standard deviations"
