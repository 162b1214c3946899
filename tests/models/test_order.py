"""Time steps in another order, or hidden: what the heads are shown, and what they make of it."""

import math

import pytest
import torch
from src.build import build_recognizer
from src.models import order
from src.models.order import Variant, backwards, blocks, each_hidden, shuffled
from src.models.pooling.average import Average
from src.models.recognizer import Recognizer

from tests.models.test_pooling import SMALL
from tests.models.toy import Toy
from tests.tiny import CROP, tiny


def recognizer(name, fusion="late", channels=(16, 8), frames=8):
    """A network whose second pathway has half the time steps, every parameter moved off its start."""
    torch.manual_seed(0)
    sizes = {"num_classes": 5, "dropout": 0.5, "mean": (0, 0, 0), "std": (1, 1, 1)}
    model = Recognizer(Toy(channels), SMALL[name], fusion=fusion, frames=frames, **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.mark.parametrize(("steps", "draws"), [(1, 0), (2, 1), (3, 5), (4, 20), (5, 20), (16, 20)])
def test_draws_differ_and_none_is_the_true_order(steps, draws):
    drawn = [variant.steps for variant in shuffled(steps)]
    assert len(drawn) == len(set(drawn)) == draws
    true = tuple(range(steps))
    assert true not in drawn and all(tuple(sorted(one)) == true for one in drawn)
    assert drawn == [variant.steps for variant in shuffled(steps)]
    assert len(each_hidden(steps)) == steps


def test_the_draws_are_the_same_everywhere():
    assert [variant.steps for variant in shuffled(4)[:2]] == [(2, 0, 1, 3), (3, 2, 1, 0)]


def test_a_longer_pathway_moves_in_blocks():
    short, long = torch.arange(3).view(1, 1, 3, 1, 1), torch.arange(12).view(1, 1, 12, 1, 1)
    variant = Variant((2, 0, 1))
    assert variant.of(short).flatten().tolist() == [2, 0, 1]
    assert variant.of(long).flatten().tolist() == [8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("length", "steps"), [(7, 2), (5, 4), (8, 8), (32, 8), (1, 1)])
def test_blocks_share_out_every_step(length, steps):
    parts = blocks(length, steps)
    assert len(parts) == steps and min(map(len, parts)) >= 1
    assert [position for part in parts for position in part] == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_hidden_step_is_the_mean_of_the_others():
    short, long = torch.rand(2, 3, 4, 2, 2), torch.rand(2, 3, 8, 2, 2)
    hidden = each_hidden(4)[1].of(short)
    torch.testing.assert_close(hidden[:, :, 1], short[:, :, [0, 2, 3]].mean(2))
    assert torch.equal(hidden[:, :, [0, 2, 3]], short[:, :, [0, 2, 3]])
    hidden = each_hidden(4)[1].of(long)
    torch.testing.assert_close(hidden[:, :, 3], long[:, :, [0, 1, 4, 5, 6, 7]].mean(2))
    torch.testing.assert_close(Average(3, 8)(hidden), long[:, :, [0, 1, 4, 5, 6, 7]].mean((2, 3, 4)))


@pytest.mark.parametrize("fusion", ["late", "early"])
@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_variants_together_are_variants_one_by_one(name, fusion):
    model = recognizer(name, fusion)
    assert model.steps == 4
    clip = torch.rand(3, 3, 8, 6, 6)
    variants = [*shuffled(4), backwards(4), *each_hidden(4)]
    maps = model.trunk(clip)
    together = order.logits(model, maps, variants)
    assert together.shape == (3, len(variants), 5)
    for place, variant in enumerate(variants):
        alone = model.decide([variant.of(one) for one in model.pooling.maps(model.features(clip))])
        torch.testing.assert_close(together[:, place], alone, atol=1e-5, rtol=1e-5)
    true = order.logits(model, maps, [Variant((0, 1, 2, 3))])[:, 0]
    torch.testing.assert_close(true, model(clip), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_a_head_that_says_that_it_sees_no_order_sees_none(name):
    """What is not computed rests on this: over many maps, a head that says so gives the same whatever the order."""
    head = SMALL[name](channels=16, length=8).eval()
    torch.manual_seed(1)
    for variant in [*shuffled(8), backwards(8)]:
        x = torch.randn(4, 16, 8, 2, 2)
        if not head.sees_order:
            torch.testing.assert_close(head(variant.of(x)), head(x), atol=1e-5, rtol=1e-5)
        else:
            assert not torch.allclose(head(variant.of(x)), head(x), atol=1e-3)
    assert head.sees_order == (name not in ("average", "attentive", "efficient_probing"))


@pytest.mark.parametrize("fusion", ["late", "early"])
@torch.no_grad()
def test_slowfast(fusion):
    model = build_recognizer([*tiny("slowfast"), f"pooling=bert_{fusion}_fusion", "model.clip.frames=32"]).eval()
    clip = torch.randint(0, 256, (1, 3, 32, CROP, CROP), dtype=torch.uint8)
    features = model.features(clip)
    assert [one.shape[2] for one in features] == [4, 16] and model.steps == 4
    variant = shuffled(4)[0]
    moved = [features[0][:, :, list(variant.steps)]]
    parts = features[1].unflatten(2, (4, 4))[:, :, list(variant.steps)]
    moved.append(parts.flatten(2, 3))
    expected = model.decide(moved)  # with early fusion the same, though there the joined map is what moves
    got = order.logits(model, model.trunk(clip), [variant, backwards(4)])
    torch.testing.assert_close(got[:, 0], expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(got[:, 1], model(clip), atol=1e-4)


def test_as_many_draws_as_there_are_orders():
    assert len(shuffled(4, draws=1000)) == math.factorial(4) - 1
