"""TV-L1 in PyTorch beside OpenCV's, and what must hold of any flow."""

import cv2
import numpy as np
import pytest
import torch
from src.data.torch_flow import torch_flow
from src.data.tvl1 import How, Settings, _median, settings_of, shrink, tvl1, warp
from src.errors import MachineError, UserError

FAST = {"warps": 2, "innnerIterations": 10, "outerIterations": 1, "scaleStep": 0.5}
PRESETS = [{}, FAST, {**FAST, "gamma": 0.1}, {**FAST, "medianFiltering": 3}, {**FAST, "scaleStep": 0.7, "tau": 0.2}]


def noise(shape, seed, blur):
    picture = np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(picture, (0, 0), blur), None, 20, 235, cv2.NORM_MINMAX)


def moving_ground(height, width, seed, motion=(1.3, -0.7)):
    """Two frames of blurred noise that moves by `motion` (x, y)."""
    ground = noise((height + 40, width + 40), seed, 2.5)
    y, x = np.mgrid[:height, :width].astype(np.float32) + 20
    frames = [cv2.remap(ground, x - t * motion[0], y - t * motion[1], cv2.INTER_CUBIC) for t in range(2)]
    return [frame.clip(0, 255).round().astype(np.uint8) for frame in frames]


def scene(height, width, seed):
    """Two frames with a disk that turns and moves before a moving ground, a shadow, and a camera's noise."""
    rng = np.random.default_rng(seed)
    ground = moving_ground(height, width, seed)
    near = noise((height + 40, width + 40), seed + 1, 1.5)
    frames = []
    for t in range(2):
        y, x = np.mgrid[:height, :width].astype(np.float32)
        x, y = x - width / 2 - 3 * t, y - height / 2 - 2 * t
        cos, sin = np.cos(0.04 * t), np.sin(0.04 * t)
        places = cos * x - sin * y + width / 2 + 20, sin * x + cos * y + height / 2 + 20
        disk = cv2.remap(near, *(np.float32(place) for place in places), cv2.INTER_CUBIC)
        frame = np.where(np.hypot(x, y) < height / 4, disk, ground[t]) * (1 - 0.1 * t * (x > 0))
        frames.append((frame + rng.normal(0, 2, frame.shape)).clip(0, 255).astype(np.uint8))
    return frames


def by_opencv(first, second, options):
    return cv2.optflow.DualTVL1OpticalFlow_create(**options).calc(first, second, None)


def by_pytorch(first, second, options, how=How()):  # noqa: B008 - it cannot change
    frames = (torch.from_numpy(frame)[None] for frame in (first, second))
    return tvl1(*frames, settings_of(options), how)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("options", PRESETS, ids=str)
@pytest.mark.parametrize("make", [moving_ground, scene])
@pytest.mark.parametrize("size", [(96, 128), (61, 83), (17, 23)])
def test_flow_is_opencvs(size, make, options):
    first, second = make(*size, seed=3)
    apart = np.linalg.norm(by_pytorch(first, second, options) - by_opencv(first, second, options), axis=-1)
    # Where the disk hides the ground any flow will do; one iteration more or less, by a rounding, gives another.
    most = np.percentile(apart, 97 if make is scene else 99)
    assert apart.mean() < 0.02 and most < 0.1, (apart.mean(), most)


@pytest.mark.parametrize("size", [(3, 3), (4, 9), (15, 40), (40, 15), (16, 16)])
def test_tiny_pictures(size):
    first, second = moving_ground(*size, seed=1)
    assert np.abs(by_pytorch(first, second, FAST) - by_opencv(first, second, FAST)).max() < 0.1


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (2, 2)])
def test_pictures_too_small_for_a_slope_have_some_flow(size):
    first, second = moving_ground(*size, seed=1)
    flow = by_pytorch(first, second, {})
    assert flow.shape == (*size, 2) and np.isfinite(flow).all()


def test_motion_of_a_texture_is_found():
    for motion in ((2.0, 0.0), (0.0, -3.0), (-1.5, 1.0)):
        first, second = moving_ground(64, 96, seed=5, motion=motion)
        inner = by_pytorch(first, second, FAST)[12:-12, 12:-12]
        assert np.abs(np.median(inner, axis=(0, 1)) - motion).max() < 0.1


@pytest.mark.parametrize("gamma", [0.0, 0.1])
def test_pictures_without_texture_do_not_move(gamma):
    for level in (0, 128, 255):
        flat = np.full((40, 50), level, np.uint8)
        assert not by_pytorch(flat, flat, {**FAST, "gamma": gamma}).any()
        other = np.full((40, 50), 90, np.uint8)
        assert np.isfinite(by_pytorch(flat, other, {**FAST, "gamma": gamma})).all()


