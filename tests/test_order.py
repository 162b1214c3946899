"""Order sensitivity of a test: over videos and views, and in the records."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from src.data.annotations import Video
from src.models.pooling.average import Average
from src.models.pooling.head import Head, tokens
from src.models.recognizer import Recognizer
from src.runs import records
from src.runs.records import Order, Results
from src.training.order import sentences
from src.training.recognition import Recognition
from torch import Tensor

from tests.models.configured import bert
from tests.models.toy import Toy
from tests.training_runs import own_videos, train

CLASSES, VIDEOS, VIEWS = 3, 12, 2


class Step(Head):
    """Reads the third time step and nothing else."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, feature_map: Tensor) -> Tensor:
        return tokens(feature_map)[:, 2]


def recognition(head: Callable[..., Head], frames: int, channels: tuple[int, ...] = (CLASSES,)) -> Recognition:
    torch.manual_seed(0)
    recognizer = Recognizer(
        Toy(channels, CLASSES),
        head,
        fusion="late",
        frames=frames,
        num_classes=CLASSES,
        dropout=0.5,
        mean=[0.0] * CLASSES,
        std=[1.0] * CLASSES,
    )
    videos = {"test": [Video(path=str(i), label=i % CLASSES, group=str(i), name=str(i)) for i in range(VIDEOS)]}
    names = [f"class {label}" for label in range(CLASSES)]
    return Recognition(recognizer, names, videos, torch.optim.SGD, None, None, 0, True, test_order=True)


def outcome_of(module: Recognition, clips: Tensor) -> Order:
    """The order sensitivity over clips (videos, views, C, T, H, W)."""
    batches: list[dict[str, Any]] = [
        {"clip": clip[None], "label": torch.tensor([i % CLASSES]), "video_id": torch.tensor([i])}
        for i, clip in enumerate(clips)
    ]
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", devices=1, enable_model_summary=False, **silent)
    trainer.test(module, torch.utils.data.DataLoader(batches, batch_size=None), verbose=False)
    assert module.order is not None
    return module.order


def test_a_head_that_reads_one_step() -> None:
    """The class stands in the third step: hiding it leaves a guess, hiding another one nothing; so with shuffles."""
    module = recognition(Step, frames=4)
    with torch.no_grad():  # the network hands the channels on
        module.recognizer.backbone.convs[0].weight.copy_(torch.eye(CLASSES).view(CLASSES, CLASSES, 1, 1, 1))
        module.recognizer.backbone.convs[0].bias.zero_()
        module.recognizer.classifier.weight.copy_(torch.eye(CLASSES))
    clips = torch.zeros(VIDEOS, VIEWS, CLASSES, 4, 4, 4)
    for video in range(VIDEOS):
        clips[video, :, video % CLASSES, 2] = 1
    order = outcome_of(module, clips)
    guess, lost = round(100 / CLASSES, 4), VIDEOS - VIDEOS // CLASSES
    assert (order.steps, order.top1) == (4, 100)
    assert [one.steps for one in order.hidden] == [[0], [1], [2], [3]]
    assert [one.top1 for one in order.hidden] == [100, 100, guess, 100]
    assert order.hidden[2].p == pytest.approx(2 / 2**lost)
    assert (order.hidden[2].only_true, order.hidden[2].only_changed) == (lost, 0)
    assert order.shuffled is not None and order.reversed is not None
    assert len(order.shuffled.draws) == 20
    for draw in order.shuffled.draws:
        assert (draw.top1, draw.drop) == ((100, 0) if draw.steps[2] == 2 else (guess, round(100 - 100 / CLASSES, 4)))
        assert draw.p == (1 if draw.steps[2] == 2 else order.hidden[2].p)
    kept = sum(draw.steps[2] == 2 for draw in order.shuffled.draws)
    assert order.shuffled.top1 == pytest.approx((100 * kept + guess * (20 - kept)) / 20, abs=1e-3)
    assert order.shuffled.drop == pytest.approx(100 - order.shuffled.top1, abs=1e-3)
    assert order.shuffled.p == order.hidden[2].p
    assert (order.reversed.steps, order.reversed.top1) == ([3, 2, 1, 0], guess)
    said = "\n".join(sentences(order))
    assert "20 draws" in said and "hidden: 100.00, 100.00, 33.33, 100.00 %" in said


@pytest.mark.parametrize("channels", [(7,), (5, 3)])
def test_average_pooling_loses_exactly_nothing(channels: tuple[int, ...]) -> None:
    """Scores are so close that the last bit would decide."""
    module = recognition(Average, frames=8, channels=channels)
    order = outcome_of(module, 1e4 + 1e-3 * torch.rand(VIDEOS, VIEWS, CLASSES, 8, 4, 4))
    assert order.shuffled is not None and order.reversed is not None
    assert (order.shuffled.top1, order.shuffled.deviation) == (order.top1, 0)
    assert (order.shuffled.drop, order.shuffled.p) == (0, 1)
    for one in (*order.shuffled.draws, order.reversed):
        assert (one.top1, one.drop, one.only_true, one.only_changed, one.p) == (order.top1, 0, 0, 0, 1)
    assert len(order.hidden) == order.steps == 8 // 2 ** (len(channels) - 1)


def test_the_true_order_is_the_test_itself() -> None:
    module = recognition(bert, frames=4, channels=(8,))
    clips = torch.rand(VIDEOS, VIEWS, CLASSES, 4, 4, 4)
    order = outcome_of(module, clips)
    assert module.result is not None and order.top1 == module.result.metrics()["top1"]
    with torch.no_grad():
        logits = module.recognizer.eval()(clips.flatten(0, 1))  # N V … → NV …
    expected = logits.unflatten(0, (VIDEOS, VIEWS)).mean(1)  # NV K → N V K → N K
    torch.testing.assert_close(torch.from_numpy(module.result.scores), expected, atol=1e-5, rtol=1e-5)


def test_one_time_step_leaves_nothing_to_shuffle() -> None:
    order = outcome_of(recognition(bert, frames=1, channels=(8,)), torch.rand(VIDEOS, VIEWS, CLASSES, 1, 4, 4))
    assert (order.steps, order.shuffled, order.reversed, order.hidden) == (1, None, None, [])
    (sentence,) = sentences(order)
    assert "one time step" in sentence


def test_a_run_writes_it(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, results = train([*own_videos(tree), "recipe.epochs=1", "test.order=true"], tmp_path / "run")
    assert records.read(folder.results, Results) == results
    assert results.order is not None and results.metrics is not None
    assert results.order.top1 == results.metrics["top1"]
    assert len(results.order.hidden) == results.order.steps == 4
    assert "time steps shuffled" in capsys.readouterr().out
