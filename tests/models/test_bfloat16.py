"""Gradients in bfloat16 on a CPU are those in float32, but for rounding."""

import copy
import math

import pytest
import torch
from src.build import build_recognizer
from src.models.backbones import convolution
from src.models.backbones.convolution import Conv3d, take_convolutions
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import weight_norm

from tests.tiny import CLASSES, CROP, FRAMES, models, tiny

LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]
WIDE = ("mc3_18", "r2plus1d_18", "r3d_18", "s3d")  # cannot be made as small as others


def gradients(module, x, autocast):
    """Of each weight, for a fixed function of the outcome; what was freed before is full of NaN."""
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        torch.manual_seed(1)
        y = module(x)
    assert y.dtype == (torch.bfloat16 if autocast else torch.float32)
    weight = torch.linspace(-1, 1, y.numel()).sin().view_as(y)
    for size in {2**6, 2**10, 2**14, *(parameter.numel() for parameter in module.parameters())}:
        torch.full((size,), math.nan)
    return torch.autograd.grad((y.float() * weight).sum(), list(module.parameters()), materialize_grads=True)


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[pytest.mark.slow] if name in WIDE else []) for name in models()]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_network_learns(model, layout):
    torch.manual_seed(0)
    recognizer = build_recognizer([*tiny(model), "pooling=average"], CLASSES).train()
    if layout == torch.channels_last_3d:
        recognizer.channels_last()
    for module in recognizer.modules():
        if isinstance(module, _BatchNorm | nn.Dropout):  # which would make much of what rounding changes
            module.eval()
    clip = torch.randint(0, 256, (2, 3, FRAMES, CROP, CROP), dtype=torch.uint8)
    expected = gradients(recognizer, clip, autocast=False)
    length = torch.cat([one.flatten() for one in expected]).norm()
    for _ in range(2):
        found = gradients(recognizer, clip, autocast=True)
        difference = torch.cat([(one - other).flatten() for one, other in zip(found, expected, strict=True)])
        assert difference.norm() < 0.3 * length
        for (name, _), one, other in zip(recognizer.named_parameters(), found, expected, strict=True):
            assert one.norm() < 4 * other.norm() + 0.01 * length, name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("channels", "size", "kernel", "stride"),
    [
        ((36, 16), (2, 2, 2), (3, 1, 1), 1),
        ((256, 64), (2, 1, 1), (3, 1, 1), 1),
        ((144, 64), (5, 4, 4), (7, 1, 1), 1),
        ((83, 32), (2, 7, 7), (3, 3, 3), (1, 2, 2)),
        ((36, 24), (8, 2, 2), (1, 7, 7), 1),
        ((36, 24), (2, 7, 1), (1, 1, 3), 1),
    ],
)
def test_a_map_shorter_than_the_kernel(channels, size, kernel, stride, layout):
    torch.manual_seed(0)
    layer = Conv3d(*channels, kernel, stride, tuple(length // 2 for length in kernel)).to(memory_format=layout)
    x = torch.randn(4, channels[0], *size).contiguous(memory_format=layout)
    expected = gradients(layer, x, autocast=False)
    for _ in range(4):
        for one, other in zip(gradients(layer, x, autocast=True), expected, strict=True):
            assert (one - other).norm() < 0.02 * other.norm()
    half = copy.deepcopy(layer).bfloat16()  # as with trainer.precision=bf16-true
    y = half(x.bfloat16())
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in half.parameters())


def test_only_what_learns_from_short_maps_is_computed_in_float32(monkeypatch):
    computed = []

    def conv3d(x, *arguments, original=nn.functional.conv3d):
        computed.append(x.dtype)
        return original(x, *arguments)

    monkeypatch.setattr(convolution.F, "conv3d", conv3d)
    layer = Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0))
    short, long = torch.ones(1, 4, 2, 3, 3).bfloat16(), torch.ones(1, 4, 3, 1, 1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        layer(short), layer(long)
        with torch.no_grad():
            layer(short)
        layer.requires_grad_(False)
        layer(short)
    assert computed == [torch.float32] + [torch.bfloat16] * 3


def test_another_librarys_convolutions_are_ours_and_what_they_do_themselves_stays():
    class Own(nn.Conv3d):
        def forward(self, x):
            return -super().forward(x)

    class Named(nn.Conv3d):
        """As torchvision's are."""

    parts = [nn.Conv3d(2, 2, 1), Named(2, 2, 1), Own(2, 2, 1), weight_norm(nn.Conv3d(2, 2, 1))]
    network = nn.Sequential(*parts, nn.Conv3d(2, 2, 3, padding=1, padding_mode="circular"))
    x = torch.randn(1, 2, 3, 4, 5)
    names, expected = list(network.state_dict()), network(x)
    take_convolutions(network)
    assert [isinstance(part, Conv3d) for part in network] == [True, True, False, False, False]
    assert torch.equal(network(x), expected) and list(network.state_dict()) == names
    assert torch.equal(copy.deepcopy(network)(x), expected)