@pytest.mark.parametrize("size", [(40, 50), (51, 67)])
def test_pictures_that_stand_still_do_not_move_at_all(size):
    first, _ = moving_ground(*size, seed=2)
    for options in ({}, FAST):
        assert not by_pytorch(first, first, options).any()


@pytest.mark.parametrize("options", [{"warps": 2, "nscales": 3}, FAST])
def test_a_batch_is_its_pairs_one_by_one(options):
    flat = np.full((40, 56), 99, np.uint8)
    pairs = [
        moving_ground(40, 56, 0),
        scene(40, 56, 1),
        [flat, flat],
        scene(40, 56, 2),
        moving_ground(40, 56, 3, (4, 0)),
    ]
    first, second = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
    alone = np.stack([by_pytorch(*pair, options) for pair in pairs])
    for look in (1, 4, 7):  # with looks that come late, and that do not divide the number of iterations
        together = tvl1(first, second, settings_of(options), How(look=look)).permute(0, 2, 3, 1).numpy()
        assert np.abs(together - alone).max() < 1e-5, look


@pytest.mark.slow
def test_compiled_operations_give_the_same():
    first, second = scene(40, 56, 1)
    plain, fused = (by_pytorch(first, second, FAST, How(compiled=compiled)) for compiled in (False, True))
    assert np.abs(plain - fused).max() < 1e-3


def test_the_steps_are_opencvs():
    picture = noise((61, 83), 0, 1.2)
    motion = np.random.default_rng(0).normal(0, 3, (2, 61, 83)).astype(np.float32)
    y, x = np.mgrid[:61, :83].astype(np.float32)
    expected = cv2.remap(picture, x + motion[0], y + motion[1], cv2.INTER_CUBIC)
    got = warp(torch.from_numpy(picture)[None, None], torch.from_numpy(motion)[None])[0, 0].numpy()
    assert np.abs(got - expected).max() < (0.01 if cv2.__version__ >= "5" else 3)  # OpenCV 4 rounds the places
    for step in (0.8, 0.5, 0.7):
        expected = cv2.resize(picture, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        got = shrink(torch.from_numpy(picture)[None, None], step)[0, 0].numpy()
        assert got.shape == expected.shape and np.abs(got - expected).max() < 0.05
    for count in (1, 9, 25):
        values = torch.from_numpy(np.random.default_rng(count).integers(0, 9, (count, 500)).astype(np.float32))
        assert torch.equal(_median(list(values)), values.median(0).values)


def test_settings_are_opencvs_with_their_ranges():
    made = cv2.optflow.DualTVL1OpticalFlow_create()
    ours = Settings()
    assert (made.getTau(), made.getLambda(), made.getTheta()) == pytest.approx((ours.tau, ours.lambda_, ours.theta))
    assert (made.getScalesNumber(), made.getWarpingsNumber()) == (ours.nscales, ours.warps)
    assert (made.getInnerIterations(), made.getOuterIterations()) == (ours.inner_iterations, ours.outer_iterations)
    for wrong in (
        {"wraps": 3}, {"warps": 0}, {"warps": "2"}, {"theta": 0}, {"scaleStep": 1.0}, {"medianFiltering": 4},
        {"tau": float("nan")}, {"useInitialFlow": True}, {"scaleStep": 0.5, "scale_step": 0.6},
    ):  # fmt: skip
        with pytest.raises(UserError, match=r"flow\.settings") as caught:
            torch_flow("cpu", wrong)
        assert "\n" not in str(caught.value)


def test_frames_of_a_video_in_batches():
    ground = noise((40, 80), 1, 2.0)
    frames = [ground[:, t : t + 50].astype(np.uint8) for t in range(6)]
    one_by_one, by_two = (np.stack(list(torch_flow("cpu", FAST, batch)(frames))) for batch in (None, 2))
    assert one_by_one.shape == (5, 40, 50, 2) and np.abs(one_by_one - by_two).max() < 1e-5
    assert list(torch_flow("cpu", FAST)(frames[:1])) == list(torch_flow("cpu", FAST)([])) == []


def test_a_gpu_that_is_not_there_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError, match=r"flow\.device=cuda: this machine has no GPU.*flow\.device=cpu") as caught:
        torch_flow("cuda", {})
    assert "\n" not in str(caught.value)
