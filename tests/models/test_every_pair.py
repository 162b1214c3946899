"""Every model with every head and every reduction, as conf/ offers them, at small size.

A new model, head or reduction is tested here without an edit: its YAML file is found.
"""

import functools
import textwrap

import pytest
import torch
from src.build import build_recognizer
from src.build.compose import compose
from src.errors import UserError

from tests.tiny import CLASSES, CROP, FRAMES, models, networks, options, tiny

REDUCTIONS = [kind for kind in options("reduction") if kind != "paper"]


@functools.cache
def composed(model, pooling, modality="rgb"):
    return compose([*tiny(model), f"pooling={pooling}", f"modality={modality}"])


def check(recognizer, in_channels=3):
    """What every recognizer keeps to."""
    torch.manual_seed(0)
    clip = torch.randint(0, 256, (2, in_channels, FRAMES, CROP, CROP), dtype=torch.uint8)
    backbone = recognizer.backbone

    maps = recognizer.features(clip)
    assert tuple(m.shape[1] for m in maps) == tuple(backbone.channels)
    assert tuple(m.shape[2] for m in maps) == tuple(backbone.lengths(FRAMES))
    assert recognizer.pooling.out_channels == recognizer.classifier.in_features

    logits = recognizer.train()(clip)
    assert logits.shape == (2, CLASSES) and logits.dtype == torch.float32
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    for name, parameter in recognizer.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), f"{name} has no gradient"

    recognizer.eval()
    expected = recognizer(clip)
    assert torch.equal(recognizer(clip), expected)
    assert not torch.equal(recognizer(clip.flip(0)), expected)
    with torch.inference_mode():
        torch.testing.assert_close(recognizer(clip), expected, atol=1e-5, rtol=1e-4)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert recognizer(clip).isfinite().all()
    output = recognizer.bfloat16()(clip)
    assert output.dtype == torch.bfloat16 and output.isfinite().all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("pooling", options("pooling"))
@pytest.mark.parametrize("model", networks())
def test_every_pair(model, pooling, reduction):
    cfg = composed(model, pooling).copy()
    cfg.reduction.kind = reduction
    try:
        recognizer = build_recognizer(cfg)
    except UserError as error:  # refused, by name and with what would work
        assert reduction != "none"
        assert f"reduction={reduction}" in str(error) and "none" in str(error) and "\n" not in str(error)
        return
    check(recognizer)


@pytest.mark.parametrize("model", models())
def test_paper_reduction_is_the_default_and_always_possible(model):
    for pooling in options("pooling"):
        cfg = composed(model, pooling)
        assert cfg.reduction.kind == cfg.model.reduction[cfg.pooling.input]
        build_recognizer(cfg)


@pytest.mark.parametrize("model", models())
def test_flow(model):
    check(build_recognizer(composed(model, "bert", "flow")), in_channels=2)


@pytest.mark.parametrize("model", networks())
@torch.no_grad()
def test_the_order_of_feature_maps_matters_to_the_heads_that_say_so(model):
    torch.manual_seed(0)
    for pooling in options("pooling"):
        recognizer = build_recognizer(composed(model, pooling)).eval()
        maps = [torch.rand(2, c, t, 2, 2) for c, t in zip(*sizes(recognizer), strict=True)]
        flipped = [m.flip(2) for m in maps]
        same = torch.allclose(recognizer.pooling(maps), recognizer.pooling(flipped), atol=1e-5)
        assert same != recognizer.pooling.sees_order or recognizer.steps == 1, pooling


def sizes(recognizer):
    return recognizer.backbone.channels, recognizer.backbone.lengths(FRAMES)


HEAD = """
    import torch
    from src.models.pooling.head import Head
    from torch import Tensor, nn


    class Peak(Head):
        def __init__(self, channels: int, length: int, hidden: int = 8) -> None:
            super().__init__()
            self.linear = nn.Linear(channels, hidden)
            self.out_channels = hidden

        def forward(self, feature_map: Tensor) -> Tensor:
            return self.linear(feature_map.amax(dim=(2, 3, 4)))
    """
YAML = """
    name: peak
    fusion: late
    input: reduced
    head: {_target_: peak_head.Peak, _partial_: true, hidden: 8}
    dropout: ${recipe.dropout.head}
    """


def test_a_new_head_is_one_file_and_one_yaml(tmp_path, monkeypatch):
    (tmp_path / "peak_head.py").write_text(textwrap.dedent(HEAD))
    (tmp_path / "pooling").mkdir(parents=True)
    (tmp_path / "pooling" / "peak.yaml").write_text(textwrap.dedent(YAML))
    monkeypatch.setenv("LATE_PLUGINS", str(tmp_path))

    assert options("pooling", tmp_path) == ["peak"]  # so the tests above would find it
    for model in networks():
        recognizer = build_recognizer([*tiny(model), "pooling=peak"])
        check(recognizer)

    recognizer = recognizer.float().train()
    recognizer.dropout.p = 0.0
    optimizer = torch.optim.AdamW(recognizer.parameters(), lr=1e-2)
    clip = torch.randint(0, 256, (4, 3, FRAMES, CROP, CROP), dtype=torch.uint8)
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(recognizer(clip), torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
