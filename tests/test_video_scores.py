"""Scores as they are gathered while a network is tested."""

import torch
from src.training.recognition import VideoScores


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
