"""Components that cannot be made of their options are refused in one line, before data is touched."""

from typing import Any

import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from pytorch_lightning.plugins.precision import MixedPrecision
from src.build.compose import compose
from src.build.network import measure_network, skeleton
from src.command_line.hydra import composed
from src.errors import UsageError, UserError
from src.training.loop import make_trainer, refusals_named
from src.training.recipe import check_recipe

from tests.tiny import networks, options, tiny

WRONG = ("abc", "", -1, 0, 2.5, True, None, [], ["x"], [1, 2, 3], [[1]], float("nan"), float("inf"), {"a": 1})


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("model", networks())
def test_whatever_a_backbone_is_given_it_is_built_or_refused(model: str) -> None:
    """Also by its constructor alone: options of one's own have no declared range."""
    cfg = compose([*tiny(model), "pooling=bert"])
    OmegaConf.set_struct(cfg, False)
    for name in [str(name) for name in cfg.model.backbone if not str(name).startswith("_")]:
        _is_built_or_refused(cfg, f"model.backbone.{name}")


@pytest.mark.parametrize("pooling", options("pooling"))
def test_whatever_a_head_is_given_it_is_built_or_refused(pooling: str) -> None:
    cfg = compose([*tiny("tiny"), f"pooling={pooling}"])
    OmegaConf.set_struct(cfg, False)
    for name in [str(name) for name in cfg.pooling.head if not str(name).startswith("_")]:
        _is_built_or_refused(cfg, f"pooling.head.{name}")


def _is_built_or_refused(cfg: Any, option: str) -> None:
    kept = OmegaConf.select(cfg, option)
    for wrong in WRONG:
        OmegaConf.update(cfg, option, wrong, merge=False)
        try:
            skeleton(cfg, 5)
        except UserError as error:
            assert "\n" not in str(error)
    OmegaConf.update(cfg, option, kept, merge=False)


@pytest.mark.parametrize(
    "words",
    [
        ["+optim.optimizer.betas=[0.9,1.5]"],
        ["+optim.optimizer.nonsense=1"],
        ["+optim.optimizer.eps=abc"],
        ["schedule=cosine", "+schedule.scheduler.eta_min=abc"],
        ["+schedule.scheduler.nonsense=1"],
        ["+schedule.scheduler.threshold=abc"],
    ],
)
def test_a_recipe_that_cannot_take_a_step(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^(optim\.optimizer|schedule\.scheduler): ") as refusal:
        check_recipe(composed(words))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("schedule", options("schedule"))
@pytest.mark.parametrize("optim", options("optim"))
def test_recipes_that_are_offered_take_a_step(optim: str, schedule: str) -> None:
    check_recipe(composed([f"optim={optim}", f"schedule={schedule}"]))


def test_clips_that_do_not_go_through_the_network() -> None:
    cfg = composed(["model=tiny", "modality.channels=7"])
    with pytest.raises(UsageError, match=r"model=tiny .*a clip is \(N, 3, T, H, W\) for this network") as refusal:
        measure_network(cfg, 2)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "words",
    [
        "trainer.precision=transformer-engine",
        "trainer.accelerator=tpu",
        "trainer.accelerator=hpu",
        "trainer.strategy=fsdp",
        "+trainer.max_time=nonsense",
        "+trainer.nonsense=1",
    ],
)
def test_what_lightning_refuses_is_one_line(words: str, tmp_path: Any) -> None:
    if words == "trainer.strategy=fsdp" and torch.cuda.is_available():
        pytest.skip("it is possible here")
    with pytest.raises(UserError, match=r"^trainer: ") as refusal:
        make_trainer(composed([words]), tmp_path, [], [])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MisconfigurationException("0.001 * 2 < 1.\nPlease"), r"^trainer: 0.001 \* 2 < 1. Please; change"),
        (ValueError("Expected more than 1 value per channel when training"), r"recipe\.batch_size that leaves"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory; use less"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_what_comes_late_is_one_line(error: Exception, said: str) -> None:
    with pytest.raises(UserError, match=said), refusals_named():
        raise error


def test_clipping_before_a_fused_optimizer_unscales_is_one_line() -> None:
    precision = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu"))
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True)
    with pytest.raises(UserError, match=r"optim\.optimizer\.fused=false"), refusals_named():
        precision.clip_gradients(optimizer, 1.0)


def test_mistakes_of_our_own_keep_their_traceback() -> None:
    with pytest.raises(ValueError, match="ours"), refusals_named():
        raise ValueError("ours")
