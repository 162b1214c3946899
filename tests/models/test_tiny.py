"""The small backbone: declared sizes are the real ones, and it looks no further in time than it says."""

import numpy as np
import pytest
import torch
from src.data.moving_shapes import LEAD, PAUSE, scenes
from src.models.backbones.tiny import Tiny

from tests.models.configured import sizes


def tiny(in_channels: int = 3, **changes: object) -> Tiny:
    """The network of conf/model/tiny.yaml, changed."""
    return Tiny(in_channels, **({"reduction": "none"} | sizes("tiny") | changes))


def time_seen(net: Tiny, frames: int, step: int) -> list[int]:
    """Frames that one step of the feature map depends on, by its gradient."""
    clip = torch.randn(1, 3, frames, 32, 32, requires_grad=True)
    (feature_map,) = net.eval()(clip)  # eval: batch statistics would join all frames
    feature_map[:, :, step].sum().backward()
    assert clip.grad is not None
    return clip.grad.abs().sum(dim=(0, 1, 3, 4)).nonzero().flatten().tolist()


@pytest.mark.parametrize(("frames", "crop"), [(32, 56), (7, 40), (1, 33)])
@pytest.mark.parametrize("channels", [2, 3])
def test_declared_sizes_are_the_real_ones(frames: int, crop: int, channels: int) -> None:
    net = tiny(channels)
    (feature_map,) = net(torch.randn(2, channels, frames, crop, crop))
    side = -(-crop // 16)
    assert feature_map.shape == (2, *net.channels, *net.lengths(frames), side, side)


def test_it_looks_less_far_than_the_pause_between_two_motions() -> None:
    net = tiny(3)
    (length,) = net.lengths(32)
    spans = [time_seen(net, 32, step) for step in range(length)]
    widths = [span[-1] - span[0] + 1 for span in spans]
    assert max(widths) == net.receptive_field < PAUSE
    assert net.receptive_field <= LEAD + 1  # no step sees a motion together with an end of the clip


def test_average_pooling_cannot_tell_twins_apart() -> None:
    """Without noise, and without the stride that meets them in another phase, twins have the same mean map."""
    net = tiny(3, strides=(1, 1, 1, 1)).eval()
    for pair in range(4):
        twins = scenes(pair, np.random.default_rng(pair), 32, 32)
        clips = torch.from_numpy(np.stack(twins)).permute(0, 4, 1, 2, 3) / 255  # N T H W C → N C T H W
        with torch.no_grad():
            first, second = net(clips)[0]
        torch.testing.assert_close(first.mean(1), second.mean(1), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize(
    ("kernels", "strides", "field"), [((1, 1), (2, 2), 1), ((3, 3), (2, 1), 7), ((3, 5), (1, 1), 7)]
)
def test_the_receptive_field_follows_from_kernels_and_strides(
    kernels: tuple[int, ...], strides: tuple[int, ...], field: int
) -> None:
    net = tiny(3, widths=(4, 8), kernels=kernels, strides=strides)
    (length,) = net.lengths(24)
    span = time_seen(net, 24, length // 2)
    assert span[-1] - span[0] + 1 == net.receptive_field == field


def test_every_parameter_learns() -> None:
    net = tiny(3)
    net(torch.randn(2, 3, 8, 32, 32))[0].square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reduction": "frab"}, "tiny has no reduction=frab; choose none"),
        ({"widths": (8, 16)}, "2 widths, 4 kernels and 4 strides"),
        ({"kernels": (2, 3, 1, 1)}, "kernels must be odd"),
    ],
)
def test_impossible_arguments_are_named(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tiny(3, **arguments)
