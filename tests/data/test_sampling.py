import ast
from dataclasses import asdict

import numpy as np
import pytest
from src.config import ROOT, ClipSpec
from src.data import sampling
from src.data.sampling import centre_clip, consecutive_clips, random_clip, random_segments, segments


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


def spec(frames: int = 4, stride: int = 1, how: str = "dense", fps: float | None = None) -> ClipSpec:
    return ClipSpec(frames, stride, 8, (8, 8), False, how, fps)


@pytest.mark.parametrize(("frames", "length"), [(16, 16), (100, 16), (101, 8), (7, 3), (5, 8), (1, 4)])
def test_segments_take_one_frame_of_each_equal_part(frames, length):
    edges = np.arange(length + 1) * frames // length
    seen = [set() for _ in range(length)]
    for seed in range(600):
        clip = random_segments(frames, length, np.random.default_rng(seed))
        for part, index in zip(seen, clip.tolist(), strict=True):
            part.add(index)
    for i, part in enumerate(seen):
        assert part == set(range(edges[i], max(edges[i] + 1, edges[i + 1])))  # every frame of the part, and no other
    (centre,) = segments(frames, length)
    assert all(index in part for index, part in zip(centre.tolist(), seen, strict=True))


def test_segments_of_testing():
    assert segments(12, 4).tolist() == [[1, 4, 7, 10]]
    assert segments(16, 4, 2).tolist() == [[1, 5, 9, 13], [3, 7, 11, 15]]
    assert segments(3, 4).tolist() == [[0, 0, 1, 2]]
    clip = spec(how="segments")
    assert sampling.testing_clips(12, 0.0, clip).tolist() == [[1, 4, 7, 10]]
    assert sampling.testing_clips(16, 0.0, clip, 2).shape == (2, 4)
    assert sampling.validation_clip(12, 0.0, clip).tolist() == [1, 4, 7, 10]
    drawn = sampling.training_clip(12, 0.0, clip, np.random.default_rng(3))
    assert [index // 3 for index in drawn] == [0, 1, 2, 3]


def test_a_target_frame_rate_sees_the_same_moments_whatever_the_rate_of_the_video():
    seconds = 8
    for fps in (12.5, 25.0, 30.0, 29.97, 60.0, 7.0):
        clip = sampling.validation_clip(int(seconds * fps), fps, spec(8, 2, fps=12.5))
        times = (clip - clip[0]) / fps
        expected = np.arange(8) * 2 / 12.5
        assert (times <= expected + 1e-6).all() and (expected - times < 1 / fps + 1e-6).all(), fps
    assert sampling.validation_clip(100, 25.0, spec(4, 3, fps=25.0)).tolist() == centre_clip(100, 4, 3).tolist()
    assert sampling.validation_clip(100, 50.0, spec(4, 3, fps=25.0)).tolist() == centre_clip(100, 4, 6).tolist()


def test_test_clips_at_a_target_rate_follow_one_another():
    clips = sampling.testing_clips(100, 30.0, spec(5, 1, fps=20.0))  # 1.5 frames apart
    assert clips[0].tolist() == [0, 1, 3, 4, 6]
    assert (np.diff(clips[:, 0]) >= 7).all() and (np.diff(clips[:, 0]) <= 8).all()
    assert 84 < clips.max() < 100


@pytest.mark.parametrize("fps", [0.0, float("nan")])
def test_a_target_rate_needs_the_rate_of_the_video(fps):
    with pytest.raises(ValueError, match="need the rate"):
        sampling.validation_clip(100, fps, spec(fps=25.0))
    assert sampling.validation_clip(100, fps, spec()).tolist() == [48, 49, 50, 51]


@pytest.mark.parametrize(
    "clip", [spec(), spec(6, 2), spec(8, 1, fps=12.5), spec(5, 2, fps=20.0), spec(7, how="segments")]
)
@pytest.mark.parametrize("frames", [1, 5, 16, 100])
def test_the_script_for_onnx_files_takes_the_same_frames(clip, frames):
    """docs/onnx_predict.py stands alone, and may use nothing of this project."""
    tree = ast.parse((ROOT / "docs" / "onnx_predict.py").read_text())
    own = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "clips_of"]
    script = {"np": np}
    exec(compile(ast.Module(own, []), "onnx_predict", "exec"), script)
    found = script["clips_of"](frames, 30.0, asdict(clip))
    assert np.array_equal(np.stack(found), sampling.testing_clips(frames, 30.0, clip))
