"""Why a network says what it says: numbers that can be checked by hand, and the files that predict writes."""

import functools
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from matplotlib.image import imread
from src import predict
from src.models.pooling.average import Average
from src.models.pooling.concat import Concat
from src.models.pooling.head import Head, tokens
from src.models.pooling.nonlocal_concat import NonLocalConcat
from src.models.recognizer import Recognizer
from src.prediction import explanation
from torch import Tensor

from tests.conftest import write_video
from tests.models.configured import bert_with
from tests.models.toy import Toy
from tests.networks import export, random_network
from tests.small_runs import exit_of
from tests.tiny import tiny

FRAMES = 8
CONCAT = functools.partial(Concat, hidden=None)


class First(Head):
    """Sees the first time step alone."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, feature_map: Tensor) -> Tensor:
        return tokens(feature_map)[:, 0]


def network(head: object, channels: tuple[int, ...] = (16,), fusion: str = "late") -> Recognizer:
    torch.manual_seed(0)
    normal = {"mean": [0.45] * 3, "std": [0.225] * 3}
    made = Recognizer(
        Toy(channels),
        head,  # type: ignore[arg-type]
        fusion=fusion,
        frames=FRAMES,
        num_classes=4,
        dropout=0.5,
        **normal,
    )
    torch.nn.init.normal_(made.classifier.bias)
    return made.eval().requires_grad_(False)


@pytest.fixture
def clip() -> Tensor:
    return torch.randint(0, 256, (3, FRAMES, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("channels", [(16,), (16, 8)])
def test_the_parts_of_average_pooling_sum_to_the_score(clip: Tensor, channels: tuple[int, ...]) -> None:
    made = network(Average, channels)
    features = made.features(clip[None])
    for label in range(4):
        parts = explanation.contributions(made, features, label)
        assert [part.shape for part in parts] == [feature_map.shape[2:] for feature_map in features]
        expected = made(clip[None])[0, label] - made.classifier.bias[label]
        torch.testing.assert_close(torch.stack([part.sum() for part in parts]).sum(), expected)
        cut = explanation.grad_cam(made, features, label)
        for part, one in zip(parts, cut, strict=True):
            np.testing.assert_array_equal(one, part.clamp(min=0).numpy())


def test_a_map_shows_where_the_evidence_is() -> None:
    """Channel 0 is redness and speaks for class 2: the map is brightest where and when something red is."""
    made = network(Average)
    made.backbone.convs[0].weight.zero_()  # type: ignore[index, union-attr, operator]
    made.backbone.convs[0].weight[0, 0] = 1.0  # type: ignore[index, union-attr, operator]
    made.classifier.weight[2, 0] = 3.0
    clip = torch.zeros(3, FRAMES, 12, 12, dtype=torch.uint8)
    clip[0, 5, 8:, 2:4] = 255
    (found,) = explanation.explain(made, clip, 2, ["gradcam"]).maps
    time, row, column = np.unravel_index(found.argmax(), found.shape)
    assert (time, column) == (5, 1)
    assert row >= 4


@pytest.mark.parametrize("head", [Average, CONCAT, bert_with(heads=4)])
def test_a_randomised_network_gives_another_map(clip: Tensor, head: object) -> None:
    made = network(head)
    before, drops = signed_map(made, clip), explanation.explain(made, clip, 1, ["occlusion"]).drops[0]
    np.testing.assert_array_equal(signed_map(made, clip), before)
    torch.manual_seed(1)
    for module in (made.classifier, made.backbone):  # from the top down (Adebayo et al., 2018)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        after = signed_map(made, clip)
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] < 0.9
        before = after
    assert not np.allclose(drops, explanation.explain(made, clip, 1, ["occlusion"]).drops[0], atol=1e-3)


def signed_map(made: Recognizer, clip: Tensor) -> np.ndarray:
    """Grad-CAM before its negative parts are cut off, which may be all."""
    return explanation.contributions(made, made.features(clip[None]), 1)[0].numpy()


def test_a_step_that_the_head_cannot_see_changes_nothing(clip: Tensor) -> None:
    (drops,) = explanation.explain(network(First), clip, 1, ["occlusion"]).drops
    assert drops.shape == (FRAMES,)
    assert drops[0] != 0
    assert (drops[1:] == 0).all()


def test_drops_are_those_of_the_definition(clip: Tensor) -> None:
    made = network(CONCAT)
    (read,) = made.features(clip[None])
    (drops,) = explanation.explain(made, clip, 3, ["occlusion"]).drops
    for step in range(FRAMES):
        others = [index for index in range(FRAMES) if index != step]
        changed = read.clone()
        changed[:, :, step] = read[:, :, others].mean(2)
        expected = made(clip[None])[0, 3] - made.decide([changed])[0, 3]
        assert drops[step] == pytest.approx(expected.item(), abs=1e-5)


def test_steps_of_one_head_are_hidden_while_the_others_see_all(clip: Tensor) -> None:
    made = network(First, (16, 8))
    slow, fast = explanation.explain(made, clip, 0, ["occlusion"]).drops
    assert (len(slow), len(fast)) == (FRAMES, FRAMES // 2)
    assert np.flatnonzero(slow).tolist() == np.flatnonzero(fast).tolist() == [0]
    (joined,) = explanation.explain(network(CONCAT, (16, 8), "early"), clip, 0, ["occlusion"]).drops
    assert len(joined) == FRAMES // 2


def test_attention_is_that_of_every_layer_and_head(clip: Tensor) -> None:
    made = network(bert_with(heads=4, layers=2), (16, 8))
    found = explanation.explain(made, clip, 0)
    assert [weights.shape for weights in found.attention] == [(2, 4, 9, 9), (2, 4, 5, 5)]
    for weights in found.attention:
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert found.score == pytest.approx(made(clip[None])[0, 0].item(), rel=1e-5)
    assert found.probability == pytest.approx(made(clip[None]).softmax(1)[0, 0].item(), rel=1e-5)
    assert explanation.explain(network(Average), clip, 0).attention == []


def test_a_frozen_trunk_shows_its_maps(clip: Tensor) -> None:
    made = network(Average)
    expected = explanation.explain(made, clip, 0).maps[0]
    made.tokens = True  # as `freeze` does for heads that read tokens
    np.testing.assert_allclose(explanation.explain(made, clip, 0).maps[0], expected, rtol=1e-4, atol=1e-6)
    assert made.tokens


def test_the_network_that_is_explained_is_the_one_that_was_asked(clip: Tensor) -> None:
    """A head that looks at positions, and was trained on tokens, is no other head when it is explained."""
    made = network(functools.partial(NonLocalConcat, inner=None, hidden=None))
    torch.nn.init.ones_(made.pooling.heads[0].block.norm.weight)  # else the block is the identity
    made.tokens = True  # features.keep=tokens
    found = explanation.explain(made, clip, 0)
    assert found.score == pytest.approx(made(clip[None])[0, 0].item(), rel=1e-5)
    assert found.maps[0].shape[1:] == (1, 1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained") / "net.safetensors"
    export(random_network(*tiny("slowfast"), "pooling=bert_late_fusion"), "safetensors", out)
    return out


def look(file: Path, *words: str) -> int:
    return exit_of(predict.COMMAND, predict.predict, f"run={file}", *words)


def test_predict_writes_a_picture_a_video_and_the_numbers(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "a video.mp4", 40, g="8", bf="0")
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    why = tmp_path / "why"
    words = [f"video={video}", f"video={bad}", "explain=attention,occlusion,gradcam", f"out={why}"]
    assert look(file, *words) == 1
    assert "bad.mp4" in capsys.readouterr().err
    names = [f"a video.mp4.explained.{kind}" for kind in ("json", "mp4", "npz", "png")]
    assert sorted(path.name for path in why.iterdir()) == names
    said = json.loads((why / names[0]).read_text())
    assert said["class"].startswith("class ")
    assert len(said["frames"]) == 16
    assert [len(drop) for drop in said["drop_without_step"]] == [2, 8]
    assert np.shape(said["attention_of_class_token"][1]) == (1, 8, 8)
    with np.load(why / names[2]) as arrays:
        assert arrays["attention_0"].shape == (1, 8, 3, 3)
        assert arrays["gradcam_1"].shape[0] == 8
        np.testing.assert_allclose(arrays["drops_1"], said["drop_without_step"][1], atol=1e-4)
    assert imread(why / names[3]).shape[1] > 1000
    with av.open(str(why / names[1])) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 16
    assert pictures[0].shape[1] == 3 * 224


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["explain=occlusion"], 2, "out=FOLDER"),
        (["explain=magic", "out=why"], 2, "choose from attention, occlusion, gradcam"),
        (["explain=occlusion", "out=why", "windows=true"], 2, "windows=true"),
        (["explain=occlusion", "out=a.csv"], 1, "is a file"),
        (["explain=occlusion", "out=no/where"], 1, "there is no folder"),
        (["explain=occlusion", "out=why", "run=FILE"], 2, "one network"),
    ],
)
def test_mistakes_are_one_line(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("")
    assert look(file, "video=v.mp4", *[word.replace("FILE", str(file)) for word in words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
