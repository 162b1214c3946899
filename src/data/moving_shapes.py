"""What the clips of the embedded data set show: a textured shape that makes two short motions in either order.

Sizes are in pixels of a 56 × 56 frame, from which other sizes are scaled; colours are 0..255.

The same key gives the same pixels on every machine: random numbers are drawn as integers or with `rng.random`, and
computed with + - × / and square roots only, whose results IEEE 754 fixes. Sines, exponentials and normal variates
differ in the last bit between processors, so waves, growth and noise are made from sums and products.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAIRS = (
    ("left", "right"),
    ("up", "down"),
    ("grow", "shrink"),
    ("brighten", "darken"),
)
CLASSES = tuple(f"{a}_{b}" for first, second in PAIRS for a, b in ((first, second), (second, first)))
PAUSE = 6  # frames between the motions, at least
LEAD = 4  # frames before the first and after the second motion, at least
SHORTEST = 5  # frames a motion takes, at least
FEWEST = 2 * (LEAD + SHORTEST) + PAUSE + 2  # frames a clip has, at least

Array = NDArray[np.float32]
Double = NDArray[np.float64]
Real = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Shape:
    """Radius over the angle, 1 + sum of harmonics, and a two-coloured pattern in the shape's own coordinates."""

    lobes: int
    depth: float
    stretch: float
    pattern: int
    period: float
    colours: Array  # 2,3 in 0..255


def twins(pair: int, key: list[int], frames: int, size: int) -> list[NDArray[np.uint8]]:
    """One group's clips T,H,W,3, of the classes 2·pair and 2·pair + 1; the same key gives the same pixels."""
    rng = np.random.default_rng(key)
    clips = scenes(pair, rng, frames, size)
    level = np.float32(_uniform(rng, 2, 8))  # standard deviation of the noise
    noisy = [clip + _noise(rng, clip.shape) * level for clip in clips]
    return [np.clip(clip + 0.5, 0, 255).astype(np.uint8) for clip in noisy]


def scenes(pair: int, rng: np.random.Generator, frames: int, size: int) -> list[Array]:
    """The same ground, shape and motions in both orders, without noise: two clips T,H,W,3 in 0..255."""
    ground = _background(rng, size)
    shape = _shape(rng)
    gaps, durations = _timing(rng, frames)
    motions = [
        _draw(ground, shape, _path(rng, motion, duration, size))
        for motion, duration in zip(PAIRS[pair], durations, strict=True)
    ]
    still = [np.repeat(ground[None], gap, axis=0) for gap in gaps]
    return [np.concatenate([still[0], first, still[1], second, still[2]]) for first, second in (motions, motions[::-1])]


