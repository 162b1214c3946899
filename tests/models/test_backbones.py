"""Backbones at tiny size: what they declare is what they give, and every weight takes part."""

import pytest
import torch
from src.models.backbones.i3d import I3D, SamePool, same_padding
from src.models.backbones.r2plus1d import R2Plus1D
from src.models.backbones.resnext import ResNeXt
from src.models.backbones.slowfast import SlowFast
from torch import nn

from tests.models.configured import sizes

INCEPTION = (4, 4, 8, 4, 8, 4)


def resnext(**changes):
    small = {
        "blocks": (1, 1, 1, 2),
        "stem_width": 8,
        "widths": (4, 4, 8, 8),
        "cardinality": 2,
        "reduced_channels": 8,
    }
    return made(ResNeXt, sizes("resnext101") | small | changes)


def i3d(**changes):
    stages = ((INCEPTION,), (INCEPTION, INCEPTION), (INCEPTION, INCEPTION))
    return made(I3D, sizes("i3d") | {"stem": (4, 4, 6), "stages": stages, "reduced": (4,) * 6} | changes)


def slowfast(**changes):
    small = {"blocks": (1, 1, 1, 2), "width": 8, "beta_inverse": 4, "reduced_channels": (8, 4)}
    return made(SlowFast, {"fusion": "late"} | sizes("slowfast") | small | changes)


def r2plus1d(**changes):
    return made(
        R2Plus1D, sizes("r2plus1d") | {"blocks": (1, 1, 1, 2), "widths": (4, 4, 8, 8), "stem_width": 5} | changes
    )


def made(backbone, arguments):
    return backbone(**({"in_channels": 3, "reduction": "none"} | arguments))


REDUCED = ("none", "frmb", "frab")
VARIANTS = (
    *((resnext, {"reduction": reduction}) for reduction in REDUCED),
    *((i3d, {"reduction": reduction}) for reduction in REDUCED),
    *((slowfast, {"reduction": r, "fusion": fusion}) for r in REDUCED for fusion in ("early", "late")),
    (r2plus1d, {"reduction": "none"}),
)
variants = pytest.mark.parametrize(
    ("make", "arguments"), VARIANTS, ids=lambda value: getattr(value, "__name__", None) or "-".join(value.values())
)


@pytest.fixture(autouse=True)
def calm():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more only get in each other's way at this size
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@variants
@pytest.mark.parametrize(
    ("frames", "height", "width"),
    [(64, 16, 16), (32, 32, 48), (17, 33, 50), (9, 56, 41), (1, 32, 32)],
)
def test_declared_sizes_are_the_real_ones(make, arguments, frames, height, width):
    backbone = make(in_channels=2, **arguments).eval()
    with torch.inference_mode():
        maps = backbone(torch.randn(1, 2, frames, height, width))
    assert tuple(x.shape[1] for x in maps) == backbone.channels
    assert tuple(x.shape[2] for x in maps) == backbone.lengths(frames)
    assert all(x.isfinite().all() for x in maps)


@variants
def test_every_parameter_gets_a_gradient(make, arguments):
    backbone = make(in_channels=3, **arguments).train()
    sum((x * torch.randn_like(x)).sum() for x in backbone(torch.randn(2, 3, 16, 40, 40))).backward()
    idle = [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle


@variants
def test_bfloat16(make, arguments):
    backbone = make(in_channels=3, **arguments).eval()
    clip = torch.randn(1, 3, 16, 32, 32)
    with torch.inference_mode():
        exact, rough = backbone(clip), backbone.bfloat16()(clip.bfloat16())
    for x, y in zip(exact, rough, strict=True):
        assert y.dtype == torch.bfloat16
        assert 0 < (x - y.float()).abs().max() < 0.1 * x.abs().max()


@variants
def test_deterministic_in_eval_mode(make, arguments):
    backbone, clip = make(in_channels=3, **arguments).eval(), torch.randn(1, 3, 16, 32, 32)
    with torch.inference_mode():
        for x, y in zip(backbone(clip), backbone(clip), strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize(
    ("make", "reduction", "message"),
    [
        (r2plus1d, "frmb", r"R\(2\+1\)D has no reduction=frmb; choose none"),
        (resnext, "narrow", "ResNeXt has no reduction=narrow; choose none or frmb or frab"),
        (i3d, "narrow", "reduction=narrow"),
        (slowfast, "narrow", "reduction=narrow"),
    ],
)
def test_an_impossible_reduction_is_refused_before_anything_is_built(make, reduction, message, monkeypatch):
    monkeypatch.setattr(nn.Module, "__init__", None)
    with pytest.raises(ValueError, match=message):
        make(reduction=reduction)


def test_an_unknown_fusion_is_refused():
    with pytest.raises(ValueError, match="unknown fusion 'middle'; choose late or early"):
        slowfast(fusion="middle")


def test_frmb_replaces_the_last_block_and_frab_keeps_it():
    for make in (resnext, i3d):
        names = {r: {n for n, _ in make(reduction=r).named_parameters()} for r in REDUCED}
        backbone = make(reduction="frmb")
        (block,) = backbone.replaced
        assert names["none"] - names["frmb"] == {name for name in names["none"] if name.startswith(block)}
        assert names["frab"] - names["none"] == names["frmb"] - names["none"]
        assert backbone.channels == make(reduction="frab").channels != make(reduction="none").channels


@pytest.mark.parametrize(("fusion", "channels"), [("early", (512, 128)), ("late", (512, 256))])
def test_slowfast_reduction_follows_the_fusion(fusion, channels):
    for reduction in ("frmb", "frab"):
        with torch.device("meta"):
            backbone = SlowFast(3, reduction, fusion=fusion, **sizes("slowfast"))
        assert backbone.channels == channels
        assert len(backbone.replaced) == (0 if reduction == "frab" else len({"late": [0], "early": [0, 1]}[fusion]))


def test_slowfast_pathways_take_their_own_frames():
    backbone = slowfast(in_channels=3).eval()
    clip = torch.randn(1, 3, 32, 32, 32)
    other = clip.clone()
    other[:, :, 1::2] = 0  # no pathway looks at odd frames
    slow_only = clip.clone()
    slow_only[:, :, 2::8] = 0  # a frame of the fast pathway only
    with torch.inference_mode():
        for x, y in zip(backbone(clip), backbone(other), strict=True):
            assert torch.equal(x, y)
        assert not torch.equal(backbone(clip)[1], backbone(slow_only)[1])


def test_reduction_blocks_start_kaiming_normal():
    network = resnext(
        reduction="frab", blocks=(1, 1, 1, 1), widths=(32, 32, 32, 512), cardinality=1, reduced_channels=512
    )
    weight = network.reduction.conv1.weight
    assert weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.02)


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (3, 1), (7, 2)])
def test_same_padding_is_tensorflows(size, kernel, stride):
    before, behind = same_padding(size, kernel, stride)
    windows = (size + before + behind - kernel) // stride + 1
    assert windows == -(-size // stride)
    assert behind - before in (0, 1)


@pytest.mark.parametrize("size", range(2, 12))
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (3, 1)])
def test_pooling_equals_padding_first(size, kernel, stride):
    x = torch.randn(1, 2, size, size + 1, size + 2).relu()
    pads = [side for length in reversed(x.shape[2:]) for side in same_padding(length, kernel, stride)]
    expected = nn.functional.max_pool3d(nn.functional.pad(x, pads), kernel, stride)
    assert torch.equal(SamePool((kernel,) * 3, (stride,) * 3)(x), expected)
