import numpy as np
import pytest
from src.data.sampling import centre_clip, consecutive_clips, random_clip


@pytest.mark.parametrize("frames", [1, 5, 16, 31, 32, 100])
@pytest.mark.parametrize("stride", [1, 2])
def test_random_clip_is_equally_spaced_and_inside(frames, stride):
    starts = set()
    for seed in range(1000):
        clip = random_clip(frames, 16, stride, np.random.default_rng(seed))
        assert clip.min() >= 0 and clip.max() < frames
        assert ((np.diff(clip) - stride) % frames == 0).all()
        starts.add(int(clip[0]))
    latest = max(0, frames - (15 * stride + 1))
    assert starts == set(range(latest + 1))


def test_short_video_starts_over():
    assert random_clip(3, 8, 1, np.random.default_rng(0)).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert centre_clip(3, 4, 2).tolist() == [0, 2, 1, 0]


def test_centre_clip():
    assert centre_clip(10, 4, 1).tolist() == [3, 4, 5, 6]
    assert centre_clip(10, 4, 3).tolist() == [0, 3, 6, 9]


def test_consecutive_clips_cover_without_overlap_and_drop_the_rest():
    assert consecutive_clips(11, 4, 1).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert consecutive_clips(12, 4, 1).shape == (3, 4)
    assert consecutive_clips(3, 4, 1).tolist() == [[0, 1, 2, 0]]
    assert consecutive_clips(11, 2, 3).tolist() == [[0, 3], [6, 9]]


def test_limit_spreads_evenly():
    assert consecutive_clips(40, 4, 1, limit=1)[:, 0].tolist() == [20]
    assert consecutive_clips(40, 4, 1, limit=2)[:, 0].tolist() == [8, 28]
    assert len(consecutive_clips(40, 4, 1, limit=99)) == 10


@pytest.mark.parametrize("arguments", [(0, 4, 1), (4, 0, 1), (4, 4, 0)])
def test_nothing_to_sample(arguments):
    with pytest.raises(ValueError, match="1 or more"):
        centre_clip(*arguments)
