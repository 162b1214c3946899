"""Augmentation: one draw for all frames of a clip, nothing drawn from training's own generator, flow stays flow."""

import numpy as np
import pytest
import torch
from src.data.augmentation import FOR_FLOW, GREY, OF_ALL_VALUES, Augmentation, RandAugment
from src.data.dataset import Clips
from src.data.sampler import Place
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from tests.data.test_dataset import SPEC, Source
from tests.data.test_dataset import lists as lists  # a fixture


def still(seed: int = 0, channels: int = 3, frames: int = 5, side: int = 24) -> torch.Tensor:
    """One view, C, T, H, W, whose frames are all the same picture."""
    picture = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (channels, side, side), dtype=np.uint8))
    return picture[None, :, None].expand(1, channels, frames, side, side).contiguous()


def frames_of(clip: torch.Tensor) -> list[torch.Tensor]:
    return list(clip[0].unbind(1))


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng([7, seed])


@pytest.mark.parametrize("channels", [2, 3])
def test_all_frames_of_a_clip_are_changed_alike(channels: int) -> None:
    augment = Augmentation(2, 15, 0.5, flow=channels == 2)
    changed = 0
    for seed in range(60):
        clip = augment(still(channels=channels), rng(seed))
        assert clip.dtype == torch.uint8 and clip.shape == (1, channels, 5, 24, 24) and clip.is_contiguous()
        first, *others = frames_of(clip)
        assert all(torch.equal(first, other) for other in others)
        changed += not torch.equal(clip, still(channels=channels))
    assert changed > 20


def test_it_is_torchvisions_own_of_each_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """What RandAugment and RandomErasing make of a single frame from the same draw is what the clip's frame is."""
    moving = torch.cat([still(seed) for seed in range(5)], dim=2)[:, :, ::5].contiguous()
    space = v2.RandAugment._AUGMENTATION_SPACE
    by_frame = {name: value for name, value in space.items() if name not in OF_ALL_VALUES}
    monkeypatch.setattr(v2.RandAugment, "_AUGMENTATION_SPACE", by_frame)
    augment = Augmentation(2, 9, 1.0)
    for seed in range(20):
        clip = augment(moving, rng(seed))
        for before, after in zip(frames_of(moving), frames_of(clip), strict=True):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(rng(seed).integers(2**63)))
                alone = before
                for step in (
                    v2.RandAugment(2, 9, interpolation=v2.InterpolationMode.BILINEAR, fill=GREY),
                    v2.RandomErasing(1.0, value=GREY),
                ):
                    alone = step(alone)
            assert torch.equal(after, alone)


@pytest.mark.parametrize("operation", OF_ALL_VALUES)
def test_what_depends_on_all_pixels_changes_equal_values_alike_in_all_frames(
    operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip that brightens goes on to do so: frame by frame, equalising would make all of its frames the same."""
    space = {operation: v2.RandAugment._AUGMENTATION_SPACE[operation]}
    monkeypatch.setattr(v2.RandAugment, "_AUGMENTATION_SPACE", space)
    grey = still().float().mean(1, keepdim=True).expand(-1, 3, -1, -1, -1)  # one channel's values
    brightening = (grey / 2 + 20 * torch.arange(5).view(1, 1, 5, 1, 1)).byte()
    for seed in range(4):
        changed = Augmentation(1, 15, 0)(brightening, rng(seed))
        assert not torch.equal(changed, brightening)
        levels = changed.float().mean((0, 1, 3, 4))
        assert bool((levels.diff() > 3).all())
        for value in brightening.unique():
            assert len(changed[brightening == value].unique()) == 1


def test_erasing_takes_the_same_rectangle_from_all_frames() -> None:
    augment = Augmentation(0, 9, 1.0)
    for seed in range(30):
        before = still(seed).clamp(max=GREY - 1)
        after = augment(before, rng(seed))
        grey = (after == GREY).all(1)[0]  # T H W
        assert torch.equal(grey[0], grey[-1]) and 0 < grey[0].sum() <= 0.4 * 24 * 24
        rows, columns = grey[0].any(1), grey[0].any(0)
        assert torch.equal(grey[0], rows[:, None] & columns[None])  # a rectangle
        assert torch.equal(after[:, :, ~grey], before[:, :, ~grey])


def test_flow_is_only_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(RandAugment(2, 9, flow=True)._AUGMENTATION_SPACE) == set(FOR_FLOW)
    assert set(RandAugment(2, 9, flow=False)._AUGMENTATION_SPACE) > {"Color", "Rotate", *FOR_FLOW}
    for seed in range(20):
        before = still(seed, channels=2)
        after = Augmentation(1, 15, 0, flow=True)(before, rng(seed))
        moved = []
        for axis in (-1, -2):
            for by in range(-6, 7):
                shift = [by if axis == -1 else 0, by if axis == -2 else 0]
                moved.append(functional.affine(before[0], 0.0, shift, 1.0, [0.0, 0.0], fill=GREY))
        assert any(torch.equal(after[0], one) for one in moved)


def test_the_draw_is_the_clips_own_and_leaves_training_alone() -> None:
    augment = Augmentation(2, 15, 0.5)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    clips = [augment(still(), rng(seed)) for seed in (1, 2, 1)]
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(clips[0], clips[2]) and not torch.equal(clips[0], clips[1])


def test_only_training_clips_are_augmented(lists) -> None:
    def clip(train: bool, augmentation: Augmentation | None, place: Place) -> torch.Tensor:
        clips = Clips(lists.train, Source(SPEC), train, 0, True, (1.0, 0.75), augmentation=augmentation)
        return clips[place].clip

    everything = Augmentation(3, 20, 1.0)
    for place in (Place(0, 1), Place(3, 2, 1)):
        assert torch.equal(clip(False, everything, place), clip(False, None, place))
        assert torch.equal(clip(True, Augmentation(0, 9, 0.0), place), clip(True, None, place))
        assert not torch.equal(clip(True, everything, place), clip(True, None, place))
        assert torch.equal(clip(True, everything, place), clip(True, everything, place))
