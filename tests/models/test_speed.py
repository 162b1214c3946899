"""What makes training fast or small changes no number: maps that are computed again, and compiled blocks.

Blocks are compiled for PyTorch's own backends here: "aot_eager" traces forward and backward pass as every compiler's
input is traced, and needs no compiler; tests/test_training_compiled.py has the real one.
"""

import functools

import pytest
import torch
from src.build import build_recognizer
from src.build.compose import compose
from src.models.backbones.blocks import GroupedConv3d
from src.models.backbones.stage import Stage
from torch import nn

from tests.models.toy import Staged
from tests.tiny import CLASSES, CROP, FRAMES, models, options, tiny

# Dynamo asks maps for a gradient that they do not keep.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
OURS = ["i3d", "r2plus1d", "resnext101", "slowfast", "tiny"]  # other libraries' networks keep their maps
PASSES = 2  # so that what a batch norm remembers shows


@functools.cache
def composed(model, pooling):
    return compose([*tiny(model), f"pooling={pooling}"])


def network(model, pooling="average"):
    torch.manual_seed(0)
    return build_recognizer(composed(model, pooling))


def trained(recognizer, autocast=False):
    """Gradients and batch-norm statistics after some passes, of the same clips and the same draws."""
    torch.manual_seed(1)
    clip = torch.randint(0, 256, (2, 3, FRAMES, CROP, CROP), dtype=torch.uint8)
    recognizer.train()
    for _ in range(PASSES):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = nn.functional.cross_entropy(recognizer(clip), torch.tensor([0, CLASSES - 1]))
        loss.backward()
    gradients = {name: parameter.grad for name, parameter in recognizer.named_parameters()}
    return gradients, dict(recognizer.named_buffers())


def assert_same(one, other, exactly=True):
    for first, second in zip(one, other, strict=True):
        assert first.keys() == second.keys()
        for name, value in first.items():
            same = torch.equal(value, second[name])
            assert same or not exactly, name
            torch.testing.assert_close(value, second[name], atol=1e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("pooling", options("pooling"))
@pytest.mark.parametrize("model", OURS)
def test_maps_that_are_computed_again_change_nothing(model, pooling):
    recognizer = network(model, pooling)
    assert recognizer.checkpointing()
    assert all(stage.checkpointing for stage in recognizer.modules() if isinstance(stage, Stage))
    found = trained(recognizer)
    assert_same(trained(network(model, pooling)), found)
    counted = {name: value.item() for name, value in found[1].items() if name.endswith("num_batches_tracked")}
    assert counted and set(counted.values()) == {PASSES}, counted


@pytest.mark.parametrize("model", OURS)
def test_less_is_kept_for_the_backward_pass(model):
    kept = []
    for checkpointing in (False, True):
        recognizer = network(model)
        assert not checkpointing or recognizer.checkpointing()
        sizes = {}
        own = {parameter.data_ptr() for parameter in recognizer.parameters()}

        def keep(tensor, sizes=sizes, own=own):
            if tensor.data_ptr() not in own:
                sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            clip = torch.zeros(2, 3, FRAMES, CROP, CROP, dtype=torch.uint8)
            output = recognizer.train()(clip)
        kept.append(sum(sizes.values()))
        del output
    assert kept[1] < 0.8 * kept[0], kept


def test_frozen_stages_go_with_both():
    one, other = (network("r2plus1d").freeze("stage2") for _ in range(2))
    assert other.compile_regions("aot_eager").checkpointing()
    for first, second in zip(trained(one), trained(other), strict=True):
        for name, value in first.items():
            if value is None:  # frozen
                assert second[name] is None
            else:
                torch.testing.assert_close(value, second[name])


@pytest.mark.parametrize("model", models())
def test_compiled_blocks_change_nothing(model):
    plain, compiled = network(model, "bert"), network(model, "bert")
    expected = trained(plain)
    names = list(compiled.state_dict())
    assert compiled.compile_regions("aot_eager").checkpointing() == (model in OURS)
    assert_same(expected, trained(compiled), exactly=False)
    assert list(compiled.state_dict()) == names
    clip = torch.randint(0, 256, (3, 3, FRAMES, CROP, CROP), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(plain.eval()(clip), plain.eval()(clip))


@pytest.mark.parametrize("model", models())
def test_every_convolution_of_the_backbone_is_in_one_region(model):
    backbone = network(model).backbone
    inside = [part for region in backbone.regions() for part in region.modules() if isinstance(part, nn.Conv3d)]
    assert len(inside) == len(set(inside))
    assert set(inside) == {part for part in backbone.modules() if isinstance(part, nn.Conv3d)}


def test_evaluation_is_not_compiled():
    calls = []

    def backend(graph, inputs):
        calls.append(len(inputs))
        return graph.forward

    recognizer = network("tiny").compile_regions(backend)
    with torch.no_grad():
        for number in (1, 2, 3):
            recognizer.eval()(torch.zeros(number, 3, FRAMES, CROP, CROP))
    assert not calls
    recognizer.train()(torch.zeros(2, 3, FRAMES, CROP, CROP))
    assert len(calls) == len(list(recognizer.backbone.regions()))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("width", "groups", "merged"), [(4, 32, 8), (8, 6, 3), (8, 3, 3), (16, 4, 4), (32, 2, 2)])
def test_groups_that_are_computed_together_change_nothing(width, groups, merged, layout, monkeypatch):
    torch.manual_seed(0)
    channels = width * groups
    ours = GroupedConv3d(channels, channels, 3, (1, 2, 2), 1, groups=groups).double().to(memory_format=layout)
    plain = nn.Conv3d(channels, channels, 3, (1, 2, 2), 1, groups=groups).double()
    plain.load_state_dict(ours.state_dict())
    used = []

    def convolve(*arguments, original=nn.functional.conv3d):
        used.append(arguments[-1])
        return original(*arguments)

    monkeypatch.setattr(nn.functional, "conv3d", convolve)
    found = []
    for convolution in (ours, plain):
        x = torch.linspace(-1, 1, 2 * channels * 50).sin().double().view(2, channels, 2, 5, 5).requires_grad_()
        y = convolution(x.to(memory_format=layout) if convolution is ours else x)
        y.square().sum().backward()
        found.append((y, x.grad, convolution.weight.grad, convolution.bias.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)
    ours.eval()(x)
    assert used == [merged, groups, groups]


def test_a_stage_is_compiled_block_by_block_whatever_its_blocks_are() -> None:
    assert [type(region) for region in Staged((4, 8)).regions()] == [nn.Conv3d, nn.Conv3d]
