"""What is frozen stays as it is, bit by bit, and all the rest learns."""

from pathlib import Path

import pytest
import torch
from src.build import build_recognizer
from src.errors import UsageError, UserError
from src.models.pooling.head import Head
from src.models.recognizer import Recognizer
from src.training import loop
from torch import Tensor, nn

from tests.frozen.made import close, unfilled, warm, words
from tests.models.test_every_pair import composed
from tests.tiny import CLASSES, CROP, FRAMES, models, networks, options
from tests.training_runs import assert_same, cut, train, weights
from tests.training_runs import composed as whole

POOLINGS, MODELS = options("pooling"), models()
NETWORKS = networks()
CLIP = torch.randint(0, 256, (2, 3, FRAMES, CROP, CROP), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def network(model: str, pooling: str, reduction: str | None = None, **freeze: str | None) -> Recognizer:
    cfg = composed(model, pooling).copy()
    cfg.freeze = {"kind": "backbone", "last": None, **freeze}
    cfg.reduction.kind = reduction or cfg.reduction.kind
    torch.manual_seed(0)
    return warm(build_recognizer(cfg, CLASSES))


def step(recognizer: Recognizer) -> dict[str, Tensor]:
    """The state before two steps in training mode."""
    before = {name: value.clone() for name, value in recognizer.state_dict().items()}
    learning = [parameter for parameter in recognizer.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=1e-3, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(recognizer.train()(CLIP), torch.tensor([0, 1])).backward()
        optimizer.step()
    return before


def is_frozen(name: str) -> bool:
    return name.startswith("backbone.") and not name.startswith("backbone.reduction.")


def check(model: str, pooling: str, reduction: str | None = None) -> None:
    recognizer = network(model, pooling, reduction)
    before = step(recognizer)
    for name, value in recognizer.state_dict().items():
        if is_frozen(name):
            assert torch.equal(value, before[name]), f"{name} has changed"
        elif before[name].any():  # weight decay moves all but zeros
            assert not torch.equal(value, before[name]), f"{name} has not learnt"
    for name, module in recognizer.backbone.named_modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.training == name.startswith("reduction.")

    recognizer.eval()
    expected = recognizer(CLIP)
    maps = recognizer.trunk(CLIP)
    assert close(recognizer.classify(maps), expected)
    assert recognizer.tokens == (not recognizer.reads_maps())
    if recognizer.tokens:
        assert all(one.shape[3:] == (1, 1) for one in maps)
        recognizer.tokens = False
        assert close(recognizer(CLIP), expected)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("model", NETWORKS)
def test_every_backbone_with_every_head(model: str, pooling: str) -> None:
    check(model, pooling)


@pytest.mark.slow
@pytest.mark.parametrize("reduction", [kind for kind in options("reduction") if kind != "paper"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("model", NETWORKS)
def test_every_reduction(model: str, pooling: str, reduction: str) -> None:
    try:
        network(model, pooling, reduction)
    except UserError:
        pytest.skip("no such pair")
    check(model, pooling, reduction)


@pytest.mark.parametrize("model", ["i3d", "resnext101", "slowfast"])
def test_a_reduction_learns_from_the_map_in_front_of_it(model: str) -> None:
    plain, appended, replacing = (network(model, "bert", kind) for kind in ("none", "frab", "frmb"))
    assert [one.shape for one in appended.trunk(CLIP)] == [one.shape for one in plain.trunk(CLIP)[:1]] + [
        one.shape for one in appended.trunk(CLIP)[1:]
    ]
    assert not appended.tokens and not replacing.tokens
    blocks = len(list(plain.backbone.stages[-1].modules()))
    assert len(list(replacing.backbone.stages[-1].modules())) < blocks


@pytest.mark.parametrize("model", MODELS)
def test_stages_up_to_a_name(model: str) -> None:
    names = list(network(model, "average").backbone.parts())
    assert names[0] == "stem" and names[-1] == f"stage{len(names) - 1}"
    for number, last in enumerate(names, 1):
        recognizer = network(model, "average", kind="stages", last=last).train()
        assert not recognizer.tokens
        for position, modules in enumerate(recognizer.backbone.parts().values()):
            for module in modules:
                assert all(p.requires_grad == (position >= number) for p in module.parameters()), last
                assert all(one.training == (position >= number) for one in module.modules()), last
        assert all(p.requires_grad for p in recognizer.pooling.parameters())


def test_stages_learn_behind_the_last_frozen_one() -> None:
    recognizer = network("slowfast", "average", kind="stages", last="stage1")
    before = step(recognizer)
    fixed = {id(p) for name in ("stem", "stage1") for m in recognizer.backbone.parts()[name] for p in m.parameters()}
    for name, parameter in recognizer.named_parameters():
        assert torch.equal(parameter, before[name]) == (id(parameter) in fixed), name


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ({"kind": "stages", "last": "stage9"}, "freeze.last=stage9: it takes one of stem, stage1, stage2"),
        ({"kind": "stages", "last": None}, "freeze.last has no value; it takes one of stem, stage1, stage2"),
        ({"kind": "none", "last": "stage1"}, "give freeze=stages freeze.last=stage1, or leave it out"),
        ({"kind": "backbone", "last": "stage1"}, "only freeze=stages ends at a part, and this is freeze=backbone"),
    ],
)
def test_a_wrong_part_is_one_line(freeze: dict[str, str | None], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        network("tiny", "average", **freeze)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_new_head_gets_whole_maps_unless_it_says_that_tokens_will_do() -> None:
    class Peak(Head):
        def forward(self, feature_map: Tensor) -> Tensor:
            return feature_map.amax(dim=(2, 3, 4))

    assert Peak().reads_maps


# Whole runs


def test_random_weights_are_told(videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    unfilled(words(videos, tmp_path))
    assert "freeze=backbone with weights=none: what is frozen are random weights" in caplog.text


ON_TOKENS = ("recipe.mixup=0.8", "recipe.repeats=2", "recipe.sampling=balanced", "recipe.ema=0.9", "recipe.warmup=2")


@pytest.mark.parametrize(
    "more",
    [(), ON_TOKENS, pytest.param(("features.cache=false",), marks=pytest.mark.slow)],
    ids=["", "recipe", "clips"],
)
def test_resuming_is_exact_and_the_backbone_is_never_touched(
    more: tuple[str, ...], videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = words(videos, tmp_path / "features", "recipe.epochs=3", "pooling=bert", *more)
    calm, _ = train(own, tmp_path / "calm")
    with cut(monkeypatch, 1, 1):
        train(own, tmp_path / "cut")
    again, _ = train(own, tmp_path / "cut")
    assert_same(again, calm)
    state = torch.load(calm.last, weights_only=True)
    learning = [
        name for name in state["state_dict"] if name.startswith(("recognizer.pooling", "recognizer.classifier"))
    ]
    assert len(state["optimizer_states"][0]["param_groups"][0]["params"]) == len(learning)
    module, _ = loop.assemble(whole((*own, f"run_dir={tmp_path}/calm")).copy())
    for name, value in module.recognizer.backbone.state_dict().items():
        assert torch.equal(value, weights(calm)[f"recognizer.backbone.{name}"]), name


@pytest.mark.parametrize(("pause", "epoch"), [(0, 1), (1e9, 0)])
def test_checkpoints_may_pause_and_resuming_stays_exact(
    pause: float, epoch: int, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an epoch costs less than its checkpoint, last.ckpt is written now and then, and after the last epoch."""
    own = words(videos, tmp_path / "features", "recipe.epochs=3")
    monkeypatch.setattr(loop, "PAUSE_S", 0)
    calm, _ = train(own, tmp_path / "calm")
    monkeypatch.setattr(loop, "PAUSE_S", pause)
    with cut(monkeypatch, 2, None):
        train(own, tmp_path / "cut")
    assert torch.load(tmp_path / "cut" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == epoch
    again, _ = train(own, tmp_path / "cut")
    assert torch.load(again.last, weights_only=True)["epoch"] == 2
    assert_same(again, calm)