def _timing(rng: np.random.Generator, frames: int) -> tuple[list[int], list[int]]:
    """Frames before, between and after the motions, and the frames of the two motions.

    Each motion starts at an even or odd frame with the same chance, whatever the other does: to a network with a
    temporal stride of 2 even the phase says nothing about the order.
    """
    busy = frames - 2 * LEAD - PAUSE
    longest = (busy - 2) // 2
    durations = [int(rng.integers(max(SHORTEST, longest - 2), longest + 1)) for _ in range(2)]
    spare = busy - sum(durations)  # 2 or more
    choices = (spare // 2 + 1) // 2 * 2  # an even number, so that odd and even are equally likely
    before, between = (int(extra) for extra in rng.integers(0, choices, 2))
    return [LEAD + before, PAUSE + between, LEAD + spare - before - between], durations


def _path(rng: np.random.Generator, motion: str, duration: int, size: int) -> Array:
    """Centre x and y, radius (pixels), cosine and sine of the angle, light (a factor) in each frame: T,6."""
    unit = size / 56
    time = np.arange(duration) - (duration - 1) / 2
    speed = _uniform(rng, 0.75, 1.25)
    radius = np.full(duration, _uniform(rng, 11, 15) * unit)
    cos, sin = _direction(rng)
    light = np.ones(duration)
    shift = np.zeros((2, duration))  # x to the right, y down
    match motion:
        case "left" | "right":
            shift[0] = time * speed * (2.6 if motion == "right" else -2.6) * unit
        case "up" | "down":
            shift[1] = time * speed * (2.6 if motion == "down" else -2.6) * unit
        case "grow":
            radius = radius * _growth(0.116 * speed, duration)
        case "shrink":
            radius = radius * _growth(0.116 * speed, duration)[::-1]
        case "brighten":
            light = _growth(0.162 * speed, duration)
        case "darken":
            light = _growth(0.162 * speed, duration)[::-1]
        case _:
            raise ValueError(f"no motion {motion!r}")
    light = light / light.max()
    shift += _normal(rng, 0.2 * unit, shift.shape)
    margin = np.abs(shift).max(axis=1) + 0.8 * radius.max()  # 0.8: a little of the shape may leave the picture
    low, high = np.minimum(margin, size / 2), np.maximum(size - margin, size / 2)
    place = low + (high - low) * rng.random(2)
    turn = np.full((2, duration), [[cos], [sin]])
    return np.stack([*(shift + place[:, None]), radius, *turn, light], axis=1).astype(np.float32)


def _growth(rate: float, duration: int) -> Double:
    """Factors that grow by `rate` from frame to frame; first × last is 1."""
    powers = np.cumprod(np.full(duration, 1 + rate))
    factors: Double = powers / np.sqrt(powers[0] * powers[-1])
    return factors


def _shape(rng: np.random.Generator) -> Shape:
    bright = _uniform(rng, 150, 255, 3)  # brighter than most of the ground, in both colours
    colours = np.stack([bright * _uniform(rng, 0.6, 0.85), bright]).astype(np.float32)
    return Shape(
        lobes=int(rng.integers(2, 6)),
        depth=float(_uniform(rng, 0, 0.3)),
        stretch=float(_uniform(rng, 0.65, 0.9)),
        pattern=int(rng.integers(0, 3)),
        period=float(_uniform(rng, 0.6, 0.9)),
        colours=colours,
    )


def _draw(ground: Array, shape: Shape, path: Array) -> Array:
    """The shape on its path over the ground: H,W,3 and T,6 → T,H,W,3."""
    size = len(ground)
    centre_x, centre_y, radius, cos, sin, light = (column[:, None, None] for column in path.T)
    grid = np.arange(size, dtype=np.float32)
    x, y = (grid[None, None, :] - centre_x) / radius, (grid[None, :, None] - centre_y) / radius  # T,H,W together
    u, v = cos * x + sin * y, (cos * y - sin * x) / np.float32(shape.stretch)  # in the shape's own coordinates
    distance = np.sqrt(u * u + v * v)
    edge = 1 + np.float32(shape.depth) * _lobes(u, v, distance, shape.lobes)
    cover = np.clip((edge - distance) * radius + 0.5, 0, 1)[..., None]  # soft over about a pixel
    turns = np.float32(1 / shape.period)
    match shape.pattern:
        case 0:
            pattern = _wave(turns * u)  # stripes
        case 1:
            pattern = _wave(turns * u) * _wave(turns * v)  # checks
        case _:
            pattern = u  # a half in each colour
    mix = np.clip(pattern * 3 + 0.5, 0, 1)[..., None]
    painted = shape.colours[0] * mix + shape.colours[1] * (1 - mix)
    drawn: Array = ground * (1 - cover) + painted * light[..., None] * cover
    return drawn


def _lobes(u: Array, v: Array, distance: Array, number: int) -> Real:
    """The cosine of `number` times the angle of (u, v): the real part of the unit vector's power."""
    nonzero = np.maximum(distance, np.float32(1e-6))
    cos, sin = u / nonzero, v / nonzero
    real: Real = cos
    imaginary: Real = sin
    for _ in range(number - 1):
        real, imaginary = real * cos - imaginary * sin, real * sin + imaginary * cos
    return real


def _background(rng: np.random.Generator, size: int) -> Array:
    """A still ground H,W,3 in 0..255: a gradient with stripes, checks, soft clouds or speckle."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")
    cos, sin = _direction(rng)
    u, v = cos * x + sin * y, cos * y - sin * x
    turns = _uniform(rng, 0.6, 3.2)
    kind = rng.integers(0, 5)
    pattern = np.zeros_like(u)
    if kind == 0:
        pattern = _wave(turns * u)
    elif kind == 1:
        pattern = _wave(turns * u) * _wave(turns * v)
    elif kind == 2:  # clouds: a few random waves
        for a, b, phase in zip(*_normal(rng, 0.8, (2, 6)), rng.random(6), strict=True):
            pattern = pattern + _wave(a * x + b * y + phase) / 3
    elif kind == 3:
        coarse = _normal(rng, 0.6, (size // 4 + 1, size // 4 + 1))
        pattern = coarse.repeat(4, axis=0).repeat(4, axis=1)[:size, :size]
    base, slope, tint = _uniform(rng, 20, 100, 3), _normal(rng, 15, (3,)), _normal(rng, 15, (3,))
    ground = base + u[..., None] * slope + pattern[..., None] * tint
    clipped: Array = np.clip(ground, 0, 255).astype(np.float32)
    return clipped


# --- numbers that are the same on every machine ----------------------------------------------------------------


def _uniform(rng: np.random.Generator, low: float, high: float, count: int | None = None) -> Any:
    return low + (high - low) * rng.random(count)


def _normal(rng: np.random.Generator, deviation: float, shape: tuple[int, ...]) -> Double:
    """Close to normal: the sum of twelve uniform numbers, whose variance is 1."""
    total = rng.integers(0, 1 << 16, (12, *shape)).sum(axis=0)
    variates: Double = (total / (1 << 16) - 6) * deviation
    return variates


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Close to normal with variance 1: the sum of four random bytes, which is fast to draw."""
    draws = np.frombuffer(rng.bytes(4 * math.prod(shape)), np.uint8).reshape(4, *shape)
    total = draws.sum(axis=0, dtype=np.int16)
    variates: Array = (total - np.float32(4 * 127.5)) / np.float32(147.8)  # 147.8² = 4 · (256² - 1) / 12
    return variates


def _direction(rng: np.random.Generator) -> tuple[float, float]:
    """A random unit vector."""
    turn = rng.random()
    x, y = _wave(turn + 0.25), _wave(turn)
    length = np.sqrt(x * x + y * y)
    return float(x / length), float(y / length)


def _wave(turns: Any) -> Any:
    """Like sin(2π · turns), from two parabolas a period; off by 0.06 at most."""
    phase = turns - np.floor(turns + 0.5)  # -0.5..0.5
    return 8 * phase - 16 * phase * np.abs(phase)
