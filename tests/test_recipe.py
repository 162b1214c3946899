"""What each part of a recipe computes: loss, learning rates, what learns, and the average of the weights."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from src.batch import IGNORE, Batch
from src.build.compose import compose
from src.build.network import build_recognizer
from src.command_line.hydra import composed
from src.config import CONF
from src.data.annotations import Video
from src.errors import UsageError
from src.models.recognizer import Recognizer
from src.runs.identity import describe
from src.training.averaging import WeightAverage
from src.training.mixing import Mixing
from src.training.recipe import Recipe, check_recipe, parameter_groups, resting, scale_rates, schedules
from src.training.recognition import Recognition
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tests.tiny import models, options, tiny


def network(model: str = "tiny", *words: str) -> Recognizer:
    return build_recognizer(compose([*tiny(model), "pooling=average", "data=kinetics400", *words]), 5)


def module(recipe: Recipe, labels: list[int] = [0, 0, 0, 1, 2]) -> Recognition:  # noqa: B006
    videos = {"train": [Video(str(i), label, str(i), str(i)) for i, label in enumerate(labels)]}
    recognizer = network()
    return Recognition(recognizer, list("abcde"), videos, torch.optim.SGD, None, None, 0, True, recipe=recipe)


def test_recipes_of_earlier_runs_have_nothing_on_and_define_what_they_did() -> None:
    for name in options("recipe"):
        if name == "finetune":
            continue
        cfg = compose([f"recipe={name}"])
        assert Recipe.of(cfg) == Recipe()
        named = {option for option in describe(cfg) if option.startswith("recipe.")}
        assert named == {"recipe.name", "recipe.batch_size"}
        assert cfg.trainer.gradient_clip_val is None and cfg.recipe.ema is None


def test_finetune_has_everything_on() -> None:
    off, finetune = OmegaConf.load(CONF / "recipe" / "base.yaml"), compose(["recipe=finetune"]).recipe
    for name, value in off.items():
        assert finetune[name] != value, name
    check_recipe(composed(["recipe=finetune"]))


# Loss


def test_label_smoothing_is_its_formula() -> None:
    torch.manual_seed(0)
    scores, label = torch.randn(6, 5), torch.tensor([0, 3, IGNORE, 1, 1, 4])
    loss = module(Recipe(label_smoothing=0.2)).loss(scores, label)
    kept = label != IGNORE
    target = 0.8 * F.one_hot(label[kept], 5) + 0.2 / 5
    assert loss.item() == pytest.approx(-(target * scores[kept].log_softmax(1)).sum(1).mean().item(), rel=1e-6)


def test_without_a_recipe_the_loss_is_cross_entropy() -> None:
    torch.manual_seed(0)
    scores, label = torch.randn(6, 5), torch.tensor([0, 3, 2, 1, 1, 4])
    assert module(Recipe()).loss(scores, label) == F.cross_entropy(scores, label, reduction="sum") / 6


class FitStart:
    """What `on_fit_start` asks of a trainer."""

    class strategy:  # noqa: N801
        root_device = torch.device("cpu")


def test_class_weights_count_rare_classes_more() -> None:
    recognition = module(Recipe(class_weights="inverse"))
    recognition._trainer = FitStart()  # type: ignore[assignment]
    recognition.on_fit_start()
    assert recognition.class_weight is not None
    assert recognition.class_weight.tolist() == pytest.approx([5 / 9, 5 / 3, 5 / 3, 0, 0])
    scores, label = torch.randn(4, 5), torch.tensor([0, 1, 2, 0])
    each = F.cross_entropy(scores, label, reduction="none")
    expected = (each * torch.tensor([5 / 9, 5 / 3, 5 / 3, 5 / 9])).sum() / 4
    assert recognition.loss(scores, label).item() == pytest.approx(expected.item(), rel=1e-6)


def a_batch(n: int = 6, side: int = 16) -> Batch:
    clip = torch.randint(0, 256, (n, 1, 3, 4, side, side), dtype=torch.uint8)
    return Batch(clip=clip, label=torch.arange(n) % 5, video_id=torch.arange(n))


def normalised(batch: Batch, recognizer: Recognizer) -> torch.Tensor:
    return recognizer.normalize(batch["clip"].flatten(0, 1))


def test_mixup_is_convex_and_the_same_for_all_frames() -> None:
    torch.manual_seed(1)
    recognizer, batch = network(), a_batch()
    plain = normalised(batch, recognizer)
    seen = set()
    for _ in range(5):
        mixed, target = Mixing(0.8, 0, 5)(batch, recognizer, batch["label"])
        share = target[1, 1].item()
        expected = share * plain + (1 - share) * plain.roll(1, 0)
        assert torch.allclose(mixed["clip"][:, 0], expected, atol=1e-5)
        one_hot = F.one_hot(batch["label"], 5)
        assert torch.allclose(target, share * one_hot + (1 - share) * one_hot.roll(1, 0), atol=1e-6)
        assert torch.allclose(target.sum(1), torch.ones(6))
        seen.add(round(share, 6))
    assert len(seen) == 5 and all(0 <= share <= 1 for share in seen)
    assert batch["clip"].dtype == torch.uint8  # as it was


def test_cutmix_takes_one_rectangle_in_all_frames_and_its_share_of_the_label() -> None:
    torch.manual_seed(2)
    recognizer, batch = network(), a_batch()
    plain = normalised(batch, recognizer)
    for _ in range(8):
        mixed, target = Mixing(0, 1.0, 5)(batch, recognizer, batch["label"])
        clip = mixed["clip"][:, 0]
        taken = (clip != plain).any(1).any(0)  # T H W
        rows, columns = taken[0].any(1), taken[0].any(0)
        area = rows[:, None] & columns[None]
        assert torch.equal(clip, torch.where(area, plain.roll(1, 0), plain))
        assert target[1, 1].item() == pytest.approx(1 - area.sum().item() / 256, abs=1e-6)


def test_mixing_what_is_kept_of_clips_takes_one_share_for_all_pathways() -> None:
    torch.manual_seed(3)
    maps = [torch.randn(4, 1, 6, 3, 1, 1), torch.randn(4, 1, 2, 9, 1, 1)]
    batch = Batch(maps=maps, label=torch.arange(4), video_id=torch.arange(4))
    mixed, target = Mixing(0.8, 0, 5)(batch, network(), batch["label"])
    share = target[0, 0].item()
    for one, before in zip(mixed["maps"], maps, strict=True):
        assert torch.allclose(one, share * before + (1 - share) * before.roll(1, 0), atol=1e-6)


def test_a_batch_without_a_readable_clip_is_not_mixed() -> None:
    batch = a_batch(1)
    batch["label"] = torch.tensor([IGNORE])
    same, target = Mixing(0.8, 1.0, 5)(batch, network(), batch["label"])
    assert same is batch and target is batch["label"]


# Learning rates


@pytest.mark.parametrize("model", models())
def test_layer_decay_lowers_the_rate_from_part_to_part(model: str) -> None:
    recognizer = network(model)
    optimizer = torch.optim.SGD(parameter_groups(recognizer, 0.5), lr=0.8)
    scale_rates(optimizer)
    parts = recognizer.backbone.parts()
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    expected = {name: 0.8 * 0.5**depth for depth, name in enumerate(reversed(parts), 1)}
    assert rates == pytest.approx({"head": 0.8, **expected}) and next(iter(rates)) == "head"
    of = {id(p): group["name"] for group in optimizer.param_groups for p in group["params"]}
    assert len(of) == len(list(recognizer.parameters())) == sum(len(g["params"]) for g in optimizer.param_groups)
    for name, modules in parts.items():
        assert {of[id(p)] for m in modules for p in m.parameters()} <= {name}
    behind = [*recognizer.pooling.parameters(), *recognizer.classifier.parameters()]
    assert {of[id(p)] for p in behind} == {"head"}
    assert {name for name, p in recognizer.backbone.named_parameters() if of[id(p)] == "head"} == {
        name for name, _ in recognizer.backbone.named_parameters() if name.startswith("reduction")
    }


def test_without_decay_there_is_one_group_as_ever() -> None:
    recognizer = network()
    assert [id(p) for p in parameter_groups(recognizer, 1)] == [id(p) for p in recognizer.parameters()]


def rates(recipe: Recipe, schedule: str, steps: int, epochs: int) -> list[float]:
    """The learning rate of each step, of an optimizer whose rate is 1."""
    cfg = compose([f"schedule={schedule}", f"recipe.epochs={epochs}"])
    from src.build.instantiate import build

    make = build(cfg.schedule.scheduler) if cfg.schedule.scheduler else None
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    by_step, by_epoch = schedules(optimizer, make, recipe, steps)
    seen = []
    for _ in range(epochs):
        for _ in range(steps):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if by_step is not None:
                by_step.step()
        if by_epoch is not None:
            by_epoch.step(*([1.0] if schedule == "plateau" else []))  # type: ignore[arg-type]
    return seen


def cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def test_warmup_rises_with_every_step() -> None:
    assert rates(Recipe(warmup=1.5), "constant", 4, 3) == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6] + [1] * 7)
    assert rates(Recipe(), "constant", 2, 2) == [1] * 4


def test_a_schedule_by_steps_follows_the_warmup() -> None:
    expected = [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1] + [cosine(t / 15) for t in range(15)]
    assert rates(Recipe(warmup=1, interval="step"), "cosine", 5, 4) == pytest.approx(expected)
    for short in (0, 0.1, 0.2):  # of a step at most
        falling = rates(Recipe(warmup=short, interval="step"), "cosine", 5, 4)
        assert falling == pytest.approx([cosine(t / 20) for t in range(20)])


def test_a_schedule_by_epochs_runs_beside_the_warmup() -> None:
    warm = [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1]
    expected = [rate * cosine(step // 2 / 4) for step, rate in enumerate(warm)]
    assert rates(Recipe(warmup=2), "cosine", 2, 4) == pytest.approx(expected)
    fallen = [1 / 3, 2 / 3, 1] + [1] * 18 + [0.1] * 3
    assert rates(Recipe(warmup=1), "plateau", 3, 8) == pytest.approx(fallen)


# What learns


def test_parts_of_the_trunk_learn_one_after_another() -> None:
    recognizer = network()
    names = list(recognizer.backbone.parts())
    assert names == ["stem", "stage1", "stage2"]
    for epoch, asleep in enumerate([3, 3, 2, 2, 1, 1, 0, 0]):
        recognizer.let_rest(resting(recognizer, 2, epoch))
        learns = {name: all(p.requires_grad for m in ms for p in m.parameters()) for name, ms in parts(recognizer)}
        assert learns == {name: i >= asleep for i, name in enumerate(names)}
        recognizer.train()
        assert {name: all(m.training for m in ms) for name, ms in parts(recognizer)} == learns
        assert recognizer.classifier.weight.requires_grad and recognizer.pooling.training
    assert resting(recognizer, 0, 0) == []


def parts(recognizer: Recognizer) -> list[tuple[str, list[nn.Module]]]:
    return list(recognizer.backbone.parts().items())


@pytest.mark.parametrize("with_gradients", [False, True])
def test_resting_weights_do_not_move_whether_or_not_gradients_are_computed(with_gradients: bool) -> None:
    torch.manual_seed(0)
    recognition = module(Recipe(unfreeze=1))
    recognizer = recognition.recognizer.train()
    optimizer = torch.optim.AdamW(parameter_groups(recognizer, 1), lr=0.1, weight_decay=0.5)
    recognizer.let_rest(resting(recognizer, 1, 1), with_gradients)
    before = {name: value.clone() for name, value in recognizer.state_dict().items()}
    recognizer(torch.rand(2, 3, 16, 32, 32)).square().sum().backward()
    recognition.on_before_optimizer_step(optimizer)
    optimizer.step()
    still = [name for name, value in recognizer.state_dict().items() if torch.equal(value, before[name])]
    assert still == [name for name in before if name.startswith(("backbone.blocks.0.", "backbone.blocks.1."))]


def norms(recognizer: Recognizer) -> list[nn.BatchNorm3d]:
    return [one for one in recognizer.modules() if isinstance(one, nn.BatchNorm3d)]


@pytest.mark.parametrize("fixed", [False, True])
def test_kept_batch_norms_do_not_move(fixed: bool) -> None:
    torch.manual_seed(0)
    recognizer = network().keep_norms(fixed).train()
    optimizer = torch.optim.SGD([p for p in recognizer.parameters() if p.requires_grad], lr=0.1)
    before = {name: value.clone() for name, value in recognizer.state_dict().items()}
    recognizer(torch.rand(2, 3, 16, 32, 32)).square().sum().backward()
    optimizer.step()
    after = recognizer.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not [name for name in moved if "running" in name or "num_batches" in name]
    scales = {f"backbone.{n}.weight" for n, m in recognizer.backbone.named_modules() if isinstance(m, nn.BatchNorm3d)}
    assert scales and (not scales & moved if fixed else scales <= moved)
    assert all(name in moved for name in before if name.endswith(".0.weight"))  # convolutions


def test_kept_batch_norms_are_found_again_after_they_were_replaced() -> None:
    recognizer = nn.SyncBatchNorm.convert_sync_batchnorm(network().keep_norms(False))
    recognizer.train()
    assert not [one for one in recognizer.modules() if isinstance(one, nn.SyncBatchNorm) and one.training]


# The average


def test_the_average_is_its_recursion() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    layers.register_buffer("constant", torch.tensor([0.1, 0.45]))
    average = AveragedModel(layers, multi_avg_fn=WeightAverage(0.3).move, use_buffers=True)
    expected: dict[str, np.ndarray] = {}
    for n in range(1, 9):
        with torch.no_grad():
            for parameter in layers.parameters():
                parameter += torch.randn_like(parameter)
        layers(torch.randn(4, 3))
        average.update_parameters(layers)
        decay = 0 if n == 1 else min(0.3, n / (n + 9))
        for name, value in layers.state_dict().items():
            weight = value.double().numpy()
            expected[name] = weight if n == 1 else decay * expected[name] + (1 - decay) * weight
    assert min(0.3, 8 / 17) == 0.3 and 2 / 11 < 0.3  # both cases came
    for name, value in average.module.state_dict().items():
        wanted = 8 if "num_batches" in name else expected[name]
        assert value.numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-6), name
    assert torch.equal(average.module.constant, layers.constant)  # what does not move is not rounded


# Refusals


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recipe.repeats=3"], r"recipe\.repeats=3: recipe\.batch_size=8 .* multiple of 3"),
        (["recipe.warmup=3"], r"recipe\.warmup=3: it has to end before recipe\.epochs=3"),
        (["recipe.interval=step"], r"schedule=plateau waits for val/loss"),
        (["recipe.ema=0.9", "trainer.strategy=fsdp"], r"recipe\.ema: .*fsdp"),
        (["recipe.unfreeze=1", "freeze=backbone"], r"recipe\.unfreeze=1: freeze=backbone never ends"),
        (["recipe.unfreeze=1", "freeze=stages", "freeze.last=stem"], r"freeze=stages never ends"),
        (["recipe.repeats=8", "freeze=backbone"], r"features\.clips=4 clips"),
        (["recipe.erasing=0.5", "freeze=backbone"], r"recipe\.erasing=0, or features\.cache=false"),
        (
            ["recipe=finetune", "freeze=backbone", "recipe.unfreeze=0"],
            "rand_augment=0 recipe.erasing=0 recipe.cutmix=0",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_line(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        check_recipe(composed(words))
    assert "\n" not in str(refusal.value)


def test_what_goes_with_a_frozen_backbone() -> None:
    going: list[list[Any]] = [["recipe.mixup=0.8"], ["recipe.erasing=0.5", "features.cache=false"], ["recipe.ema=0.9"]]
    for words in going:
        check_recipe(composed(["freeze=backbone", *words]))
