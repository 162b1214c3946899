"""What the clips of the embedded data set show: a textured shape that makes two short motions in either order.

Sizes are in pixels of a 56 × 56 frame, from which other sizes are scaled; colours are 0..255.
"""

from dataclasses import dataclass

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
    level = np.float32(rng.uniform(2, 8))  # of the noise
    noisy = [clip + rng.standard_normal(clip.shape, dtype=np.float32) * level for clip in clips]
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
    """Centre x and y, radius (pixels), angle (radians) and light (a factor) in each frame: T,5."""
    unit = size / 56
    time = np.arange(duration) - (duration - 1) / 2
    speed = rng.uniform(0.75, 1.25)
    radius = np.full(duration, rng.uniform(11, 15) * unit)
    angle = np.full(duration, rng.uniform(0, 2 * np.pi))
    light = np.ones(duration)
    shift = np.zeros((2, duration))  # x to the right, y down
    match motion:
        case "left" | "right":
            shift[0] = time * speed * (2.6 if motion == "right" else -2.6) * unit
        case "up" | "down":
            shift[1] = time * speed * (2.6 if motion == "down" else -2.6) * unit
        case "grow" | "shrink":
            radius = radius * np.exp(time * speed * (0.11 if motion == "grow" else -0.11))
        case "brighten" | "darken":
            light = np.exp(time * speed * (0.15 if motion == "brighten" else -0.15))
            light /= light.max()
        case _:
            raise ValueError(f"no motion {motion!r}")
    shift += rng.normal(0, 0.2 * unit, shift.shape)
    margin = np.abs(shift).max(axis=1) + 0.8 * radius.max()  # 0.8: a little of the shape may leave the picture
    place = rng.uniform(np.minimum(margin, size / 2), np.maximum(size - margin, size / 2))
    return np.stack([*(shift + place[:, None]), radius, angle, light], axis=1).astype(np.float32)


def _shape(rng: np.random.Generator) -> Shape:
    bright = rng.uniform(150, 255, 3)  # brighter than most of the ground, in both colours
    colours = np.stack([bright * rng.uniform(0.6, 0.85), bright]).astype(np.float32)
    return Shape(
        lobes=int(rng.integers(2, 6)),
        depth=float(rng.uniform(0, 0.3)),
        stretch=float(rng.uniform(0.65, 0.9)),
        pattern=int(rng.integers(0, 3)),
        period=float(rng.uniform(0.6, 0.9)),
        colours=colours,
    )


def _draw(ground: Array, shape: Shape, path: Array) -> Array:
    """The shape on its path over the ground: H,W,3 and T,5 → T,H,W,3."""
    size = len(ground)
    centre_x, centre_y, radius, angle, light = (column[:, None, None] for column in path.T)
    grid = np.arange(size, dtype=np.float32)
    x, y = (grid[None, None, :] - centre_x) / radius, (grid[None, :, None] - centre_y) / radius  # T,H,W together
    cos, sin = np.cos(angle), np.sin(angle)
    u, v = cos * x + sin * y, (cos * y - sin * x) / np.float32(shape.stretch)  # in the shape's own coordinates
    edge = 1 + np.float32(shape.depth) * np.cos(shape.lobes * np.arctan2(v, u))
    cover = np.clip((edge - np.hypot(u, v)) * radius + 0.5, 0, 1)[..., None]  # soft over about a pixel
    wave = np.float32(2 * np.pi / shape.period)
    pattern = (  # stripes, checks, a half in each colour
        np.sin(wave * u) if shape.pattern == 0 else np.sin(wave * u) * np.sin(wave * v) if shape.pattern == 1 else u
    )
    mix = np.clip(pattern * 3 + 0.5, 0, 1)[..., None]
    painted = shape.colours[0] * mix + shape.colours[1] * (1 - mix)
    drawn: Array = ground * (1 - cover) + painted * light[..., None] * cover
    return drawn


def _background(rng: np.random.Generator, size: int) -> Array:
    """A still ground H,W,3 in 0..255: a gradient with stripes, checks, soft clouds or speckle."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, size, dtype=np.float32)] * 2, indexing="ij")
    turn = rng.uniform(0, 2 * np.pi)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    wave = rng.uniform(4, 20)
    kind = rng.integers(0, 5)
    if kind == 0:
        pattern = np.sin(wave * u)
    elif kind == 1:
        pattern = np.sin(wave * u) * np.sin(wave * v)
    elif kind == 2:  # clouds: a few random waves
        waves = rng.normal(0, 5, (6, 2))
        phases = rng.uniform(0, 2 * np.pi, 6)
        pattern = sum(np.sin(a * x + b * y + c) for (a, b), c in zip(waves, phases, strict=True)) / 3
    elif kind == 3:
        coarse = rng.normal(0, 0.6, (size // 4 + 1, size // 4 + 1))
        pattern = np.kron(coarse, np.ones((4, 4)))[:size, :size]
    else:
        pattern = np.zeros_like(u)
    base, slope, tint = rng.uniform(20, 100, 3), rng.normal(0, 15, 3), rng.normal(0, 15, 3)
    ground = base + u[..., None] * slope + np.asarray(pattern)[..., None] * tint
    clipped: Array = np.clip(ground, 0, 255).astype(np.float32)
    return clipped
