"""TV-L1 optical flow in PyTorch: OpenCV's DualTVL1OpticalFlow for many pairs of frames at once, on a CPU or a GPU.

The scheme is that of Zach, Pock and Bischof (A Duality Based Approach for Realtime TV-L1 Optical Flow, DAGM 2007)
with the warping, the median filter and the stopping rule of OpenCV: at each scale of a pyramid, and for each of a few
warps, a pointwise threshold step on the brightness constancy and a step on the dual variables of the total variation
alternate until the flow of that pair moves by less than epsilon. Each pair stops on its own: what else is in the batch
changes nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

SMALLEST = 16  # pixels of the shorter side, below which no further scale is made
FLAT = 1e-12  # squared slope in which no motion can be seen
NAMES = {  # of settings, as OpenCV spells its arguments
    **{"innnerIterations": "inner_iterations", "outerIterations": "outer_iterations"},
    **{"scaleStep": "scale_step", "medianFiltering": "median"},
}


@dataclass(frozen=True)
class Settings:
    """OpenCV's parameters, with its defaults."""

    tau: float = 0.25  # step of the dual variables
    lambda_: float = 0.15  # weight of the brightness constancy
    theta: float = 0.3  # how far the two steps may be apart
    nscales: int = 5
    warps: int = 5  # a scale
    epsilon: float = 0.01  # pixels (root mean square) by which the flow still moves when a warp ends
    inner_iterations: int = 30  # between two median filters
    outer_iterations: int = 10
    scale_step: float = 0.8  # from scale to scale
    gamma: float = 0.0  # weight of a third channel, the change of brightness; 0: there is none
    median: int = 5  # side of the median filter, 1: none

    def __post_init__(self) -> None:
        for name in ("nscales", "warps", "inner_iterations", "outer_iterations", "median"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ValueError(f"{_spelt(name)}={getattr(self, name)} must be a whole number from 1")
        for name in ("tau", "lambda_", "theta", "epsilon", "scale_step", "gamma"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{_spelt(name)}={value} must be a number from 0")
        if self.theta == 0 or not 0 < self.scale_step < 1:
            raise ValueError("theta must be above 0, and scaleStep between 0 and 1")
        if self.median not in (1, 3, 5):
            raise ValueError(f"medianFiltering={self.median} must be 1 (none), 3 or 5")


def settings_of(opencv: dict[str, Any]) -> Settings:
    """Settings by OpenCV's names of its arguments.

    Raises:
        ValueError: one is unknown or out of range.
    """
    named = {NAMES.get(name, name): value for name, value in opencv.items()}
    unknown = set(named) - {field.name for field in fields(Settings)}
    if unknown or len(named) != len(opencv):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return Settings(**named)


def _spelt(name: str) -> str:
    return next((opencv for opencv, ours in NAMES.items() if ours == name), name)


@dataclass(frozen=True)
class How:
    """How the iterations are run, which changes the time they take."""

    compiled: bool = False  # operations fused by torch.compile
    graphed: bool = False  # as CUDA graphs
    look: int = 1  # iterations between two looks at whether all pairs have stopped, for each of which a GPU waits


@torch.inference_mode()
def tvl1(first: Tensor, second: Tensor, settings: Settings = Settings(), how: How = How()) -> Tensor:
    """Flow from each first frame to its second.

    first, second: N, H, W gray levels 0 to 255, on one device; the work is done there, in float32.

    Returns:
        N, 2, H, W float32: motion to the right and down, in pixels.
    """
    pyramid = [torch.stack([first, second], dim=1).float()]  # N,H,W → N,2,H,W
    while len(pyramid) < settings.nscales:
        smaller = shrink(pyramid[-1], settings.scale_step)
        if min(smaller.shape[-2:]) < SMALLEST:
            break
        pyramid.append(smaller)
    channels = 3 if settings.gamma else 2
    flow = torch.zeros(len(first), channels, *pyramid[-1].shape[-2:], device=first.device)
    while True:
        frames = pyramid.pop()
        flow = one_scale(frames[:, 0], frames[:, 1], flow, settings, how)
        if not pyramid:
            return flow[:, :2]
        flow = interpolate(flow, size=pyramid[-1].shape[-2:], mode="bilinear")
        flow[:, :2] /= settings.scale_step


def shrink(frames: Tensor, step: float) -> Tensor:
    """Frames N, C, H, W on the next scale: bilinear, and `step` apart whatever the rounded size is."""
    height, width = (round(side * step) for side in frames.shape[-2:])
    result: Tensor = torch.ops.aten.upsample_bilinear2d(frames, [max(1, height), max(1, width)], False, step, step)
    return result


def one_scale(first: Tensor, second: Tensor, flow: Tensor, settings: Settings, how: How) -> Tensor:
    """Flow N, C, H, W of one scale, begun at `flow`, between frames N, H, W."""
    flow = flow.contiguous()
    images = torch.stack([second, _central(second, -1), _central(second, -2)], dim=1)
    dual_x, dual_y, slope = torch.zeros_like(flow), torch.zeros_like(flow), torch.full_like(flow, settings.gamma)
    constant, scale = torch.empty_like(first), torch.empty_like(first)
    moving = flow.new_ones(len(flow), 1, 1, 1)
    scratch = torch.empty_like(flow), torch.zeros_like(flow), torch.empty_like(first)
    step = torch.compile(_step) if how.compiled else _step
    numbers = settings.lambda_ * settings.theta, settings.theta, settings.tau, settings.epsilon
    one = partial(step, flow, dual_x, dual_y, moving, slope, constant, scale, *scratch, *numbers)
    several: Callable[[], None] = partial(_repeat, one, how.look)
    smooth = partial(torch.compile(_smooth) if how.compiled else _smooth, flow, moving, settings.median)
    for number in range(settings.warps):
        warped = warp(images, flow)  # I, Ix, Iy
        slope[:, :2] = warped[:, 1:]
        torch.sub(warped[:, 0] - (slope[:, :2] * flow[:, :2]).sum(1), first, out=constant)
        torch.div(-1, warped[:, 1:].square().sum(1).clamp_(min=FLAT), out=scale)
        moving.fill_(1)
        if number == 1 and how.graphed:  # in the first warp everything has been compiled
            several = _captured(several)
        _alternate(one, several, smooth, moving, settings, how.look)
    return flow


def _alternate(
    one: Callable[[], None],
    several: Callable[[], None],
    smooth: Callable[[], None],
    moving: Tensor,
    settings: Settings,
    look: int,
) -> None:
    """The iterations of one warp, until every pair has stopped. several: `look` of them."""
    for _ in range(settings.outer_iterations):
        if settings.median > 1:
            smooth()
        for _ in range(settings.inner_iterations // look):
            several()
            if not moving.any():
                return
        _repeat(one, settings.inner_iterations % look)
        if not moving.any():
            return


def _repeat(function: Callable[[], None], times: int) -> None:
    for _ in range(times):
        function()


def _captured(function: Callable[[], None]) -> Callable[[], None]:
    """The same, as one CUDA graph: launched in one go."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def _step(
    flow: Tensor, dual_x: Tensor, dual_y: Tensor, moving: Tensor,
    slope: Tensor, constant: Tensor, scale: Tensor, change: Tensor, other: Tensor, factor: Tensor,
    bound: float, theta: float, tau: float, epsilon: float,
) -> None:  # fmt: skip
    """One iteration, in place. Pairs that have stopped take steps of no length."""
    # The threshold step: along the slope, as far as the brightness asks for, at most to the bound.
    torch.addcmul(constant, slope[:, 0], flow[:, 0], out=factor)
    for c in range(1, flow.shape[1]):
        factor.addcmul_(slope[:, c], flow[:, c])
    factor.mul_(scale).clamp_(-bound, bound)
    # The divergence of the dual variables, which are 0 outside.
    torch.add(dual_x, dual_y, out=change)
    change[..., 1:].sub_(dual_x[..., :-1])
    change[..., 1:, :].sub_(dual_y[..., :-1, :])
    change.mul_(theta).addcmul_(slope, factor[:, None]).mul_(moving)
    flow.add_(change)
    moved = change.square_().sum(-1).sum((1, 2), dtype=torch.float64)  # rows first: the same in every batch
    # The dual variables follow the gradient of the flow, which is 0 at the last column and row.
    length = moving * (tau / theta)
    torch.neg(flow, out=change)
    torch.neg(flow, out=other)
    change[..., :-1].add_(flow[..., 1:])
    other[..., :-1, :].add_(flow[..., 1:, :])
    change[..., -1] = 0
    other[..., -1, :] = 0
    dual_x.addcmul_(change, length)
    dual_y.addcmul_(other, length)
    change.hypot_(other).mul_(length).add_(1)
    dual_x.div_(change)
    dual_y.div_(change)
    moving.mul_((moved > epsilon**2 * constant[0].numel())[:, None, None, None])


def _smooth(flow: Tensor, moving: Tensor, side: int) -> None:
    """The median of each pixel's neighbours, in place, of the motion (not the brightness) of pairs that still move."""
    motion = flow[:, :2]
    height, width = motion.shape[-2:]
    padded = pad(motion, [side // 2] * 4, mode="replicate")
    values = [padded[..., y : y + height, x : x + width] for y in range(side) for x in range(side)]
    motion.copy_(torch.where(moving > 0, _median(values), motion))


def _median(values: list[Tensor]) -> Tensor:
    """Median of an odd number of tensors, element by element.

    A value that is the least or the greatest of more than half of them is not the median: both are dropped, and the
    next value comes in.
    """
    some, rest = values[: len(values) // 2 + 2], values[len(values) // 2 + 2 :]
    while len(some) > 1:
        for i in range(len(some) // 2):  # the lesser of each two to the first half, the greater to the second
            j = len(some) - 1 - i
            some[i], some[j] = torch.minimum(some[i], some[j]), torch.maximum(some[i], some[j])
        for i in range(1, (len(some) + 1) // 2):
            some[0], some[i] = torch.minimum(some[0], some[i]), torch.maximum(some[0], some[i])
        for i in range(len(some) // 2, len(some) - 1):
            some[i], some[-1] = torch.minimum(some[i], some[-1]), torch.maximum(some[i], some[-1])
        some = some[1:-1] + rest[:1]
        rest = rest[1:]
    return some[0]


def _central(frames: Tensor, dim: int) -> Tensor:
    """Half the difference of the neighbours N, H, W along a dimension; a border is its own neighbour."""
    length = frames.shape[dim]
    after = frames.narrow(dim, min(1, length - 1), max(1, length - 1))
    last, start = frames.narrow(dim, length - 1, 1), frames.narrow(dim, 0, 1)
    if length == 1:
        return torch.zeros_like(frames)
    before = frames.narrow(dim, 0, length - 1)
    return (torch.cat([after, last], dim) - torch.cat([start, before], dim)) / 2


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Images N, C, H, W at the places where `flow` leads, bicubic, 0 outside.

    OpenCV 5 does the same; OpenCV 4 rounds the places to 1/32 of a pixel.
    """
    height, width = images.shape[-2:]
    x = torch.arange(width, device=images.device) + flow[:, 0]
    y = torch.arange(height, device=images.device)[:, None] + flow[:, 1]
    places = []
    for place, size in (
        (x, width),
        (y, height),
    ):  # grid_sample takes -1 to 1 from the first pixel's middle to the last's
        places.append(place.double() * (2 / max(1, size - 1)) - 1)
    # In float32 a place would be off by 1e-5 pixels, and a picture that stands still would begin to move at its border.
    grid = torch.stack(places, dim=-1)
    warped = grid_sample(images.double(), grid, mode="bicubic", padding_mode="zeros", align_corners=True)
    return warped.float()
