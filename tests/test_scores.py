import numpy as np
import pytest
import torch
from src.errors import UserError
from src.recognition import VideoScores
from src.scores import Scores


def make(scores: list[list[float]], labels: list[int], videos: list[str] | None = None) -> Scores:
    names = videos or [f"v{i}" for i in range(len(labels))]
    classes = [f"c{i}" for i in range(len(scores[0]))]
    return Scores(
        classes, names, np.array(labels), np.array(scores, dtype=np.float32), np.ones(len(labels), dtype=np.int64)
    )


def test_metrics_by_hand() -> None:
    scores = make([[3, 2, 1, 0], [3, 2, 1, 0], [0, 1, 2, 3], [0, 3, 1, 2]], [0, 1, 0, 3])
    metrics = scores.metrics()
    assert metrics["top1"] == 25.0
    assert metrics["top3"] == 75.0  # all but the third, whose label comes last
    assert "top5" not in metrics  # four classes: top-5 would be 100 by definition
    # class 0: 1 of 2, class 1: 0 of 1, class 3: 0 of 1, class 2 does not occur
    assert metrics["mean_class"] == pytest.approx(100 * 0.5 / 3, abs=1e-3)


def test_confusion_counts_true_by_predicted() -> None:
    matrix = make([[1, 0], [1, 0], [0, 1]], [0, 1, 1]).confusion()
    assert matrix.tolist() == [[1, 0], [1, 1]]


def test_round_trip(tmp_path) -> None:
    scores = make([[1, 2, 3], [4, 5, 6]], [0, 2], ["a b;c.avi", "ü/x.mp4"])
    scores.save(tmp_path / "deep" / "s.npz")
    again = Scores.load(tmp_path / "deep" / "s.npz")
    assert again.videos == scores.videos
    assert again.classes == scores.classes
    assert np.array_equal(again.scores, scores.scores)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["s.npz"]


def test_two_streams_are_summed_per_video_whatever_their_order() -> None:
    rgb = make([[1, 0], [0, 1]], [0, 1], ["a", "b"])
    flow = make([[0, 5], [5, 0]], [1, 0], ["b", "a"])
    both = rgb + flow
    assert both.videos == ["a", "b"]
    assert both.scores.tolist() == [[6, 0], [0, 6]]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make([[1, 0]], [0], ["a"]), "differ in 1 videos"),
        (make([[1, 0], [1, 0]], [1, 1], ["a", "b"]), "labels"),
        (make([[1, 0, 0], [1, 0, 0]], [0, 1], ["a", "b"]), "classes"),
    ],
)
def test_streams_that_do_not_belong_together_are_refused(other: Scores, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make([[1, 0], [0, 1]], [0, 1], ["a", "b"]) + other


def test_missing_score_file_is_told(tmp_path) -> None:
    with pytest.raises(UserError, match="no score file"):
        Scores.load(tmp_path / "none.npz")


def test_views_are_averaged_and_repeated_videos_change_nothing() -> None:
    once, twice = VideoScores(3, 2), VideoScores(3, 2)
    logits = torch.randn(2, 4, 2)  # N V K
    once.add(torch.tensor([0, 2]), logits)
    for _ in range(2):  # as a sampler that pads does
        twice.add(torch.tensor([0, 2]), logits)
    seen = once.views > 0
    assert seen.tolist() == [True, False, True]
    mean = once.sums[seen] / once.views[seen, None]
    assert torch.allclose(mean, logits.mean(1), atol=1e-6)
    assert torch.allclose(twice.sums[seen] / twice.views[seen, None], mean, atol=1e-6)


def test_views_may_come_in_chunks() -> None:
    whole, parts = VideoScores(1, 3), VideoScores(1, 3)
    logits = torch.randn(1, 7, 3)
    whole.add(torch.tensor([0]), logits)
    for chunk in logits.split(3, dim=1):
        parts.add(torch.tensor([0]), chunk)
    assert torch.allclose(whole.sums, parts.sums, atol=1e-6)
    assert torch.equal(whole.views, parts.views)
