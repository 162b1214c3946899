import numpy as np
import pytest
import torch
from src.config import ClipSpec
from src.data.pixels import resized
from src.data.transforms import (
    Crop,
    centre_crop,
    check_size,
    crop_sizes,
    crops_for_testing,
    cutting,
    multi_scale_crop,
    native_window,
    virtual_size,
)
from src.errors import UserError

from tests.tiny import SCALES

PAPER = ClipSpec(8, 1, 224, (340, 256), False)


def test_the_papers_crop_sizes():
    assert set(sum(crop_sizes((340, 256), 224, SCALES), ())) == {256, 224, 192, 168}
    assert (256, 192) not in crop_sizes((340, 256), 224, SCALES)  # two scales apart
    assert len(crop_sizes((340, 256), 224, SCALES)) == 10
    assert 112 in sum(crop_sizes((170, 128), 112, SCALES), ())


@pytest.mark.parametrize(("size", "crop"), [((340, 256), 224), ((170, 128), 112), ((60, 97), 56), ((56, 56), 56)])
def test_every_training_crop_is_inside_at_one_of_13_places(size, crop):
    rng = np.random.default_rng(0)
    places = {}
    for _ in range(4000):
        window = multi_scale_crop(size, crop, rng, SCALES, flip=True)
        assert window.left >= 0 and window.left + window.width <= size[0]
        assert window.top >= 0 and window.top + window.height <= size[1]
        places.setdefault((window.width, window.height), set()).add((window.left, window.top))
    assert set(places) == set(crop_sizes(size, crop, SCALES))
    for (width, height), found in places.items():
        assert len(found) <= 13
        if size[0] - width >= 4 and size[1] - height >= 4:
            assert len(found) == 13
            assert {(0, 0), (size[0] - width, size[1] - height)} <= found


def test_flip_can_be_switched_off():
    rng = np.random.default_rng(0)
    flips = [multi_scale_crop((340, 256), 224, rng, SCALES, flip=True).flip for _ in range(400)]
    assert 140 < sum(flips) < 260
    assert not any(multi_scale_crop((340, 256), 224, rng, SCALES, flip=False).flip for _ in range(50))


@pytest.mark.parametrize("native", [(320, 240), (17, 240), (1920, 1080), (64, 300)])
@pytest.mark.parametrize("keep", [False, True])
def test_native_windows_are_inside_and_not_empty(native, keep):
    size = virtual_size(native, ClipSpec(8, 1, 224, (340, 256), keep))
    rng = np.random.default_rng(0)
    for window in [
        *(multi_scale_crop(size, 224, rng, SCALES, True) for _ in range(200)),
        *crops_for_testing(size, 224, 10),
    ]:
        left, top, right, bottom = native_window(window, size, native)
        assert 0 <= left < right <= native[0] and 0 <= top < bottom <= native[1]


def test_keep_aspect_brings_the_short_side_to_the_height():
    spec = ClipSpec(8, 1, 112, (170, 128), True)
    assert virtual_size((640, 480), spec) == (171, 128)
    assert virtual_size((480, 640), spec) == (128, 171)
    assert virtual_size((640, 480), PAPER) == (340, 256)


def test_crops_for_testing():
    assert crops_for_testing((340, 256), 224, 1) == [centre_crop((340, 256), 224)] == [Crop(58, 16, 224, 224)]
    assert [c.left for c in crops_for_testing((340, 256), 224, 3)] == [0, 58, 116]
    assert [c.top for c in crops_for_testing((256, 340), 224, 3)] == [0, 58, 116]
    ten = crops_for_testing((340, 256), 224, 10)
    assert len(set(ten)) == 10 and sum(c.flip for c in ten) == 5
    assert {(c.left, c.top) for c in ten} == {(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)}
    with pytest.raises(ValueError, match="1, 3 and 10"):
        crops_for_testing((340, 256), 224, 5)


def cut(frames, window, size, crop):
    """One crop of frames (T, H, W, C), C, T, H, W."""
    clip = ClipSpec(8, 1, crop, size, False)
    found = cutting([window], (frames.shape[2], frames.shape[1]), clip)
    (view,) = found.views(resized(frames, found.box, found.size))
    return view


def test_cut_at_native_size_is_a_plain_slice():
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    clip = cut(frames, Crop(4, 2, 16, 16), (30, 20), 16)
    assert clip.shape == (3, 3, 16, 16) and clip.dtype == torch.uint8 and clip.is_contiguous()
    assert np.array_equal(clip.numpy(), frames[:, 2:18, 4:20].transpose(3, 0, 1, 2))
    mirrored = cut(frames, Crop(4, 2, 16, 16, True), (30, 20), 16)
    assert torch.equal(mirrored, clip.flip(-1))


def test_mirrored_flow_runs_the_other_way():
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 2), dtype=np.uint8)
    plain = cut(frames, Crop(0, 0, 16, 16), (16, 16), 16)
    mirrored = cut(frames, Crop(0, 0, 16, 16, True), (16, 16), 16)
    assert torch.equal(mirrored[0], 255 - plain[0].flip(-1)) and torch.equal(mirrored[1], plain[1].flip(-1))


def test_cut_is_near_resize_then_crop():
    ramp = np.add.outer(np.arange(240), np.arange(320)) * 255 // 560
    frames = np.repeat(ramp[None, :, :, None].astype(np.uint8), 3, -1)
    clip = cut(frames, Crop(58, 16, 224, 224), (340, 256), 224)[:, 0].float()
    x, y = (torch.arange(224) + 58.5) * 320 / 340 - 0.5, (torch.arange(224) + 16.5) * 240 / 256 - 0.5
    assert (clip - (x[None] + y[:, None]) * 255 / 560).abs().max() < 2.0


@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("number", [3, 10])
def test_several_crops_share_frames_that_are_resized_once(number, flow):
    frames = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 2 if flow else 3), dtype=np.uint8)
    clip = ClipSpec(8, 1, 64, (128, 96), False)
    crops = crops_for_testing((128, 96), 64, number)
    found = cutting(crops, (64, 48), clip)
    top, bottom = (0, 96) if number == 10 else (16, 80)  # three crops are as high as one
    assert found.box == (0, top // 2, 64, bottom // 2) and found.size == (128, bottom - top)
    whole = resized(frames, found.box, found.size)
    views = found.views(whole)
    assert views.shape == (number, 2 if flow else 3, 2, 64, 64) and not found.is_whole
    for crop, view in zip(crops, views, strict=True):
        want = whole[..., crop.top - top : crop.top - top + 64, crop.left : crop.left + 64]
        if crop.flip:
            want = want[..., ::-1].copy()
            if flow:
                want[0] = 255 - want[0]
        assert np.array_equal(view, want), crop


def test_too_small_to_crop():
    check_size("x.mp4", (320, 28), PAPER)
    with pytest.raises(UserError, match=r"x\.mp4: 320x20 pixels are too small for a crop of 224.*at least 28"):
        check_size("x.mp4", (320, 20), PAPER)
